"""The confirmation: start and incumbent evaluated in pairs on held-out rows, and the verdict on their difference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final, Literal

from promptkit.errors import BudgetSpent
from promptkit.evaluation.statistics.interval import CONFIDENCE, Interval, Paired
from promptkit.storage.hashes import content_key
from promptkit.tuning.confirmation.looks import Look, Looks
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
from promptkit.tuning.data_split import DataSplit, holdout_units, row_content
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
    "hopeless": "ended early: on the rows left, even the best plausible gain would hardly have been shown",
    "no pairs": "the budget held no pair of confirm rows: a larger one resumes the confirmation",
    "start is best": "the search found nothing better than the start",
    "nothing tried": "only the start was evaluated: a larger budget tries more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The incumbent minus the start in the metric's own units; above 0 the incumbent is better, for any metric.

    The interval holds at `level`, that of a confirmation at all looks together. `n`, `better` and `worse` count rows,
    or clusters of rows: the `unit`.
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

    `ordinal` counts the verdicts on these rows. `difference` is None if none was measured. `rows`: the held-out rows
    that both sides were asked. It ended with look `look` of `looks`, whose interval is one of `look_level`, so that all
    looks together hold at `level`; `units`: how many rows or clusters all looks would have.
    """

    outcome: VerdictOutcome
    why: str
    ordinal: int = 0
    difference: Difference | None = None
    rows_needed: int | None = None
    is_cheaper: bool = False
    rows: tuple[int, ...] = ()
    look: int = 0
    looks: int = 0
    units: int = 0
    level: float = CONFIDENCE
    look_level: float = CONFIDENCE

    def record(self) -> dict[str, Any]:
        """Return the course of the confirmation as JSON has it."""
        return {
            "rows": len(self.rows),
            "look": self.look,
            "looks": self.looks,
            "units": self.units,
            "level": self.level,
            "look_level": self.look_level,
        }


def pair_key(start: bytes, incumbent: bytes, *, rows: int | None = None) -> bytes:
    """Return the key of a pair of start and incumbent, confirmed on all held-out rows or only on so many.

    On more rows the pair is tested again: that is another verdict.
    """
    return content_key(start + incumbent + (b"" if rows is None else b" %d" % rows), KEY_BYTES)


def holdout_key(split: DataSplit) -> bytes:
    """Return the key of the held-out rows: the target's inputs of each, in any order."""
    contents = sorted(row_content(split.rows[place].inputs[0]) for place in split.holdout)
    return content_key(json.dumps(contents), KEY_BYTES)


def units_within(units: Sequence[tuple[int, ...]], rows: int) -> int:
    """Return the number of units, from the first, that have at most so many rows together."""
    return sum(total <= rows for total in accumulate(len(unit) for unit in units))


