"""The confirmation: start and incumbent evaluated once on the held-out rows, and the verdict on their difference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.tuning.confirmation.verdict import (
    SMALLEST_GAIN,
    VerdictOutcome,
    VerdictReason,
    missing_share,
    paired_gain,
    rows_to_detect,
    verdict_level,
    verdict_of,
)
from promptkit.tuning.data_split import row_content

if TYPE_CHECKING:
    from promptkit.evaluation.statistics.interval import Paired
    from promptkit.tuning.data_split import DataSplit
    from promptkit.tuning.evaluator import Evaluator
    from promptkit.tuning.search_space.candidate import Candidate

KEY_BYTES: Final = 16
NOT_WORSE_MARGIN: Final = -0.02
CHEAPER_SHARE: Final = 0.8
"""With a gain above the margin and at most so much of the tokens a pick is told as cheaper and not worse."""

VERDICT_REASONS: Final[dict[VerdictReason, str]] = {
    "shown": "the interval of the difference lies above 0",
    "few rows": "with fewer than 30 rows nothing is shown, whatever was measured",
    "missing": "too many confirm rows have no answer",
    "interval holds 0": "the interval of the difference does not lie above 0",
    "start is best": "the search found nothing that did better than the start",
    "nothing tried": "nothing but the start was asked: a larger budget tries more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Pick against start in the metric's own units; above 0 the pick is better, whichever way the metric counts.

    `n`, `better` and `worse` count rows, or clusters of rows: the `unit`.
    """

    mean: float
    low: float
    high: float
    level: float
    better: int
    worse: int
    n: int
    unit: Literal["row", "cluster"] = "row"

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "better": self.better,
            "worse": self.worse,
            "n": self.n,
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a confirmation says. `ordinal` counts the verdicts on these rows; without a difference none was made."""

    outcome: VerdictOutcome
    why: str
    ordinal: int = 0
    difference: Difference | None = None
    rows_needed: int | None = None
    is_cheaper: bool = False


def pair_key(start: bytes, pick: bytes) -> bytes:
    """Return what tells the pair that is compared from others."""
    return hashlib.blake2b(start + pick, digest_size=KEY_BYTES).digest()


def holdout_key(ground: DataSplit) -> bytes:
    """Return what tells the confirm rows from others: what the target is given of each, in whatever order."""
    told = sorted(row_content(ground.rows[place].inputs[0]) for place in ground.confirm)
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=KEY_BYTES).digest()


async def confirm(
    field: Evaluator, start: Candidate, pick: Candidate, ground: DataSplit, *, ordinal: int
) -> Confirmation:
    """Ask start and pick on all confirm rows, row by row, and return the verdict at the ordinal's own level.

    Raises BudgetSpent, SearchFailed and StoreFailed; what was asked is kept.
    """
    await field.have([start, pick], ground.confirm)
    level = verdict_level(ordinal)
    ours, starts = field.scores(pick, ground.confirm), field.scores(start, ground.confirm)
    missing = missing_share(ours, starts)
    difference, needed = _difference(field, start, pick, ground.confirm, level)
    said = verdict_of(difference.low, rows=ground.size, missing=missing)
    if missing and not field.metric.is_mean:
        said = verdict_of(-1.0, rows=ground.size, missing=1.0)
    bounds = field.metric.bounds or (0.0, 1.0)
    margin = difference.low > NOT_WORSE_MARGIN * (bounds[1] - bounds[0])
    cheaper = _tokens(field, pick, ground.confirm) <= CHEAPER_SHARE * _tokens(field, start, ground.confirm)
    return Confirmation(
        outcome=said.outcome,
        why=VERDICT_REASONS[said.because],
        ordinal=ordinal,
        difference=difference,
        rows_needed=None if said.outcome == "improved" else needed,
        is_cheaper=margin and cheaper,
    )


def measured_gain(
    field: Evaluator, start: Candidate, pick: Candidate, rows: Sequence[int], *, level: float = CONFIDENCE
) -> Difference:
    """Return what rows that are there say of a candidate against another, in the metric's own units."""
    return _difference(field, start, pick, rows, level)[0]


def _difference(
    field: Evaluator, start: Candidate, pick: Candidate, rows: Sequence[int], level: float
) -> tuple[Difference, int | None]:
    """Return the difference, and how many rows would show one of 5 points; a missing pair counts against the pick."""
    metric = field.metric
    assert metric.bounds is not None, "an aim has bounds"
    width = metric.bounds[1] - metric.bounds[0]
    if metric.is_mean:
        clusters = field.clusters(rows)
        found: Paired = paired_gain(field.scores(pick, rows), field.scores(start, rows), clusters=clusters, level=level)
        told = Difference(
            mean=found.difference * width,
            low=found.low * width,
            high=found.high * width,
            level=level,
            better=found.better,
            worse=found.worse,
            n=found.n,
            unit="row" if clusters is None else "cluster",
        )
        return told, rows_to_detect(found, smallest=SMALLEST_GAIN, level=level)
    both = [row for row in rows if field.scores(pick, [row])[0] >= 0 and field.scores(start, [row])[0] >= 0]
    said = metric.difference(field.sample(pick, both), field.sample(start, both), level=level)
    if said is None or said.difference is None or said.low is None or said.high is None:
        return Difference(mean=0.0, low=-width, high=width, level=level, better=0, worse=0, n=len(both)), None
    sign = 1 if metric.higher_is_better else -1
    low, high = sorted((sign * said.low, sign * said.high))
    return Difference(
        mean=sign * said.difference,
        low=low,
        high=high,
        level=level,
        better=said.better,
        worse=said.worse,
        n=said.n,
    ), None


def _tokens(field: Evaluator, candidate: Candidate, rows: Sequence[int]) -> int:
    return sum(cell.tokens for cell in field.cells(candidate, rows))
