"""The statistics of the verdict: is the incumbent shown to be better than the start on the held-out rows?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from promptkit.evaluation.statistics.interval import CONFIDENCE, Paired
from promptkit.evaluation.statistics.paired import against, paired_binary, paired_graded
from promptkit.evaluation.statistics.power import rows_needed, rows_needed_graded, smallest_shown

VerdictOutcome = Literal["improved", "not shown"]
VerdictReason = Literal[
    "shown", "few rows", "missing", "interval holds 0", "hopeless", "start is best", "nothing tried", "no pairs"
]

LEAST_ROWS: Final = 30
"""With fewer rows in all nothing is shown, whatever the interval is."""
MOST_MISSING: Final = 0.02
ERROR_RATE: Final = 0.05
SMALLEST_GAIN: Final = 0.05
"""The gain in question if the person names none: 5 points."""
DISCORDANT_SHARE: Final = 0.2
"""The assumed share of rows on which two prompts differ, before anything is measured."""
DISCORDANT_STEP: Final = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of a confirmation, and its reason: `improved` only if the gain is `shown`."""

    outcome: VerdictOutcome
    because: VerdictReason


def verdict_level(ordinal: int, *, error: float = ERROR_RATE) -> float:
    """Return the level of the interval of the `ordinal`-th verdict (from 1) on the same rows.

    The first has the level 1 - `error`; each further one has half the error of the one before. A false `improved` errs
    on one side only, so that all verdicts together have at most `error` of it. Raises ValueError for an ordinal below
    1.
    """
    if ordinal < 1:
        raise ValueError(f"verdicts are counted from 1: {ordinal}")
    return 1 - error * 0.5 ** (ordinal - 1)


def verdict_of(low: float, *, rows: int, missing: float = 0.0) -> Verdict:
    """Return the verdict on a difference, incumbent minus start, by the lower end of its interval.

    `low` must belong to an interval in which each missing pair counts against the incumbent. `missing`: the share of
    held-out rows that either side lacks. `rows`: the number of rows in all, searched and held out. A metric that is not
    a mean gives its own interval.
    """
    if rows < LEAST_ROWS:
        return Verdict("not shown", "few rows")
    if missing > MOST_MISSING:
        return Verdict("not shown", "missing")
    if not low > 0:
        return Verdict("not shown", "interval holds 0")
    return Verdict("improved", "shown")


def missing_share(incumbent: ArrayLike, start: ArrayLike) -> float:
    """Return the share of rows on which either side has no score (NaN); 0 for no rows."""
    absent = np.isnan(np.asarray(incumbent, dtype=np.float64)) | np.isnan(np.asarray(start, dtype=np.float64))
    return float(absent.mean()) if len(absent) else 0.0


def paired_gain(
    incumbent: ArrayLike, start: ArrayLike, *, clusters: ArrayLike | None = None, level: float = CONFIDENCE
) -> Paired:
    """Return the paired difference of incumbent minus start; each missing pair counts against the incumbent.

    `incumbent` and `start` are (rows,): scores in [0, 1] in the same order, NaN if missing; `clusters` the codes of
    what is independent, if rows are not. Tango's interval for scores of 0 and 1 on independent rows, otherwise t over
    differences with two pseudo-rows. Raises ValueError for different lengths.
    """
    first, second = np.asarray(incumbent, dtype=np.float64), np.asarray(start, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"scores of shapes {first.shape} and {second.shape} are not pairs")
    absent = np.isnan(first) | np.isnan(second)
    first, second = against(np.where(absent, np.nan, first), np.where(absent, np.nan, second))
    if clusters is None and are_binary(first) and are_binary(second):
        return paired_binary(first, second, level=level)
    return paired_graded(first, second, np.arange(len(first)) if clusters is None else clusters, level=level)


def are_binary(scores: ArrayLike) -> bool:
    """Tell whether each score is 0, 1 or missing."""
    values = np.asarray(scores, dtype=np.float64)
    return bool(((values == 0) | (values == 1) | np.isnan(values)).all())


def rows_to_detect(paired: Paired, *, smallest: float = SMALLEST_GAIN, level: float = CONFIDENCE) -> int:
    """Return about how many held-out rows would detect a gain of `smallest` four times in five.

    By the measured spread, not by the measured difference, whose noise the number would share.
    """
    if "Tango" in paired.method:
        return rows_needed(paired.spread, smallest, level=level)
    return rows_needed_graded(paired.spread, smallest, level=level)


def smallest_detectable_gain(confirm_rows: int, *, level: float = CONFIDENCE) -> float | None:
    """Return the smallest gain that so many rows detect four times in five, before any request.

    A fifth of the rows is assumed to differ, or as many more as so few rows need to show anything; None if even that is
    not enough.
    """
    for discordant in np.arange(DISCORDANT_SHARE, 1.0, DISCORDANT_STEP):
        shown = smallest_shown(float(discordant), confirm_rows, level=level)
        if shown is not None:
            return shown
    return None