async def confirm(
    evaluator: Evaluator,
    start: Candidate,
    incumbent: Candidate,
    split: DataSplit,
    *,
    ordinal: int,
    most_rows: int | None = None,
) -> Confirmation:
    """Evaluate start and incumbent on held-out rows, in pairs and looks, and return the verdict at the ordinal's level.

    It ends with the first look that shows the gain or at which showing one is hopeless. `most_rows`: how many rows are
    planned, in the order of `holdout_units`; None for all. If the budget ends before, the verdict is that on the pairs
    there are. Raises SearchFailed and StoreFailed; results so far are kept.
    """
    units = holdout_units(split)
    planned = len(units) if most_rows is None else units_within(units, most_rows)
    level = verdict_level(ordinal)
    no_pairs = Confirmation(outcome="not shown", why=VERDICT_REASONS["no pairs"], ordinal=ordinal, level=level)
    if not planned:
        return no_pairs
    test = PairedTest(evaluator, start, incumbent, units, Looks(planned, level=level), split.independent_size, ordinal)
    for look in test.looks.looks:
        try:
            await evaluator.evaluate([start, incumbent], test.rows_of(look))
        except BudgetSpent:
            paired = test.paired_units(look)
            return test.result(test.looks.broken_off(paired)) if paired else no_pairs
        found = test.result(look)
        if found.outcome == "improved":
            break
        if test.is_hopeless(look, found):
            return replace(found, why=VERDICT_REASONS["hopeless"])
    return found


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The test of one pair of candidates on units of held-out rows. `rows_in_all`: independent rows, searched and held
    out."""

    evaluator: Evaluator
    start: Candidate
    incumbent: Candidate
    units: Sequence[tuple[int, ...]]
    looks: Looks
    rows_in_all: int
    ordinal: int

    def rows_of(self, look: Look) -> tuple[int, ...]:
        """Return the rows that a look has."""
        return tuple(row for unit in self.units[: look.units] for row in unit)

    def paired_units(self, look: Look) -> int:
        """Return the number of units of a look, from the first, that have all results of both: who else finished is
        chance.
        """
        rows = self.rows_of(look)
        known = min(self.evaluator.known_rows(candidate, rows) for candidate in (self.start, self.incumbent))
        return units_within(self.units, known)

    def result(self, look: Look) -> Confirmation:
        """Return the result of a confirmation that ends with a look."""
        evaluator, asked, level = self.evaluator, self.rows_of(look), self.looks.level
        # Rows that the objective is for in neither are left out; of no others nothing is shown.
        rows = evaluator.applicable([self.start, self.incumbent], asked) or asked
        missing = missing_share(evaluator.scores(self.incumbent, rows), evaluator.scores(self.start, rows))
        difference, paired = _difference(evaluator, self.start, self.incumbent, rows, look.level)
        verdict = verdict_of(difference.low, rows=self.rows_in_all, missing=missing)
        if missing and not evaluator.metric.is_mean:
            verdict = verdict_of(-1.0, rows=self.rows_in_all, missing=1.0)
        needed = None if paired is None else rows_to_detect(paired, smallest=SMALLEST_GAIN, level=level)
        return Confirmation(
            outcome=verdict.outcome,
            why=VERDICT_REASONS[verdict.because],
            ordinal=self.ordinal,
            difference=replace(difference, level=level),
            rows_needed=None if verdict.outcome == "improved" else needed,
            is_cheaper=self._takes_less(asked) and self._is_not_worse(rows),
            rows=asked,
            look=look.number,
            looks=len(self.looks.looks),
            units=self.looks.units,
            level=level,
            look_level=look.level,
        )

    def is_hopeless(self, look: Look, found: Confirmation) -> bool:
        """Tell whether the confirmation ends with a look that shows no gain.

        A shorter incumbent goes on: more rows may show that it is not worse.
        """
        difference = found.difference
        if difference is None or found.why != VERDICT_REASONS["interval holds 0"] or self._takes_less(found.rows):
            return False
        return self.looks.is_hopeless(look, difference.mean, Interval(difference.low, difference.high))

    def _is_not_worse(self, rows: Sequence[int]) -> bool:
        """Tell whether the incumbent is within the margin, by one interval: this is asked at the end alone."""
        bounds = self.evaluator.metric.bounds or (0.0, 1.0)
        gain = measured_gain(self.evaluator, self.start, self.incumbent, rows, level=self.looks.level)
        return gain.low > NOT_WORSE_MARGIN * (bounds[1] - bounds[0])

    def _takes_less(self, rows: Sequence[int]) -> bool:
        ours, starts = (
            sum(result.tokens for result in self.evaluator.results(candidate, rows))
            for candidate in (self.incumbent, self.start)
        )
        return ours <= CHEAPER_SHARE * starts


def measured_gain(
    evaluator: Evaluator, start: Candidate, incumbent: Candidate, rows: Sequence[int], *, level: float = CONFIDENCE
) -> Difference:
    """Return the difference of a candidate to another on rows with results, in the metric's own units."""
    return _difference(evaluator, start, incumbent, rows, level)[0]


def _difference(
    evaluator: Evaluator, start: Candidate, incumbent: Candidate, rows: Sequence[int], level: float
) -> tuple[Difference, Paired | None]:
    """Return the difference, and for a mean its pairs. A missing pair counts against the incumbent."""
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
        return difference, paired
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
