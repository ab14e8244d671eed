"""Paired differences of two variants on the same rows.

Two intervals are never subtracted. Rows that are missing on one side are left out by the caller or counted `against` a
variant. All results are the same for any order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.evaluation.statistics.interval import (
    CONFIDENCE,
    Interval,
    Paired,
    cluster_sums,
    normal_quantile,
    t_quantile,
)

HALVINGS: Final = 50
"""The number of bisections: an end is found to 1e-15."""
ALL_FLIPS: Final = 14
"""Up to this many differences all 2^m flips of sign are tried."""
FLIP_DRAWS: Final = 9_999
FLIPS_AT_ONCE: Final = 4_000_000


def tango(better: int, worse: int, n: int, *, level: float = CONFIDENCE) -> Interval:
    """Return Tango's score interval of a paired difference of rates (Tango 1998, Statistics in Medicine 17).

    Of `n` rows only the first variant got `better` right, and only the second `worse`; the interval is that of first
    minus second, in [-1, 1]. It excludes 0 exactly when McNemar's score test, (b - c)²/(b + c), rejects at the same
    level. Without rows it is [-1, 1]. Raises ValueError for impossible counts.
    """
    if better < 0 or worse < 0 or better + worse > n:
        raise ValueError(f"{better} better and {worse} worse are not counts of {n} rows")
    if n == 0:
        return Interval(-1.0, 1.0)
    if better < worse:
        low, high = tango(worse, better, n, level=level)
        return Interval(-high, -low)
    z = normal_quantile(level)
    rejects_0 = better - worse > z * sqrt(better + worse)
    observed = (better - worse) / n

    def held(difference: float) -> bool:
        return abs(better - worse - n * difference) <= z * _tango_error(better, worse, n, difference)

    # The side of 0 is decided before the search, so that rounding cannot move it.
    low = _bisect(held, 0.0, observed) if rejects_0 else _bisect(held, -1.0, 0.0)
    return Interval(low, _bisect(held, 1.0, observed))


def _tango_error(better: int, worse: int, n: int, difference: float) -> float:
    """Return the standard error of better - worse at this true difference, by constrained maximum likelihood."""
    b = (2 * n - better + worse) * difference - better - worse
    c = -worse * difference * (1 - difference)
    q = (sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    return sqrt(max(0.0, n * (2 * q + difference * (1 - difference))))


def _bisect(held: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return the boundary between a number that is not held and one that is, from the inner side."""
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        if held(middle):
            inside = middle
        else:
            outside = middle
    return inside


def mid_p(better: int, worse: int) -> float:
    """Return McNemar's two-sided mid-p of the rows that differ (Fagerland, Lydersen & Laake 2013, BMC MRM 13:91).

    2·P(X < min) + P(X = min) with X ~ Bin(better + worse, ½), so 1 where both are equal. It can be a little over
    0.05 where Tango's interval excludes 0 (4 and 0: 0.0625); the interval is the verdict. Raises ValueError for
    negative counts.
    """
    from scipy.special import bdtr

    if better < 0 or worse < 0:
        raise ValueError(f"{better} better and {worse} worse are not counts")
    fewer, differ = min(better, worse), better + worse
    if better == worse:
        return 1.0
    below = float(bdtr(fewer - 1, differ, 0.5)) if fewer else 0.0
    return below + float(bdtr(fewer, differ, 0.5))


def paired_binary(a: ArrayLike, b: ArrayLike, *, level: float = CONFIDENCE) -> Paired:
    """Return `a` minus `b` from rows of one cell each, scored 0 or 1: Tango's interval and McNemar's mid-p.

    `a` and `b` are (rows,), in the same order, independent of each other. `spread` is the discordant share
    (b + c + 1)/(n + 2), the input of `power.rows_needed`. Without rows the difference is 0 and the interval [-1, 1].
    Raises ValueError for scores other than 0 and 1 and for different lengths.
    """
    first, second = _pairs(a, b)
    if not np.isin(np.concatenate([first, second]), (0.0, 1.0)).all():
        raise ValueError("scores of this comparison are 0 or 1")
    n = len(first)
    better, worse = int(np.sum(first > second)), int(np.sum(first < second))
    low, high = tango(better, worse, n, level=level)
    return Paired(
        difference=(better - worse) / n if n else 0.0,
        low=low,
        high=high,
        p=mid_p(better, worse),
        n=n,
        better=better,
        worse=worse,
        spread=(better + worse + 1) / (n + 2),
        method="Tango's interval, McNemar's mid-p",
    )


def paired_graded(
    a: ArrayLike, b: ArrayLike, clusters: ArrayLike, *, level: float = CONFIDENCE, seed: int = 0
) -> Paired:
    """Return the mean of `a` minus that of `b`, from graded scores, repeats or clusters.

    `a`, `b` and `clusters` are (cells,): scores in [0, 1] and the code of an independent unit (a row with its repeats,
    a document with its rows). The interval is that of t over the differences of the clusters `with_pseudo_pairs`:
    without these it collapses where nearly all are equal.
    (Bonett & Price 2012, J. of Educational and Behavioral Statistics
    37:479, add one to each side of 0/1 pairs in the same way.) It lies within [-1, 1] where the scores lie in [0, 1].
    p is that of `sign_flips`; `n`, `better` and `worse` count clusters, and `spread` is the standard deviation of the
    differences that the interval is made of. Where fewer than 10 clusters differ it rests on few. Without cells
    the difference is 0 and the interval [-1, 1]. Raises ValueError for different lengths and for NaN.
    """
    first, second = _pairs(a, b)
    differences = _by_cluster(first - second, clusters)
    n = len(differences)
    padded = with_pseudo_pairs(differences)
    spread = float(np.std(padded, ddof=1))
    half = t_quantile(level, n + 1) * spread / sqrt(n + 2)
    centre, difference = float(np.mean(padded)), float(np.mean(differences)) if n else 0.0
    scores = np.concatenate([first, second])
    bound = 1.0 if not n or (scores.min() >= 0 and scores.max() <= 1) else inf
    return Paired(
        difference=difference,
        low=max(-bound, min(centre - half, difference)),
        high=min(bound, max(centre + half, difference)),
        p=sign_flips(differences, seed=seed),
        n=n,
        better=int(np.sum(differences > 0)),
        worse=int(np.sum(differences < 0)),
        spread=spread,
        method="t with two pseudo-rows, sign flips",
    )


