"""Of several samples of one row: that one of k is right, and that all k are."""

from __future__ import annotations

from math import comb


def pass_at(n: int, c: int, k: int) -> float:
    """Return pass@k without bias: the chance that k of these `n` samples, `c` of them right, hold a right one.

    1 - C(n-c, k)/C(n, k) (Chen et al. 2021, arXiv 2107.03374). It is a score of one row; rows are averaged. Raises
    ValueError for counts that are none and for fewer than k samples.
    """
    _check(n, c, k)
    return 1 - comb(n - c, k) / comb(n, k)


def pass_all(n: int, c: int, k: int) -> float:
    """Return pass^k without bias: the chance that k of these `n` samples, `c` of them right, are all right.

    C(c, k)/C(n, k) (Yao et al. 2024, arXiv 2406.12045). It is a score of one row; rows are averaged. Raises ValueError
    for counts that are none and for fewer than k samples.
    """
    _check(n, c, k)
    return comb(c, k) / comb(n, k)


def _check(n: int, c: int, k: int) -> None:
    if not 0 <= c <= n:
        raise ValueError(f"{c} of {n} samples cannot be right")
    if not 1 <= k <= n:
        raise ValueError(f"{k} of {n} samples cannot be drawn")
