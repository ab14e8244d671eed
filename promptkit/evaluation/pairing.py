"""The second pass over a run: metrics that compare an answer with the baseline's of the same row and repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING

from promptkit.evaluation.binding import Binder, BoundRow
from promptkit.evaluation.judges import Judges
from promptkit.evaluation.metrics import Score
from promptkit.evaluation.outcome import Outcome, read_outcome
from promptkit.evaluation.scoring import given_of, judge_pair, read_scores, scores_text
from promptkit.evaluation.suite import Measure, Suite, answer_type
from promptkit.storage import Placed

if TYPE_CHECKING:
    from promptkit.evaluation.work import Contender
    from promptkit.runtimes import Models
    from promptkit.storage import RunCell, Store

ROWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Pair:
    """A cell of a run with its outcome, and the baseline's of the same row and repeat."""

    row: BoundRow
    cell: RunCell
    outcome: Outcome
    baseline: Outcome


async def score_pairs(
    suite: Suite, contenders: Sequence[Contender], *, models: Models, store: Store, number: int
) -> None:
    """Score the cells of a run by the measures that need pairs, in the store and in the tallies. Raises StoreFailed."""
    measures = [(at, each) for at, each in enumerate(suite.measures) if each.metric.pairs]
    if not measures:
        return
    tallies = {each.variant.name: each.tally for each in contenders}
    answer = answer_type(suite.baseline.pipeline)
    judges = Judges(models)

    async def score(pair: Pair, at: int, measure: Measure) -> Score:
        row, expected = pair.row.row.fields, pair.row.expected[at]
        ours, theirs = (given_of(measure, each, row, expected, answer) for each in (pair.outcome, pair.baseline))
        return await judges.score(partial(judge_pair, measure, ours, theirs))

    async def finish(pair: Pair) -> Placed:
        cell, row = pair.cell, pair.row
        expect, scores = read_scores(cell)
        for at, measure in measures:
            scores[measure.name] = await score(pair, at, measure)
            tallies[cell.variant].score(measure.metric, row.index, cell.repeat, scores[measure.name])
        return Placed(
            variant=cell.variant,
            row=cell.row,
            repeat=cell.repeat,
            key=b"",
            row_key=row.key,
            fields=row.text,
            scores=scores_text(expect, scores),
            number=cell.number,
        )

    pairs = _pairs(suite, store, number)
    while some := list(islice(pairs, ROWS_AT_ONCE)):
        await store.cells.save(number, await asyncio.gather(*(finish(pair) for pair in some)))


def _readable(cells: Iterable[RunCell], store: Store) -> Iterator[tuple[RunCell, Outcome]]:
    """Yield the cells whose records are not damaged, with their outcomes."""
    for cell in cells:
        with store.damage.skipping():
            read_scores(cell)
            yield cell, read_outcome(cell, dict)


def _pairs(suite: Suite, store: Store, number: int) -> Iterator[Pair]:
    """Yield each cell that has an answer where the baseline has one too, the baseline's own with themselves."""
    binder = Binder(suite)
    rows = (binder.bind(row, index) for index, row in enumerate(suite.data.rows()))
    for place, group in groupby(store.cells.of_run(number), key=lambda cell: cell.row):
        row = next(each for each in rows if each.row.number == place)
        cells = list(_readable(group, store))
        baselines = {cell.repeat: outcome for cell, outcome in cells if cell.variant == suite.baseline.name}
        for cell, outcome in cells:
            baseline = baselines.get(cell.repeat)
            if baseline is not None and "error" not in (outcome.flag, baseline.flag):
                yield Pair(row, cell, outcome, baseline)
