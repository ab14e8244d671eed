"""Scores of metrics of pairs: each answer against the baseline's of the same row, or against every variant's."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, combinations, groupby, islice
from typing import Any

from promptkit.evaluation.cells.cell import Cell, cell_record, read_cell
from promptkit.evaluation.cells.failures import JudgeModels
from promptkit.evaluation.cells.progress import VariantRun
from promptkit.evaluation.cells.scoring import judge_pair, metric_input
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, Score
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.suite import Measure, Suite, answer_type
from promptkit.runtimes.models import Models
from promptkit.storage.cells import CellRecord, RunCell
from promptkit.storage.store import Store

PAIRS_AT_ONCE = 32
AGAINST = "against"
"""The key of a score's detail under which its answer's pairs with those of other variants than the baseline stand."""


@dataclass(slots=True)
class PairOutcomes:
    """The comparisons of all pairs of variants by one metric: two variants by their places, the row's index, and the
    score of the second from 0 (the first is preferred) to 1.

    `unscored` counts pairs without a score; `consistent` of `asked` pairs have the same verdict in both orders.
    """

    first: array[int] = field(default_factory=lambda: array("q"))
    second: array[int] = field(default_factory=lambda: array("q"))
    rows: array[int] = field(default_factory=lambda: array("q"))
    scores: array[float] = field(default_factory=lambda: array("d"))
    unscored: int = 0
    asked: int = 0
    consistent: int = 0

    def add(self, first: int, second: int, row: int, score: Score) -> None:
        """Add the score of the second variant's answer against the first one's."""
        if score.value is None:
            self.unscored += 1
            return
        for column, value in ((self.first, first), (self.second, second), (self.rows, row)):
            column.append(value)
        self.scores.append(score.value)
        if verdicts := score.detail.get("verdicts"):
            self.asked += 1
            # The places change with the order: the same answer is preferred by two different words.
            self.consistent += len(set(verdicts)) == len(verdicts)


class PairScorer:
    """Scores the pairs of a run, whose cells are saved. The scores go into the store and the tallies.

    `outcomes` are those of metrics that compare all pairs, by their names; `failure` is the first reason for a pair
    without a score.
    """

    def __init__(
        self, suite: Suite, variants: Sequence[VariantRun], *, models: Models, store: Store, number: int
    ) -> None:
        self.failure = ""
        self._suite = suite
        self._measures = [(at, measure) for at, measure in enumerate(suite.measures) if measure.metric.pairs]
        self.outcomes = {measure.name: PairOutcomes() for _, measure in self._measures if measure.metric.all_pairs}
        self._places = {run.variant.name: place for place, run in enumerate(variants)}
        self._tallies = {run.variant.name: run.tally for run in variants}
        self._answer = answer_type(suite.baseline.pipeline)
        self._judges = JudgeModels(models)
        self._store = store
        self._number = number

    async def score(self) -> None:
        """Score all pairs. Raises StoreFailed."""
        groups = _answered_groups(self._suite, self._store, self._number) if self._measures else iter(())
        at_once = max(1, PAIRS_AT_ONCE // len(self._places))
        while some := list(islice(groups, at_once)):
            finished = await asyncio.gather(*map(self._finish, some))
            await self._store.cells.save(self._number, list(chain.from_iterable(finished)))

    async def _finish(self, cells: Sequence[Cell]) -> list[CellRecord]:
        """Score the answers to one row in one repeat, of which the first is the baseline's."""
        for at, measure in self._measures:
            if at in cells[0].bound.exempt:
                continue
            found = await asyncio.gather(*(self._judged(at, measure, cell, cells[0]) for cell in cells))
            scores = dict(zip((cell.variant for cell in cells), found, strict=True))
            outcomes = self.outcomes.get(measure.name)
            if outcomes is not None:
                for cell in cells[1:]:
                    outcomes.add(0, self._places[cell.variant], cell.bound.index, scores[cell.variant])
                for first, second in combinations(cells[1:], 2):
                    score = await self._judged(at, measure, second, first)
                    outcomes.add(self._places[first.variant], self._places[second.variant], first.bound.index, score)
                    scores[second.variant] = _with_pair(scores[second.variant], first.variant, score)
            for cell in cells:
                cell.scores = {**cell.scores, measure.name: scores[cell.variant]}
                self._tallies[cell.variant].score(
                    measure.metric, cell.bound.index, cell.repeat, cell.scores[measure.name]
                )
        return [cell_record(cell) for cell in cells]

    async def _judged(self, at: int, measure: Measure, cell: Cell, baseline: Cell) -> Score:
        ours, theirs = (metric_input(measure, one, cell.bound.expected[at], self._answer) for one in (cell, baseline))
        score = await self._judges.score(partial(judge_pair, measure, ours, theirs))
        if score.value is None:
            self.failure = self.failure or score.why
        return score


def _with_pair(score: Score, other: str, pair: Score) -> Score:
    """Return the score of an answer with its pair with another variant's in the detail."""
    kept = {key: part for key, part in pair.detail.items() if key != JUDGE_DETAIL}
    outcome = {"score": pair.value, **kept, **({"why": pair.why} if pair.why else {})}
    against = {**score.detail.get(AGAINST, {}), other: outcome}
    exchanges = [*score.detail.get(JUDGE_DETAIL, ()), *pair.detail.get(JUDGE_DETAIL, ())]
    return replace(score, detail={**score.detail, AGAINST: against, **({JUDGE_DETAIL: exchanges} if exchanges else {})})


def _answered_groups(suite: Suite, store: Store, number: int) -> Iterator[list[Cell]]:
    """Yield the answered cells of each row and repeat, the baseline's first; none where the baseline has no answer."""
    binder = Binder(suite)
    rows = (binder.bind(row, index) for index, row in enumerate(suite.data.rows()))
    order = {variant.name: place for place, variant in enumerate(suite.variants)}
    for place, group in groupby(store.cells.of_run(number), key=lambda kept: kept.row):
        row = next(bound for bound in rows if bound.row.number == place)
        cells = [cell for cell in _readable(group, store, row.row.fields) if cell.flag != "error"]
        for cell in cells:
            cell.source, cell.place = row, order[cell.variant]
        cells.sort(key=lambda cell: (cell.repeat, cell.place))
        for _, answered in groupby(cells, key=lambda cell: cell.repeat):
            found = list(answered)
            if found[0].place == 0:
                yield found


def _readable(cells: Iterable[RunCell], store: Store, fields: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield the cells whose records are not damaged."""
    for kept in cells:
        with store.damage.skipping():
            cell = read_cell(kept, fields)
            cell.read_trace = store.cells.trace_reader(kept.number)
            yield cell
