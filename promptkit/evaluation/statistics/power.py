"""Power: the rows that are needed to show a difference, and the smallest difference that rows show.

Never from the observed difference alone: a number of rows computed from it is as noisy as the difference itself.
"""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.statistics.interval import CONFIDENCE, normal_quantile

POWER: Final = 0.8
"""The probability of showing a difference that exists."""


def rows_needed(discordant: float, difference: float, *, level: float = CONFIDENCE, power: float = POWER) -> int:
    """Return the number of paired 0/1 rows that shows a difference in 80 of 100 runs (Connor 1987, Biometrics 43:207).

    `discordant` is the share of rows that differ (`Paired.spread`), `difference` that of the rates. A share below
    the difference is taken to equal it. Raises ValueError for a difference of 0 or beyond 1, and for an impossible
    share.
    """
    _check_shares(discordant, difference)
    differ = max(discordant, abs(difference))
    z, z_power = normal_quantile(level), NormalDist().inv_cdf(power)
    return ceil((z * sqrt(differ) + z_power * sqrt(differ - difference**2)) ** 2 / difference**2)


def rows_needed_graded(sd: float, difference: float, *, level: float = CONFIDENCE, power: float = POWER) -> int:
    """Return the number of pairs that shows a difference of graded scores in 80 of 100 runs.

    `sd` is the standard deviation of one pair's difference (`Paired.spread`), of clusters where the pairs are clusters.
    Raises ValueError for a difference of 0 and a negative deviation.
    """
    if not difference or sd < 0:
        raise ValueError(f"no number of rows shows a difference of {difference} at a deviation of {sd}")
    return ceil(((normal_quantile(level) + NormalDist().inv_cdf(power)) * sd / difference) ** 2 + 2)


def rows_needed_within(
    sd: float, margin: float, *, two_sided: bool, level: float = CONFIDENCE, power: float = POWER
) -> int:
    """Return the number of pairs that shows in 80 of 100 runs that two equally good variants differ by less than a
    margin.

    `two_sided` is equivalence: the interval of the difference lies within -margin and +margin (two one-sided tests at
    2.5 % each: Schuirmann 1987, J. of Pharmacokinetics and Biopharmaceutics 15:657; Julious 2004, Statistics in
    Medicine 23:1921). Otherwise it is non-inferiority: only the lower end lies above -margin. `sd` is the standard
    deviation of one pair's difference; of 0/1 scores it is the square root of the share of rows that differ. Raises
    ValueError for a margin that is not above 0 and for a negative deviation.
    """
    if margin <= 0:
        raise ValueError(f"a margin of {margin} is not above 0")
    return rows_needed_graded(sd, margin, level=level, power=(1 + power) / 2 if two_sided else power)


def smallest_shown(discordant: float, rows: int, *, level: float = CONFIDENCE, power: float = POWER) -> float | None:
    """Return the smallest difference that this many paired 0/1 rows show in 80 of 100 runs; None if they show none.

    Exact: it sums the probabilities of outcomes in which Tango's interval lies above 0. None where even all differing
    rows on one side would be too few. Raises ValueError for an impossible share.
    """
    from scipy.special import bdtrc

    _check_shares(discordant, 1.0)
    if rows < 1 or not discordant:
        return None
    differing, chance = _differing(rows, discordant)
    needed = _needed(differing, normal_quantile(level))

    def shown(difference: float) -> bool:
        better = min(1.0, (1 + difference / discordant) / 2)
        return float(chance @ bdtrc(needed - 1, differing, better)) >= power

    if not shown(discordant):
        return None
    low, high = 0.0, discordant
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def smallest_shown_graded(sd: float, rows: int, *, level: float = CONFIDENCE, power: float = POWER) -> float | None:
    """Return the smallest difference that this many pairs of graded scores show in 80 of 100 runs.

    It is the inverse of `rows_needed_graded`; None for fewer than 3 pairs. Raises ValueError for a negative deviation.
    """
    if sd < 0:
        raise ValueError(f"{sd} is not a deviation")
    return None if rows < 3 else (normal_quantile(level) + NormalDist().inv_cdf(power)) * sd / sqrt(rows - 2)


def _differing(rows: int, discordant: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the numbers of rows that may differ, without negligibly rare ones, and their probabilities."""
    from scipy.special import gammaln, xlog1py, xlogy

    middle, width = rows * discordant, 10 * sqrt(rows * discordant * (1 - discordant)) + 10
    differing = np.arange(max(1, int(middle - width)), min(rows, int(middle + width)) + 1)
    ways = gammaln(rows + 1) - gammaln(differing + 1) - gammaln(rows - differing + 1)
    return differing, np.exp(ways + xlogy(differing, discordant) + xlog1py(rows - differing, -discordant))


def _needed(differing: NDArray[np.int64], z: float) -> NDArray[np.int64]:
    """Return the number of differing rows that must be better for (b - c)/sqrt(b + c) to exceed z."""
    return np.minimum(differing + 1, np.floor((differing + z * np.sqrt(differing)) / 2).astype(np.int64) + 1)


def rows_for_bound(rate: float, bound: float, *, level: float = CONFIDENCE) -> int | None:
    """Return the number of rows with which Wilson's end would reach `bound` if the rate stayed as it is.

    For a lower end `rate` is above `bound`, for an upper end below it; None where they are equal. Raises ValueError for
    numbers that are not rates.
    """
    if not (0 <= rate <= 1 and 0 <= bound <= 1):
        raise ValueError(f"{rate} and {bound} are not rates")
    if rate == bound:
        return None
    return max(1, ceil(normal_quantile(level) ** 2 * bound * (1 - bound) / (rate - bound) ** 2))


def _check_shares(discordant: float, difference: float) -> None:
    if not (0 <= discordant <= 1 and 0 < abs(difference) <= 1):
        raise ValueError(f"no number of rows shows a difference of {difference} where {discordant} of them differ")
