"""The confirmation: start and incumbent evaluated once on the held-out rows, and the verdict on their difference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from promptkit.evaluation.statistics.interval import CONFIDENCE, Paired
from promptkit.storage.hashes import content_key
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
from promptkit.tuning.data_split import DataSplit, row_content
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.search_space.candidate import Candidate

KEY_BYTES: Final = 16
NOT_WORSE_MARGIN: Final = -0.02
CHEAPER_SHARE: Final = 0.8
"""An incumbent within the margin that takes at most this share of the start's tokens is noted as cheaper."""

VERDICT_REASONS: Final[dict[VerdictReason, str]] = {
    "shown": "the interval of the difference lies above 0",
    "few rows": "fewer than 30 rows show nothing, whatever was measured",
    "missing": "too many confirm rows have no answer",
    "interval holds 0": "the interval of the difference does not lie above 0",
    "start is best": "the search found nothing better than the start",
    "nothing tried": "only the start was evaluated: a larger budget tries more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The incumbent minus the start in the metric's own units; above 0 the incumbent is better, for any metric.

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
        """Return the difference as JSON has it."""
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
    """The result of a confirmation.

    `ordinal` counts the verdicts on these rows. `difference` is None if none was measured.
    """

    outcome: VerdictOutcome
    why: str
    ordinal: int = 0
    difference: Difference | None = None
    rows_needed: int | None = None
    is_cheaper: bool = False


def pair_key(start: bytes, incumbent: bytes) -> bytes:
    """Return the key of a pair of start and incumbent."""
    return content_key(start + incumbent, KEY_BYTES)


def holdout_key(split: DataSplit) -> bytes:
    """Return the key of the held-out rows: the target's inputs of each, in any order."""
    contents = sorted(row_content(split.rows[place].inputs[0]) for place in split.holdout)
    return content_key(json.dumps(contents), KEY_BYTES)


async def confirm(
    evaluator: Evaluator, start: Candidate, incumbent: Candidate, split: DataSplit, *, ordinal: int
) -> Confirmation:
    """Evaluate start and incumbent on all held-out rows, row by row, and return the verdict at the ordinal's level.

    Raises BudgetSpent, SearchFailed and StoreFailed; results so far are kept.
    """
    await evaluator.evaluate([start, incumbent], split.holdout)
    level = verdict_level(ordinal)
    # Rows that the objective is for in neither are left out; of no others nothing is shown.
    rows = evaluator.applicable([start, incumbent], split.holdout) or split.holdout
    missing = missing_share(evaluator.scores(incumbent, rows), evaluator.scores(start, rows))
    difference, needed = _difference(evaluator, start, incumbent, rows, level)
    verdict = verdict_of(difference.low, rows=split.independent_size, missing=missing)
    if missing and not evaluator.metric.is_mean:
        verdict = verdict_of(-1.0, rows=split.independent_size, missing=1.0)
    bounds = evaluator.metric.bounds or (0.0, 1.0)
    margin = difference.low > NOT_WORSE_MARGIN * (bounds[1] - bounds[0])
    cheaper = _tokens(evaluator, incumbent, split.holdout) <= CHEAPER_SHARE * _tokens(evaluator, start, split.holdout)
    return Confirmation(
        outcome=verdict.outcome,
        why=VERDICT_REASONS[verdict.because],
        ordinal=ordinal,
        difference=difference,
        rows_needed=None if verdict.outcome == "improved" else needed,
        is_cheaper=margin and cheaper,
    )


def measured_gain(
    evaluator: Evaluator, start: Candidate, incumbent: Candidate, rows: Sequence[int], *, level: float = CONFIDENCE
) -> Difference:
    """Return the difference of a candidate to another on rows with results, in the metric's own units."""
    return _difference(evaluator, start, incumbent, rows, level)[0]


def _difference(
    evaluator: Evaluator, start: Candidate, incumbent: Candidate, rows: Sequence[int], level: float
) -> tuple[Difference, int | None]:
    """Return the difference, and how many rows would detect a gain of 5 points.

    A missing pair counts against the incumbent.
    """
    metric = evaluator.metric
    assert metric.bounds is not None, "an objective has bounds"
    width = metric.bounds[1] - metric.bounds[0]
    if metric.is_mean:
        clusters = evaluator.clusters(rows)
        paired: Paired = paired_gain(
            evaluator.scores(incumbent, rows), evaluator.scores(start, rows), clusters=clusters, level=level
        )
        difference = Difference(
            mean=paired.difference * width,
            low=paired.low * width,
            high=paired.high * width,
            level=level,
            better=paired.better,
            worse=paired.worse,
            n=paired.n,
            unit="row" if clusters is None else "cluster",
        )
        return difference, rows_to_detect(paired, smallest=SMALLEST_GAIN, level=level)
    both = [
        row for row in rows if evaluator.scores(incumbent, [row])[0] >= 0 and evaluator.scores(start, [row])[0] >= 0
    ]
    estimate = metric.difference(evaluator.sample(incumbent, both), evaluator.sample(start, both), level=level)
    if estimate is None or estimate.difference is None or estimate.low is None or estimate.high is None:
        return Difference(mean=0.0, low=-width, high=width, level=level, better=0, worse=0, n=len(both)), None
    sign = 1 if metric.higher_is_better else -1
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    return Difference(
        mean=sign * estimate.difference,
        low=low,
        high=high,
        level=level,
        better=estimate.better,
        worse=estimate.worse,
        n=estimate.n,
    ), None


def _tokens(evaluator: Evaluator, candidate: Candidate, rows: Sequence[int]) -> int:
    return sum(result.tokens for result in evaluator.results(candidate, rows))