def with_pseudo_pairs(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return differences with +r and -r, where r is the root mean square of those that are not 0 (1 if all are)."""
    differ = differences[differences != 0]
    r = float(np.sqrt(np.mean(differ**2))) if len(differ) else 1.0
    return np.concatenate([differences, [r, -r]])


def sign_flips(differences: ArrayLike, *, draws: int = FLIP_DRAWS, seed: int = 0) -> float:
    """Return the two-sided p of a sum of differences, if each were as likely to have the other sign.

    Up to 14 differences other than 0 all flips are tried and p is exact; else `draws` random ones and p is
    (1 + hits)/(1 + draws) (Phipson & Smyth 2010, SAGMB 9:39). It assumes that differences are symmetric about 0 where
    there is no difference. 1 where nothing differs.
    """
    signed = np.asarray(differences, dtype=np.float64)
    sizes = np.sort(np.abs(signed[signed != 0]))
    total = float(sizes.sum())
    # Sums that are equal up to rounding count as hits.
    observed = abs(float(signed.sum())) - 1e-12 * total
    if len(sizes) <= ALL_FLIPS:
        flips = np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes)) & 1
        return float(np.mean(np.abs(2 * (flips @ sizes) - total) >= observed))
    generator = np.random.default_rng(seed)
    hits, by_byte = 0, _sums_by_byte(sizes)
    at_once = max(1, FLIPS_AT_ONCE // len(sizes))
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        hits += int(np.sum(np.abs(2 * _random_sums(generator, count, by_byte) - total) >= observed))
    return (1 + hits) / (1 + draws)


def _sums_by_byte(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each 8 sizes the sums of all their subsets, (256, groups), by the byte whose bits name the subset."""
    groups = np.pad(sizes, (0, -len(sizes) % 8)).reshape(-1, 8)
    return np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float64) @ groups.T


def _random_sums(generator: np.random.Generator, count: int, by_byte: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of random subsets, (count,): looking up 8 sizes at once is quicker than adding them."""
    groups = by_byte.shape[1]
    chosen = np.frombuffer(generator.bytes(count * groups), dtype=np.uint8).reshape(count, groups)
    return np.asarray(by_byte[chosen, np.arange(groups)].sum(axis=1))


def paired_ratio(a: ArrayLike, b: ArrayLike, clusters: ArrayLike, *, level: float = CONFIDENCE) -> Paired:
    """Return `a` over `b` from amounts (tokens, seconds): the ratio of geometric means, with t on log differences.

    `a`, `b` and `clusters` are (cells,); `difference` and the ends are ratios, 1 where both take as much. Cells where
    either amount is 0 have no ratio: they are left out, and `method` says how many. `n`, `better` (`a` takes less) and
    `worse` count the clusters left; `spread` is the standard deviation of their log differences. With one cluster the
    interval is (0, inf); with none `difference` is 1. Raises ValueError for different lengths, NaN and negative
    amounts.
    """
    from scipy.special import stdtr

    first, second = _pairs(a, b)
    if (first < 0).any() or (second < 0).any():
        raise ValueError("an amount is negative")
    kept = (first > 0) & (second > 0)
    logs = _by_cluster(np.log(first[kept]) - np.log(second[kept]), np.asarray(clusters)[kept])
    n = len(logs)
    mean = float(np.mean(logs)) if n else 0.0
    low, high, p, spread = 0.0, inf, 1.0, 0.0
    if n > 1:
        spread = float(np.std(logs, ddof=1))
        error = spread / sqrt(n)
        half = t_quantile(level, n - 1) * error
        # An end beyond the range of floats becomes infinite.
        with np.errstate(over="ignore"):
            low, high = float(np.exp(mean - half)), float(np.exp(mean + half))
        p = 2 * float(stdtr(n - 1, -abs(mean) / error)) if error else float(mean == 0)
    left_out = len(kept) - int(kept.sum())
    return Paired(
        difference=float(np.exp(mean)),
        low=low,
        high=high,
        p=p,
        n=n,
        better=int(np.sum(logs < 0)),
        worse=int(np.sum(logs > 0)),
        spread=spread,
        method="ratio of geometric means, t" + (f"; {left_out} with an amount of 0 left out" if left_out else ""),
    )


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"scores of shapes {first.shape} and {second.shape} are not pairs")
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError("a score is not a number: remove missing ones first")
    return first, second


def _by_cluster(differences: NDArray[np.float64], clusters: ArrayLike) -> NDArray[np.float64]:
    """Return the sum of each cluster's differences over the mean cluster size, smallest first."""
    if not len(differences):
        return differences
    sizes, sums = cluster_sums(differences, clusters)
    return np.sort(sums * len(sizes) / len(differences))


def against(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return paired scores in [0, 1] with each missing one (NaN) counted against `a`: 0 in `a`, 1 in `b`.

    What is shown of `a` against `b` with these is shown whatever the missing ones would score.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.where(np.isnan(first), 0.0, first), np.where(np.isnan(second), 1.0, second)
