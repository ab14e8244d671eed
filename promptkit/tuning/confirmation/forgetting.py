"""Forgetting: the start against the incumbent on a second suite, which took no part in the search."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from promptkit.errors import BudgetSpent, InputError
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.comparison_settings import read_margins
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.evaluation.verdicts import Verdict, verdict_of
from promptkit.storage.hashes import content_key
from promptkit.tuning.confirmation.confirm import Difference, measured_gain
from promptkit.tuning.data_split import OBJECTIVE, DataSplit, row_content
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.search_space.candidate import Candidate

KEEP: Final = "keep"
"""The stage in which a second suite is evaluated."""
LEAST_ROWS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSuite:
    """A suite on which the incumbent is not to lose: its rows in the order in which they are asked, and the margin.

    `left_out` counts rows that the search sees or that have problems. `margin`: the largest loss that does not matter,
    in the metric's own units; None if none is given.
    """

    suite: Suite
    rows: tuple[BoundRow, ...]
    left_out: int = 0
    margin: float | None = None


def load_kept_suite(name: str, tuned: Suite, margins: Sequence[str] = ()) -> KeptSuite:
    """Return the suite of `--keep`, with the tuned target in place of its own.

    `margins` are those of the command line, as `[METRIC=]SIZE`; without any the suite's own count. Raises InputError.
    """
    project = tuned.project
    file = project.suite(name)
    suite = load_suite(file, project, sets=tuned.sets, start=tuned.source.target)
    metric = suite.measures[OBJECTIVE].metric
    if suite.file == tuned.file:
        raise InputError(f"--keep {name}: the tuning itself is measured by it", hint="name a suite of other rows")
    if metric.bounds is None or metric.pairs:
        message = f"--keep {name}: `{metric.name}` is not a score with bounds of one answer"
        raise InputError(message, hint="let the suite's first metric be one such as `accuracy: label`")
    found = read_margins(margins, [measure.metric for measure in suite.measures]) or _own_margins(file, suite)
    binder = Binder(suite)
    bound = [binder.bind(row, index) for index, row in enumerate(suite.data.rows())]
    right = [row for row in bound if not row.problems and OBJECTIVE not in row.exempt]
    if not right:
        raise InputError(
            [problem for row in bound for problem in row.problems][:20] or f"--keep {name}: it has no rows"
        )
    # The first rows are those that count if the budget does not hold all.
    order = sorted(right, key=lambda row: content_key(row_content(row.inputs[0])))
    return KeptSuite(
        suite=replace(suite, measures=suite.measures[:1]),
        rows=tuple(order),
        left_out=len(bound) - len(right),
        margin=found.get(metric.name),
    )


def _own_margins(file: Path, suite: Suite) -> dict[str, float]:
    return dict(load_suite(file, suite.project, run_code=False).compare.margins)


def without_searched(kept: KeptSuite, split: DataSplit) -> KeptSuite:
    """Return a suite without the rows that a search sees: what it learned of these is not kept, but new."""
    seen = {row_content(split.rows[place].inputs[0]) for place in split.visible}
    rows = tuple(row for row in kept.rows if row_content(row.inputs[0]) not in seen)
    if len(rows) < LEAST_ROWS:
        raise InputError(
            f"--keep {kept.suite.name}: {len(rows)} of its {len(kept.rows)} rows are not among the search rows",
            hint="name a suite of other rows",
        )
    return replace(kept, rows=rows, left_out=kept.left_out + len(kept.rows) - len(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """The start and the incumbent on a kept suite: their means, the difference at 95 %, and the verdict.

    `rows` of the suite's rows were asked of both.
    """

    kept: KeptSuite
    rows: int
    start: Any
    incumbent: Any
    difference: Difference
    verdict: Verdict | None

    def record(self) -> dict[str, Any]:
        """Return the result as JSON has it."""
        metric = self.kept.suite.measures[OBJECTIVE].metric
        return {
            "suite": self.kept.suite.name,
            "metric": {
                "name": metric.name,
                "kind": metric.kind,
                "bounds": list(metric.bounds or ()),
                "higher_is_better": metric.higher_is_better,
            },
            "rows": self.rows,
            "of": len(self.kept.rows),
            "left_out": self.kept.left_out,
            "start": self.start,
            "incumbent": self.incumbent,
            "difference": self.difference.record(),
            "margin": self.kept.margin,
            "verdict": self.verdict,
        }


async def measure_forgetting(evaluator: Evaluator, kept: KeptSuite, incumbent: Candidate) -> Forgetting | None:
    """Evaluate start and incumbent on the rows of a kept suite that the budget holds; None if that is too few.

    A missing answer of the incumbent counts as lost. Raises SearchFailed and StoreFailed.
    """
    places, start = range(len(kept.rows)), Candidate()
    with suppress(BudgetSpent):
        await evaluator.evaluate([start, incumbent], places)
    count = min(evaluator.known_rows(candidate, places) for candidate in (start, incumbent))
    if count < LEAST_ROWS:
        return None
    rows = evaluator.applicable([start, incumbent], places[:count]) or list(places[:count])
    found = measured_gain(evaluator, start, incumbent, rows)
    # Above 0 the incumbent is better, for any metric.
    verdict = verdict_of(found.low, found.high, higher_is_better=True, margin=kept.margin)
    means = [_estimated(evaluator, candidate, rows) for candidate in (start, incumbent)]
    return Forgetting(kept=kept, rows=count, start=means[0], incumbent=means[1], difference=found, verdict=verdict)


def _estimated(evaluator: Evaluator, candidate: Candidate, rows: Sequence[int]) -> dict[str, Any]:
    estimate = evaluator.estimate(candidate, rows)
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "n": estimate.n}
