"""Resampling, for statistics that are not means and have no variance formula: corpus BLEU, chrF, alpha, kappa.

Both functions hold from about 100 rows on. They know rows by position only, so a caller sorts rows (by key) where the
same rows must give the same digits. Where rows depend on each other a position stands for a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.statistics.interval import CONFIDENCE, Interval, upper_share

RESAMPLES: Final = 2_000
SWAPS: Final = 9_999


def percentile_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    *,
    draws: int = RESAMPLES,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of a statistic of `n` rows over resamples of them (Koehn 2004, EMNLP).

    `statistic` takes the positions of `n` rows, with repetition, and returns its value; a resample without one (NaN) is
    left out. Raises ValueError for no rows and where no resample has a value.
    """
    if n < 1:
        raise ValueError("there are no rows to resample")
    upper = upper_share(level)
    generator = np.random.default_rng(seed)
    values = [statistic(generator.integers(0, n, n)) for _ in range(draws)]
    known = [value for value in values if not isnan(value)]
    if not known:
        raise ValueError("the statistic has no value for any resample")
    low, high = np.quantile(known, (1 - upper, upper))
    return Interval(float(low), float(high))


def swap_test(statistic: Callable[[NDArray[np.bool_]], float], n: int, *, draws: int = SWAPS, seed: int = 0) -> float:
    """Return the two-sided p of a difference of two systems, by swapping their outputs row by row at random.

    Approximate randomization (Riezler & Maxwell 2005, ACL workshop on evaluation measures). `statistic` takes a mask of
    `n` rows, True where the two are swapped, and returns the difference. p is (1 + hits)/(1 + draws) (Phipson & Smyth
    2010, SAGMB 9:39), or exact over all swaps where there are no more of them than `draws`. A swap without a value
    (NaN) is a hit. Raises ValueError for no rows and where the difference itself has no value.
    """
    if n < 1:
        raise ValueError("there are no rows to swap")
    observed = abs(statistic(np.zeros(n, dtype=np.bool_)))
    if isnan(observed):
        raise ValueError("the difference has no value")
    # Differences that are equal up to rounding count as hits.
    least = observed * (1 - 1e-9)

    def is_hit(mask: NDArray[np.bool_]) -> bool:
        return not abs(statistic(mask)) < least

    ways = 1 << n
    if ways <= draws:
        places = np.arange(n)
        return sum(is_hit((way >> places & 1).astype(np.bool_)) for way in range(ways)) / ways
    generator = np.random.default_rng(seed)
    hits = sum(is_hit(generator.random(n) < 0.5) for _ in range(draws))
    return (1 + hits) / (1 + draws)
