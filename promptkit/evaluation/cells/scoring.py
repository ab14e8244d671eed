"""Scores of cells: by quick metrics, by slow ones (judges, programs), and by metrics that compare with the baseline."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from promptkit.errors import (
    BudgetSpent,
    DamagedRecord,
    InputError,
    PromptkitError,
    RuntimeFailure,
    StoreFailed,
    UnexpectedError,
    catching_unexpected,
)
from promptkit.evaluation.cells.cell import Outcome, read_outcome
from promptkit.evaluation.cells.failures import JudgeModels
from promptkit.evaluation.metrics.base import DEFECT, AnsweredCell, Metric, MetricInput, Score
from promptkit.evaluation.suite.binding import Binder, BoundRow, evaluate_of
from promptkit.evaluation.suite.suite import Measure, Suite, answer_type
from promptkit.storage.cells import CellRecord
from promptkit.storage.records import read_record, reading_record
from promptkit.storage.shapes import KeptScoreShape, ScoresShape
from promptkit.storage.strict_json import compact, plain

if TYPE_CHECKING:
    from promptkit.answers.base import AnswerType
    from promptkit.evaluation.cells.progress import VariantRun
    from promptkit.evaluation.metrics.base import Clients
    from promptkit.runtimes.models import Models
    from promptkit.storage.cells import Cells, RunCell
    from promptkit.storage.store import Store

Scores = dict[str, Score]
MOST_COMPARED_CHARACTERS = 400
"""Characters of a compared value that are kept with its score, to be shown."""


def metric_input(
    measure: Measure, outcome: Outcome, row: Mapping[str, Any], expected: Any, answer: AnswerType | None
) -> MetricInput:
    """Return an answer with what is expected of it; what a metric's `of` reads of it is not yet read."""
    assert outcome.flag != "error", "a missing answer is not compared"
    steps = outcome.steps or {}
    cell = AnsweredCell(
        row=row,
        output=outcome.output,
        flag=outcome.flag,
        steps=steps,
        calls=outcome.calls,
        tokens_in=outcome.tokens_in,
        tokens_out=outcome.tokens_out,
        seconds=outcome.seconds,
        answer=answer if measure.of is None else None,
        trace=lambda: outcome.trace,
    )
    return MetricInput(outcome.output, expected, cell)


def _with_compared_value(measure: Measure, given: MetricInput) -> MetricInput:
    """Return what a metric compares, with what its `of` reads. Raises InputError where that finds nothing."""
    if measure.of is None:
        return given
    cell = given.cell
    return replace(given, got=evaluate_of(measure.of, cell.output, cell.row, cell.steps))


def _input_or_score(measure: Measure, given: MetricInput) -> MetricInput | Score:
    """Return what a metric compares or, where its `of` finds nothing, the score: wrong, as of what does not parse.

    Where `of` does not read the answer, nothing is said of it.
    """
    try:
        return _with_compared_value(measure, given)
    except InputError as error:
        why = _reason(error)
    if _reads_row_alone(measure):
        return Score(None, why=why)
    wrong = measure.metric.unanswered(_unparsed(given))
    return replace(wrong, detail={**wrong.detail, "flag": "unparsed"}, why=why)


def measure_cell(
    measure: Measure, outcome: Outcome, row: Mapping[str, Any], expected: Any, answer: AnswerType | None
) -> Score:
    """Return the score of a metric that asks nothing; a metric that fails gives a missing score that says why."""
    try:
        given = metric_input(measure, outcome, row, expected, answer)
        if outcome.flag:
            return checked_score(measure.metric, measure.metric.unanswered(given))
        read = _input_or_score(measure, given)
        if isinstance(read, Score):
            return read
        return _with_compared(measure, read, checked_score(measure.metric, measure.metric.measure(read)))
    except (Exception, SystemExit) as error:
        return missing_score(error)


