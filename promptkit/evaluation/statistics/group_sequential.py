"""Group-sequential tests: the level of each look at growing data, so that all looks together keep one level.

The looks spend the error by the function of Lan & DeMets (1983, Biometrika 70:659) of the O'Brien-Fleming type (1979,
Biometrics 35:549): little at first, nearly all of it at the last look. Looks may be at any fractions of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.statistics.interval import CONFIDENCE, normal_quantile, upper_share

Floats = NDArray[np.float64]

GRID_POINTS: Final = 1_201
"""The points at which the density of the statistic is integrated: errors are below 1e-6."""
FARTHEST: Final = 9.0
"""The statistic is taken to lie within this many standard deviations of 0."""
HALVINGS: Final = 40


def spent_error(fraction: float, *, level: float = CONFIDENCE) -> float:
    """Return the one-sided error that may be spent up to a fraction in (0, 1] of the data: 2 - 2Φ(z/√fraction).

    At fraction 1 it is (1 - `level`)/2. Raises ValueError for another fraction.
    """
    from scipy.special import ndtr, ndtri

    if not 0 < fraction <= 1:
        raise ValueError(f"{fraction} is not a fraction of the data in (0, 1]")
    z = -float(ndtri((1 - upper_share(level)) / 2))
    return 2 * float(ndtr(-z / sqrt(fraction)))


def look_levels(fractions: Sequence[float], *, level: float = CONFIDENCE) -> list[float]:
    """Return the two-sided level of the interval at each look, so that all of them hold together at `level`.

    `fractions`: the share of the planned data that each look has, rising, the last at most 1. The interval of a look at
    its level is the repeated confidence interval (Jennison & Turnbull 1989, JRSS B 51:305): it lies above 0 exactly
    where the look rejects. A look depends on those before it alone. Raises ValueError for fractions that do not rise
    within (0, 1].
    """
    from scipy.special import ndtr

    bounds = look_bounds(tuple(fractions), level=level)
    return [1 - 2 * float(ndtr(-bound)) for bound in bounds]


@lru_cache(maxsize=256)
def look_bounds(fractions: tuple[float, ...], *, level: float = CONFIDENCE) -> tuple[float, ...]:
    """Return the bound of the standardized statistic at each look; above it the look rejects.

    The probability to pass a bound for the first time is found by recursive integration of the statistic's density
    (Armitage, McPherson & Rowe 1969, JRSS A 132:235). Only upper bounds stop: the lower side is free to go on.
    """
    if not fractions or any(later <= earlier for earlier, later in zip((0.0, *fractions), fractions, strict=False)):
        raise ValueError(f"the fractions of looks must rise within (0, 1]: {list(fractions)}")
    if len(fractions) == 1 and fractions[0] == 1:
        return (normal_quantile(level),)
    bounds: list[float] = []
    spent, state = 0.0, _State.at_start()
    for fraction in fractions:
        may_spend = spent_error(fraction, level=level)
        bound = state.bound(fraction, may_spend - spent)
        bounds.append(bound)
        state, spent = state.after(fraction, bound), may_spend
    return tuple(bounds)


class _State:
    """The density of the score B = Z·√fraction at a look, over those paths that no earlier look stopped."""

    def __init__(self, fraction: float, at: Floats, mass: Floats) -> None:
        self._fraction, self._at, self._mass = fraction, at, mass

    @classmethod
    def at_start(cls) -> _State:
        return cls(0.0, np.zeros(1), np.ones(1))

    def bound(self, fraction: float, error: float) -> float:
        """Return the bound of Z at a fraction that is passed with probability `error`."""
        from scipy.special import ndtr

        deviation = sqrt(fraction - self._fraction)
        low, high = 0.0, FARTHEST
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            passed = float(self._mass @ ndtr((self._at - middle * sqrt(fraction)) / deviation))
            low, high = (middle, high) if passed > error else (low, middle)
        return high

    def after(self, fraction: float, bound: float) -> _State:
        """Return the state after a look that goes on where Z is at most the bound."""
        deviation = sqrt(fraction - self._fraction)
        at = np.linspace(-FARTHEST * sqrt(fraction), bound * sqrt(fraction), GRID_POINTS)
        density = (
            np.exp(-(((at[:, None] - self._at) / deviation) ** 2) / 2) @ self._mass / (deviation * sqrt(2 * np.pi))
        )
        return _State(fraction, at, density * _simpson_weights(at))


def _simpson_weights(at: Floats) -> Floats:
    weights = np.full(len(at), 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    return weights * float(at[1] - at[0]) / 3


def chance_to_show(statistic: float, fraction: float, bound: float, drift: float) -> float:
    """Return the conditional power: the chance that the last look passes its bound.

    `statistic`: the standardized statistic at a fraction below 1 of the data. `bound`: that of the last look. `drift`:
    the expected statistic at all data (Lan & Wittes 1988, Biometrics 44:579).
    """
    from scipy.special import ndtr

    ahead = statistic * sqrt(fraction) + drift * (1 - fraction) - bound
    return float(ndtr(ahead / sqrt(1 - fraction)))
