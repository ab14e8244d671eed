"""Intervals of a rate, of a mean of bounded scores, and of a quantile."""

from __future__ import annotations

from bisect import bisect_left
from math import inf, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE: Final = 0.95
"""The confidence of intervals and verdicts, unless a caller asks for another."""
NORMAL_QUANTILE: Final = round(NormalDist().inv_cdf((1 + CONFIDENCE) / 2), 6)
"""The standard normal quantile of a two-sided interval of CONFIDENCE, to six decimals as tables print it."""
SLACK: Final = 1e-9
"""The largest distance by which rounding may move a score beyond its bounds."""
WIDEST: Final = 1e6
"""A quantile above which an interval of a rate is all of [0, 1]. Fractions of a degree of freedom have such."""


class Interval(NamedTuple):
    """An interval of a rate, both ends in [0, 1], or of another number."""

    low: float
    high: float


class Mean(NamedTuple):
    """A mean with its interval. `n` counts cells, `clusters` independent groups of cells.

    `effective` is the number of independent 0/1 rows that would give the same variance.
    """

    mean: float
    low: float
    high: float
    n: int
    clusters: int
    effective: float


class Quantile(NamedTuple):
    """A quantile with its limits; a limit for which there are too few values is infinite."""

    value: float
    low: float
    high: float


class Paired(NamedTuple):
    """The difference of two variants on the same cells: a minus b or, where the function says so, a over b.

    `n` counts independent pairs (rows or clusters), `better` and `worse` those where a did better or worse. `spread` is
    the share of pairs that differ where scores are 0/1, else the standard deviation of one pair: the inputs of
    `rows_needed` and `rows_needed_graded`. `method` names the interval and the test.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    better: int
    worse: int
    spread: float
    method: str


def upper_share(level: float) -> float:
    """Return the share that lies below the upper end of a two-sided interval of confidence `level`."""
    if not 0 < level < 1:
        raise ValueError(f"{level} is not a confidence between 0 and 1")
    return (1 + level) / 2


def normal_quantile(level: float) -> float:
    """Return the normal quantile of a two-sided interval of confidence `level`."""
    return NORMAL_QUANTILE if level == CONFIDENCE else NormalDist().inv_cdf(upper_share(level))


def t_quantile(level: float, degrees: float) -> float:
    """Return Student's t quantile of a two-sided interval of confidence `level`; infinite without degrees."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, upper_share(level))) if degrees > 0 else inf


def wilson(right: int, n: int, *, z: float = NORMAL_QUANTILE) -> Interval:
    """Return Wilson's score interval of a rate (Wilson 1927, Journal of the American Statistical Association 22).

    `right` of `n` independent rows are right, and `z` is the normal quantile of the confidence. The interval includes
    the observed rate, stays within [0, 1] and keeps a width where all are right or none is; without rows it is [0, 1].
    Raises ValueError for impossible counts.
    """
    if not 0 <= right <= n:
        raise ValueError(f"{right} of {n} is not a rate")
    return score_interval(right / n, n, z) if n else Interval(0.0, 1.0)


def score_interval(rate: float, n: float, quantile: float) -> Interval:
    """Return the interval of Wilson's form around `rate` for `n` rows, which may be an effective number."""
    if quantile > WIDEST:
        return Interval(0.0, 1.0)
    spread = 1 + quantile * quantile / n
    centre = (rate + quantile * quantile / (2 * n)) / spread
    half = quantile / spread * sqrt(rate * (1 - rate) / n + quantile * quantile / (4 * n * n))
    # Rounding must not exclude the observed rate, nor move an end beyond 0 or 1.
    return Interval(max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate)))


def bounded_mean(scores: ArrayLike, clusters: ArrayLike, *, binary: bool, level: float = CONFIDENCE) -> Mean:
    """Return the mean over cells of scores in [0, 1], with an interval.

    `scores` and `clusters` are (cells,); cells of equal cluster code may depend on each other (repeats of a row, rows
    of a document), clusters do not. `binary` says that every score is 0 or 1. Independent 0/1 rows get
    Wilson's interval to the digit. Otherwise it is Wilson's form with an effective number of rows: the variance of one
    score over the variance of the mean as a ratio of cluster sums, with one more cluster of the largest variance added
    so that the width stays above zero where all agree (Kish 1965, Survey Sampling; Korn & Graubard 1998, Survey
    Methodology 24; Dean & Pagano 2015, Journal of Survey Statistics and Methodology 3), and Student's t. Where clusters
    are of unequal sizes, the variance is at least one that grows with their size, estimated from all of them, and
    degrees of freedom come from the effective number of clusters.

    Raises ValueError for no scores, a NaN, a score beyond 0 or 1, one between them with `binary`, or different lengths.
    """
    values = _within_0_and_1(scores)
    if binary and not ((values == 0) | (values == 1)).all():
        raise ValueError("a binary score is neither 0 nor 1")
    sizes, sums = cluster_sums(values, clusters)
    cells, groups = len(values), len(sizes)
    total = ordered_sum(sums)
    mean = min(1.0, total / cells)
    if binary and groups == cells:
        effective, interval = float(cells), wilson(int(total), cells, z=normal_quantile(level))
    else:
        effective = _effective(mean, sizes, sums, most=float(cells) if binary else inf)
        interval = score_interval(mean, effective, t_quantile(level, effective_clusters(sizes) - 1))
    return Mean(mean, *interval, cells, groups, effective)