def _with_compared(measure: Measure, given: MetricInput, score: Score) -> Score:
    """Return a score with what was compared, where that is not the output and what the suite expects of it."""
    told = {"got": _shortened(given.got)} if measure.of is not None else {}
    told |= {"expected": _shortened(given.expected)} if measure.expect is not None else {}
    return replace(score, detail={**told, **score.detail}) if told else score


def _shortened(value: Any) -> Any:
    """Return a value that is short as it is, else the beginning of it as text."""
    text = value if isinstance(value, str) else compact(plain(value))
    return value if len(text) <= MOST_COMPARED_CHARACTERS else text[:MOST_COMPARED_CHARACTERS] + "…"


async def judge_cell(
    measure: Measure,
    outcome: Outcome,
    row: Mapping[str, Any],
    expected: Any,
    answer: AnswerType | None,
    askers: Clients,
) -> Score:
    """Return the score of a metric that asks a model. Raises RuntimeFailure, StoreFailed and BudgetSpent alone."""
    if outcome.flag:
        return measure_cell(measure, outcome, row, expected, answer)
    try:
        given = metric_input(measure, outcome, row, expected, answer)
        read = _input_or_score(measure, given)
        if isinstance(read, Score):
            return read
        return _with_compared(
            measure, read, checked_score(measure.metric, await measure.metric.measure_async(read, askers))
        )
    except DamagedRecord as error:
        return missing_score(error)
    except (StoreFailed, BudgetSpent, RuntimeFailure):
        raise
    except (Exception, SystemExit, BaseExceptionGroup) as error:
        return missing_score(error)


async def judge_pair(measure: Measure, given: MetricInput, baseline: MetricInput, askers: Clients) -> Score:
    """Return the score of an answer against the baseline's. Raises RuntimeFailure, StoreFailed, BudgetSpent alone."""
    try:
        ours, theirs = _one_of_a_pair(measure, given), _one_of_a_pair(measure, baseline)
        return checked_score(measure.metric, await measure.metric.measure_pair(ours, theirs, askers))
    except DamagedRecord as error:
        return missing_score(error)
    except (StoreFailed, BudgetSpent, RuntimeFailure):
        raise
    except (Exception, SystemExit, BaseExceptionGroup) as error:
        return missing_score(error)


def _one_of_a_pair(measure: Measure, given: MetricInput) -> MetricInput:
    """Return what a metric of pairs compares; an answer in which its `of` finds nothing counts as unparsed."""
    if given.cell.flag:
        return given
    try:
        return _with_compared_value(measure, given)
    except InputError:
        if _reads_row_alone(measure):
            raise
        return _unparsed(given)


def _unparsed(given: MetricInput) -> MetricInput:
    """Return an answer as one that does not parse."""
    return replace(given, got=None, cell=replace(given.cell, flag="unparsed"))


def _reads_row_alone(measure: Measure) -> bool:
    return measure.of is not None and "output" not in measure.of.names and not measure.of.statuses


def _reason(error: Exception) -> str:
    if isinstance(error, InputError):
        return "; ".join(problem.message for problem in error.problems)
    return error.message if isinstance(error, PromptkitError) else str(error)


def missing_score(error: BaseException) -> Score:
    """Return the missing score that a metric's exception leaves; of one that nothing foresaw with its type and place.

    A ValueError is foreseen: it says what is wrong with the row's data. Raises what ends the run: ctrl-C, cancelling.
    """
    if isinstance(error, ValueError):
        return Score(None, why=_reason(error))
    try:
        with catching_unexpected():
            raise error
    except UnexpectedError as unexpected:
        return Score(None, {DEFECT: unexpected.defect}, unexpected.message, unexpected)
    except PromptkitError as failure:
        return Score(None, why=_reason(failure))


