"""The statistics of the verdict: is the incumbent shown to be better than the start on the held-out rows?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from promptkit.evaluation.statistics.interval import CONFIDENCE, Paired
from promptkit.evaluation.statistics.paired import against, paired_binary, paired_graded
from promptkit.evaluation.statistics.power import rows_needed, rows_needed_graded, smallest_shown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

VerdictOutcome = Literal["improved", "not shown"]
VerdictReason = Literal["shown", "few rows", "missing", "interval holds 0", "start is best", "nothing tried"]

LEAST_ROWS: Final = 30
"""Of fewer rows in all nothing is shown, whatever the interval says."""
MOST_MISSING: Final = 0.02
ERROR_RATE: Final = 0.05
SMALLEST_GAIN: Final = 0.05
"""The gain in question where a person names none: 5 points."""
DISCORDANT_SHARE: Final = 0.2
"""How many rows differ between two prompts before anything is measured: about a fifth."""
DISCORDANT_STEP: Final = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the confirmation says, and why: `improved` is said only because it is `shown`."""

    outcome: VerdictOutcome
    because: VerdictReason


def verdict_level(ordinal: int, *, error: float = ERROR_RATE) -> float:
    """Return the level of the interval of the `ordinal`-th verdict (from 1) on the same rows.

    The first has the level 1 - `error`, each further one half of the error of the one before. A false `improved` errs
    on one side only, so that all together have at most `error` of it. Raises ValueError for an ordinal below 1.
    """
    if ordinal < 1:
        raise ValueError(f"verdicts are counted from 1: {ordinal}")
    return 1 - error * 0.5 ** (ordinal - 1)


def verdict_of(low: float, *, rows: int, missing: float = 0.0) -> Verdict:
    """Return the verdict of a difference, pick minus start, by the lower end of its interval.

    `low` must be that of an interval in which each missing pair counts against the pick; `missing` is the share of
    the confirm rows that either side lacks, `rows` the number of rows in all, of both sides. A metric that is no mean
    gives its own interval.
    """
    if rows < LEAST_ROWS:
        return Verdict("not shown", "few rows")
    if missing > MOST_MISSING:
        return Verdict("not shown", "missing")
    if not low > 0:
        return Verdict("not shown", "interval holds 0")
    return Verdict("improved", "shown")


def missing_share(pick: ArrayLike, start: ArrayLike) -> float:
    """Return the share of rows of which either side has no score (NaN); 0 of no rows."""
    import numpy as np

    absent = np.isnan(np.asarray(pick, dtype=np.float64)) | np.isnan(np.asarray(start, dtype=np.float64))
    return float(absent.mean()) if len(absent) else 0.0


def paired_gain(
    pick: ArrayLike, start: ArrayLike, *, clusters: ArrayLike | None = None, level: float = CONFIDENCE
) -> Paired:
    """Return what the confirm rows say of the pick minus the start; each missing pair counts against the pick.

    `pick` and `start` are (rows,): scores in [0, 1], in the same order, NaN where missing; `clusters` the codes of
    what is independent where rows are not. Tango's interval for scores of 0 and 1 on independent rows, else t over
    differences with two pseudo-rows. Raises ValueError for lengths that differ.
    """
    import numpy as np

    first, second = np.asarray(pick, dtype=np.float64), np.asarray(start, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"scores of shapes {first.shape} and {second.shape} are no pairs")
    absent = np.isnan(first) | np.isnan(second)
    first, second = against(np.where(absent, np.nan, first), np.where(absent, np.nan, second))
    if clusters is None and are_binary(first) and are_binary(second):
        return paired_binary(first, second, level=level)
    return paired_graded(first, second, np.arange(len(first)) if clusters is None else clusters, level=level)


def are_binary(scores: ArrayLike) -> bool:
    """Return whether each score is 0, 1 or missing."""
    import numpy as np

    values = np.asarray(scores, dtype=np.float64)
    return bool(((values == 0) | (values == 1) | np.isnan(values)).all())


def rows_to_detect(paired: Paired, *, smallest: float = SMALLEST_GAIN, level: float = CONFIDENCE) -> int:
    """Return about how many confirm rows would show a gain of `smallest` four times in five.

    Of the spread of what is measured, never of the measured difference: that would be as noisy as the difference.
    """
    if "Tango" in paired.method:
        return rows_needed(paired.spread, smallest, level=level)
    return rows_needed_graded(paired.spread, smallest, level=level)


def smallest_detectable_gain(confirm_rows: int, *, level: float = CONFIDENCE) -> float | None:
    """Return the smallest gain that so many rows show four times in five, before anything is asked.

    A fifth of the rows is taken to differ, or as many more as so few rows need to show anything; None where not even
    that would do.
    """
    import numpy as np

    for discordant in np.arange(DISCORDANT_SHARE, 1.0, DISCORDANT_STEP):
        shown = smallest_shown(float(discordant), confirm_rows, level=level)
        if shown is not None:
            return shown
    return None
