"""What can be said of a rate from a number of rows."""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

Z_95: Final = 1.959964
"""The standard normal quantile of a two-sided interval of 95 %."""


class Interval(NamedTuple):
    """An interval of a rate, both ends in [0, 1]."""

    low: float
    high: float


def wilson(right: int, n: int, *, z: float = Z_95) -> Interval:
    """Return Wilson's score interval of a rate (Wilson 1927, Journal of the American Statistical Association 22).

    In come the number of right ones and of all, independent of each other, and the normal quantile `z` of the wanted
    confidence; out come the ends, between which the true rate lies in about 95 of 100 such samples. The interval
    always holds the observed rate, stays within [0, 1] and keeps a width where all are right or none; of no rows it is
    the whole of [0, 1]. Raises ValueError for counts that are none.
    """
    if not 0 <= right <= n:
        raise ValueError(f"{right} of {n} is no rate")
    if n == 0:
        return Interval(0.0, 1.0)
    rate = right / n
    spread = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / spread
    half = z / spread * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Rounding must not put the observed rate outside, nor an end beyond 0 or 1.
    return Interval(max(0.0, min(centre - half, rate)), min(1.0, max(centre + half, rate)))
