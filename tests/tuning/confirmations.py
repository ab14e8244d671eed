"""Confirmations over arrays of scores: the looks and the verdict alone, of a start and a pick whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.statistics.interval import NORMAL_QUANTILE, Interval, Paired
from promptkit.evaluation.statistics.paired import tango
from promptkit.tuning.confirmation.looks import Look, Looks
from promptkit.tuning.confirmation.verdict import missing_share, paired_gain, verdict_of
from tests.tuning.simulated import Floats


class Looked(NamedTuple):
    """What the look at which a confirmation ended says of a pick."""

    look: Look
    gain: Paired
    improved: bool


def looked(
    pick: Floats, start: Floats, *, rows: int, gives_up: bool = True, clusters: NDArray[np.int64] | None = None
) -> Looked:
    """Confirm a pick on pairs of scores in their order, look by look, of so many rows in all.

    A pick that is shorter than the start is not given up where a gain is hopeless. A look has whole `clusters`.
    """
    units = np.arange(len(pick)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    looks = Looks(int(units.max()) + 1, level=0.95)
    for look in looks.looks:
        seen = units < look.units
        ours, starts = pick[seen], start[seen]
        of_units = None if clusters is None else clusters[seen]
        gain = paired_gain(ours, starts, clusters=of_units, level=look.level)
        verdict = verdict_of(gain.low, rows=rows, missing=missing_share(ours, starts))
        is_open = gives_up and verdict.because == "interval holds 0"
        if verdict.outcome == "improved":
            break
        if is_open and looks.is_hopeless(look, gain.difference, Interval(gain.low, gain.high)):
            break
    return Looked(look, gain, verdict.outcome == "improved")


@dataclass(frozen=True)
class Confirmed:
    """The shares of confirmations that end with `improved`, by looks and by one test of all rows, and of rows used."""

    improved: float
    fixed: float
    used: float


def confirmed(units: int, discordant: float, gain: float, *, tunings: int, seed: int) -> Confirmed:
    """Confirm a pick of this true gain in looks, so many times; so many of its rows differ from the start's."""
    chance = np.random.default_rng([seed, units])
    drawn = chance.random((tunings, units))
    better, worse = drawn < (discordant + gain) / 2, drawn > 1 - (discordant - gain) / 2
    looks = Looks(units, level=0.95)

    @cache
    def decided(look: Look, right: int, wrong: int) -> tuple[bool, bool]:
        interval = tango(right, wrong, look.units, level=look.level)
        return interval.low > 0, looks.is_hopeless(look, (right - wrong) / look.units, interval)

    improved, used = 0, 0
    for ours, starts in zip(better, worse, strict=True):
        for look in looks.looks:
            is_shown, is_hopeless = decided(look, int(ours[: look.units].sum()), int(starts[: look.units].sum()))
            if is_shown or is_hopeless:
                break
        improved, used = improved + is_shown, used + look.units
    ahead, differ = better.sum(axis=1) - worse.sum(axis=1), better.sum(axis=1) + worse.sum(axis=1)
    fixed = np.mean(ahead > NORMAL_QUANTILE * np.sqrt(differ))
    return Confirmed(improved / tunings, float(fixed), used / tunings / units)