def defects_of(outcome: Outcome, unscored: Iterable[Score]) -> set[str]:
    """Return the type and place of each exception that nothing foresaw in a cell and its missing scores."""
    found = {outcome.defect, *(str(score.detail.get(DEFECT, "")) for score in unscored)}
    return found - {""}


def checked_score(metric: Metric, score: Score) -> Score:
    """Return a score whose value is a number; NaN, infinity and what no float can hold are none.

    Raises what `metric` raises where the detail is not what its numbers are made of.
    """
    if score.value is None:
        return score
    try:
        is_number = isfinite(score.value)
    except OverflowError:
        return Score(None, why="the score is too large a number")
    if not is_number:
        return Score(None, score.detail, f"the score is {score.value}, which is no number")
    array("d", metric.numbers(score))
    return score


def scores_text(expect: Any, scores: Mapping[str, Score]) -> str:
    """Return the scores of a cell as the store keeps them."""
    told = {name: _score_parts(each) for name, each in scores.items()}
    return compact({"expect": plain(expect), "scores": told})


def score_text(score: Score, row: bytes) -> str:
    """Return one score as the store keeps it: `[value, detail, why, row]`, the row by its key.

    A metric sees the whole row, and the target may not: one answer of two rows can have two scores.
    """
    return compact([*_score_parts(score), row.hex()])


def read_kept_score(text: str | None, metric: Metric, row: bytes, where: str) -> Score | None:
    """Return a score that the store kept of an answer, None where it was given for another row.

    Raises DamagedRecord, also where `metric` cannot make its numbers of it.
    """
    kept = read_record(text, KeptScoreShape, where)
    with reading_record(where):
        return checked_score(metric, Score(kept.value, dict(kept.detail), kept.why)) if kept.row == row.hex() else None


def read_scores(cell: RunCell) -> tuple[Any, Scores]:
    """Return what was expected of a cell, and its scores, from what the store kept. Raises DamagedRecord."""
    where = f"run_cells {cell.variant} row {cell.row} repeat {cell.repeat}, `scores`"
    record = read_record(cell.scores, ScoresShape, where)
    return record["expect"], {
        name: Score(each.value, dict(each.detail), each.why) for name, each in record["scores"].items()
    }


def _score_parts(score: Score) -> list[Any]:
    return [score.value, plain(dict(score.detail)), score.why]


class CellScorer:
    """The measures of a suite but for those of pairs, which are scored when all cells are there.

    `keys` tell apart what slow measures have said, by their names; they are known once `open` has been called.
    """

    def __init__(self, measures: Sequence[Measure], models: Models, cells: Cells) -> None:
        self.keys: dict[str, str] = {}
        self._models = models
        self._judges = JudgeModels(models)
        self._cells = cells
        self._quick = [(at, each) for at, each in enumerate(measures) if not _is_slow(each)]
        self._slow = [(at, each) for at, each in enumerate(measures) if _is_slow(each) and not each.metric.pairs]

    @property
    def has_slow(self) -> bool:
        return bool(self._slow)

    async def open(self) -> None:
        """Open the models that judge. Raises what their absence raises."""
        for _, measure in self._slow:
            judge = await (await self._models.get(measure.metric.model)).model() if measure.metric.asks else None
            self.keys[measure.name] = f"{measure.key} {judge.digest}" if judge else measure.key

    def quick(self, outcome: Outcome, row: BoundRow, answer: AnswerType | None) -> Scores:
        """Return what the quick measures say of an answer; nothing of a missing one."""
        if outcome.flag == "error":
            return {}
        return {
            measure.name: measure_cell(measure, outcome, row.row.fields, row.expected[at], answer)
            for at, measure in self._quick
        }

    async def slow(self, outcome: Outcome, row: BoundRow, answer: AnswerType | None, known: Scores) -> Scores:
        """Return what the slow measures say; what is `known` is not made again. Raises StoreFailed and BudgetSpent."""
        found: Scores = {}
        for at, measure in self._slow:
            given = (measure, outcome, row.row.fields, row.expected[at], answer)
            if measure.name in known:
                found[measure.name] = known[measure.name]
            elif measure.metric.asks:
                found[measure.name] = await self._judges.score(partial(judge_cell, *given))
            else:
                found[measure.name] = await asyncio.to_thread(measure_cell, *given)
        return found

    def of_slow(self, scores: Scores) -> Scores:
        """Return those of a cell's scores that slow measures gave."""
        return {name: score for name, score in scores.items() if name in self.keys}

    def kept(self, numbers: Sequence[int]) -> dict[int, dict[str, str | None]]:
        """Return what slow measures have said of kept cells, as the store has it, by the cells' numbers."""
        found: dict[int, dict[str, str | None]] = {}
        for name, key in self.keys.items() if numbers else ():
            for number, text in self._cells.kept_scores(numbers, key).items():
                found.setdefault(number, {})[name] = text
        return found

    def kept_of(self, row: BoundRow, number: int, texts: Mapping[str, str | None]) -> Scores:
        """Return the scores that the store kept of a cell, as far as they were made for this very row.

        Damaged ones are left out, and made again.
        """
        found: Scores = {}
        for _, measure in self._slow:
            if measure.name in texts:
                where = f"scores of cell {number} by `{measure.name}`"
                with self._cells.damage.skipping():
                    score = read_kept_score(texts[measure.name], measure.metric, row.key, where)
                    found |= {measure.name: score} if score else {}
        return found