def effective_clusters(sizes: NDArray[np.int64]) -> float:
    """Return the number of clusters of equal size that would weigh as these do (Kish 1965); all of them if equal."""
    weights = sizes.astype(np.float64)
    return float(weights.sum() ** 2 / (weights**2).sum())


def one_more_cluster(clusters: int, effective: float) -> float:
    """Return the addition of one more cluster of the largest variance to a variance, as a share of that of one score.

    It is larger where clusters are of unequal sizes, since few of them may hold all that differs.
    """
    return clusters / effective**3


def _effective(mean: float, sizes: NDArray[np.int64], sums: NDArray[np.float64], *, most: float) -> float:
    """Return the number of independent 0/1 rows that would give this mean the variance that these clusters give."""
    cells, groups = int(sizes.sum()), len(sizes)
    # If the cells of a cluster were all equal, each cluster would be one row (weighted by its size).
    least = effective_clusters(sizes)
    largest = mean * (1 - mean)
    if largest == 0 or groups == 1:
        return least
    squares = (sums - mean * sizes) ** 2
    variance = max(ordered_sum(squares), _by_size(sizes, squares)) / cells**2
    variance += largest * one_more_cluster(groups, least)
    # A mean smaller than any score gives has a variance that rounds to 0.
    return min(most, max(least, largest / variance)) if variance else least


def _by_size(sizes: NDArray[np.int64], squares: NDArray[np.float64]) -> float:
    """Return the sum of the squared deviations of cluster sums, if they grow with size^1.5.

    That is between independent cells (size) and equal ones (size^2). It rests on all clusters, where the plain sum
    rests on the few largest and is too small if none of these has a wrong row. Both are the same for equal sizes.
    """
    if (sizes == sizes[0]).all():
        return ordered_sum(squares)
    weights = sizes.astype(np.float64)
    return ordered_sum(weights**1.5) * ordered_sum(squares / weights**0.5) / float(sizes.sum())


def quantile(values: ArrayLike, q: float, *, level: float = CONFIDENCE) -> Quantile:
    """Return the quantile `q` of independent values, in their unit, with limits that are values too.

    The number of values below the true quantile follows Bin(n, q), which gives the ranks of the limits, whatever the
    distribution (Thompson 1936, Annals of Mathematical Statistics 7). The quantile between two values is interpolated.
    Raises ValueError for no values, a NaN, or a `q` outside (0, 1).
    """
    from scipy.special import bdtr

    if not 0 < q < 1:
        raise ValueError(f"{q} is not a quantile between 0 and 1")
    ordered = np.sort(_numbers(values))
    n = len(ordered)

    def rank(share: float) -> int:
        return bisect_left(range(n), share, key=lambda count: float(bdtr(count, n, q)))

    # P(X < below) and P(X >= above) are each at most half of 1 - level.
    upper = upper_share(level)
    below, above = rank(1 - upper), rank(upper) + 1
    value = float(np.quantile(ordered, q))
    # At a low level an interpolated value can lie beyond the limits.
    low = min(float(ordered[below - 1]), value) if below >= 1 else -inf
    return Quantile(value, low, max(float(ordered[above - 1]), value) if above <= n else inf)


def _within_0_and_1(scores: ArrayLike) -> NDArray[np.float64]:
    values = _numbers(scores)
    least, most = float(values.min()), float(values.max())
    if least < -SLACK or most > 1 + SLACK:
        raise ValueError(f"scores from {least:g} to {most:g} are not within 0 and 1")
    return values if least >= 0 and most <= 1 else values.clip(0, 1)


def _numbers(values: ArrayLike) -> NDArray[np.float64]:
    """Return values as an array. Raises ValueError for none, for a NaN and for more than one dimension."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"values of shape {numbers.shape} are not one row of at least one value")
    if np.isnan(numbers).any():
        raise ValueError("a value is not a number: remove missing ones first")
    return numbers


def cluster_sums(values: NDArray[np.float64], clusters: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the number of cells of each cluster and the sum of their values, to the digit the same in any order."""
    codes = np.asarray(clusters)
    if codes.shape != values.shape:
        raise ValueError(f"{len(values)} values have cluster codes of shape {codes.shape}")
    if (codes[1:] > codes[:-1]).all():
        return np.ones(len(codes), dtype=np.int64), values
    order = np.lexsort((values, codes))
    codes = codes[order]
    starts = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    sizes = np.diff(starts, append=len(codes))
    return sizes, np.add.reduceat(values[order], starts)


def ordered_sum(values: NDArray[np.float64]) -> float:
    """Return the sum, to the digit the same for any order of the values."""
    return float(np.sort(values).sum())
