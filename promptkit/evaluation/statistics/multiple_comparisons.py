"""Adjusted p values of several comparisons: Holm, and Benjamini and Hochberg."""

from __future__ import annotations

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """Return p adjusted for a family of comparisons, in their order (Holm 1979, Scandinavian J. of Statistics 6:65).

    If all with at most 0.05 are called different, at most 5 of 100 families contain a wrong call. Intervals of m
    comparisons are at level 1 - 0.05/m. Raises ValueError for a number that is not a p.
    """
    order = _order(ps)
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Return the q of each p, in their order (Benjamini & Hochberg 1995, J. of the Royal Statistical Society B 57:289).

    Of those with a q of at most 0.05 about 5 % are not differences: use it to explore, never for a verdict. Raises
    ValueError for a number that is not a p.
    """
    order = _order(ps)
    adjusted, least = [0.0] * len(ps), 1.0
    for rank in range(len(ps), 0, -1):
        index = order[rank - 1]
        least = min(least, ps[index] * (len(ps) / rank))
        adjusted[index] = least
    return adjusted


def _order(ps: Sequence[float]) -> list[int]:
    for p in ps:
        if not 0 <= p <= 1:
            raise ValueError(f"{p} is not a p")
    return sorted(range(len(ps)), key=ps.__getitem__)