def _is_slow(measure: Measure) -> bool:
    return measure.metric.asks or measure.metric.costly or measure.metric.pairs


PAIRS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class CellPair:
    """A cell of a run with its outcome, and the baseline's of the same row and repeat."""

    row: BoundRow
    cell: RunCell
    outcome: Outcome
    baseline: Outcome


async def score_pairs(
    suite: Suite, contenders: Sequence[VariantRun], *, models: Models, store: Store, number: int
) -> None:
    """Score the cells of a run by the measures that need pairs, in the store and in the tallies. Raises StoreFailed."""
    measures = [(at, each) for at, each in enumerate(suite.measures) if each.metric.pairs]
    if not measures:
        return
    tallies = {each.variant.name: each.tally for each in contenders}
    answer = answer_type(suite.baseline.pipeline)
    judges = JudgeModels(models)

    async def score(pair: CellPair, at: int, measure: Measure) -> Score:
        row, expected = pair.row.row.fields, pair.row.expected[at]
        ours, theirs = (metric_input(measure, each, row, expected, answer) for each in (pair.outcome, pair.baseline))
        return await judges.score(partial(judge_pair, measure, ours, theirs))

    async def finish(pair: CellPair) -> CellRecord:
        cell, row = pair.cell, pair.row
        expect, scores = read_scores(cell)
        for at, measure in measures:
            scores[measure.name] = await score(pair, at, measure)
            tallies[cell.variant].score(measure.metric, row.index, cell.repeat, scores[measure.name])
        return CellRecord(
            variant=cell.variant,
            row=cell.row,
            repeat=cell.repeat,
            key=b"",
            row_key=row.key,
            fields=row.text,
            scores=scores_text(expect, scores),
            number=cell.number,
        )

    pairs = _cell_pairs(suite, store, number)
    while some := list(islice(pairs, PAIRS_AT_ONCE)):
        await store.cells.save(number, await asyncio.gather(*(finish(pair) for pair in some)))


def _readable(cells: Iterable[RunCell], store: Store) -> Iterator[tuple[RunCell, Outcome]]:
    """Yield the cells whose records are not damaged, with their outcomes."""
    for cell in cells:
        with store.damage.skipping():
            read_scores(cell)
            yield cell, read_outcome(cell, dict)


def _cell_pairs(suite: Suite, store: Store, number: int) -> Iterator[CellPair]:
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
                yield CellPair(row, cell, outcome, baseline)
