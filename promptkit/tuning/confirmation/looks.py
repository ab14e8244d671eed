"""The looks of a confirmation: after how many units the difference is tested, at which level, and when it is hopeless.

A unit is a held-out row, or a cluster of rows. The fractions and the stopping rule were chosen by simulation
(`benchmarks/tuning.py simulate`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

from promptkit.evaluation.statistics.group_sequential import chance_to_show, look_bounds, look_levels
from promptkit.evaluation.statistics.interval import CONFIDENCE, Interval, normal_quantile
from promptkit.tuning.confirmation.verdict import smallest_detectable_gain

LOOK_FRACTIONS: Final = (0.4, 0.6, 0.8, 1.0)
"""Earlier looks would show only gains of 30 points and more, and would call too many others hopeless."""
LEAST_CHANCE: Final = 0.1
"""With a smaller chance to still show a gain, the confirmation is hopeless."""
PLAUSIBLE_LEVEL: Final = 0.8
"""The best plausible gain is the upper end of an interval of this level."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look, counted from 1: after so many units, with an interval of this level."""

    number: int
    units: int
    level: float


class Looks:
    """The looks at a number of units, which together hold at `level`."""

    def __init__(self, units: int, *, level: float) -> None:
        """Raise ValueError for fewer than one unit."""
        if units < 1:
            raise ValueError(f"{units} units cannot be looked at")
        self.units, self.level = units, level
        sizes = tuple(sorted({ceil(fraction * units) for fraction in LOOK_FRACTIONS}))
        self._fractions = tuple(size / units for size in sizes)
        levels = look_levels(self._fractions, level=level)
        self.looks = tuple(Look(at, *found) for at, found in enumerate(zip(sizes, levels, strict=True), 1))

    def broken_off(self, units: int) -> Look:
        """Return the last look of a confirmation that ended after `units`, between two looks or at one.

        It spends the error of the data that there are, not what is left for those that are missing.
        """
        before = [look for look in self.looks if look.units < units]
        fractions = (*self._fractions[: len(before)], units / self.units)
        return Look(len(before) + 1, units, look_levels(fractions, level=self.level)[-1])

    def is_hopeless(self, look: Look, difference: float, interval: Interval) -> bool:
        """Tell whether even the best plausible gain would hardly be shown by the last look.

        `interval` is that of the look, from which its standard error follows. The rule need not be kept: going on all
        the same adds no false `improved`.
        """
        fraction = look.units / self.units
        if fraction >= 1:
            return False
        error = (interval.high - interval.low) / 2 / normal_quantile(look.level)
        statistic = difference / error if error > 0 else 0.0
        drift = (statistic + _PLAUSIBLE) / sqrt(fraction)
        bound = look_bounds(self._fractions, level=self.level)[-1]
        return chance_to_show(statistic, fraction, bound, drift) < LEAST_CHANCE


def detectable_gain(units: int) -> float | None:
    """Return the smallest gain that the looks at so many units detect four times in five, None if they detect none.

    By the level of the last look: what earlier looks add, the hopeless ones take.
    """
    return smallest_detectable_gain(units, level=Looks(units, level=CONFIDENCE).looks[-1].level)


_PLAUSIBLE: Final = normal_quantile(PLAUSIBLE_LEVEL)
