"""Scores of cells: by quick metrics, by slow ones (judges, programs), and by metrics that compare with the baseline."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from math import isfinite
from typing import Any

from promptkit.answers.base import AnswerType
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
from promptkit.evaluation.cells.cell import Cell, cell_record, read_cell
from promptkit.evaluation.cells.failures import JudgeModels
from promptkit.evaluation.cells.progress import VariantRun
from promptkit.evaluation.metrics.base import Clients, Metric, MetricInput
from promptkit.evaluation.metrics.score import DEFECT, Score
from promptkit.evaluation.suite.binding import Binder, evaluate_of
from promptkit.evaluation.suite.suite import Measure, Suite, answer_type
from promptkit.runtimes.models import Models
from promptkit.storage.cells import CellRecord, Cells, RunCell
from promptkit.storage.records import read_record, reading_record
from promptkit.storage.shapes import KeptScoreShape
from promptkit.storage.store import Store
from promptkit.storage.strict_json import compact, plain

Scores = dict[str, Score]
MOST_COMPARED_CHARACTERS = 400
"""Characters of a compared value that are kept with its score, to be shown."""

PAIRS_AT_ONCE = 32


class CellScorer:
    """Scores cells by a suite's metrics, but for those of pairs, which need the cells of the whole run.

    `keys` tells apart the scores of slow metrics, by their names; they are known once `open` has been called.
    """

    def __init__(self, measures: Sequence[Measure], models: Models, cells: Cells) -> None:
        self.keys: dict[str, str] = {}
        self._models = models
        self._judges = JudgeModels(models)
        self._cells = cells
        self._quick = [(at, measure) for at, measure in enumerate(measures) if not _is_slow(measure)]
        self._slow = [
            (at, measure) for at, measure in enumerate(measures) if _is_slow(measure) and not measure.metric.pairs
        ]

    @property
    def has_slow(self) -> bool:
        return bool(self._slow)

    async def open(self) -> None:
        """Open the models that judge. Raises RuntimeFailure where one is not there."""
        for _, measure in self._slow:
            judge = await (await self._models.get(measure.metric.model)).model() if measure.metric.asks else None
            self.keys[measure.name] = f"{measure.key} {judge.digest}" if judge else measure.key

    def quick(self, cell: Cell, answer: AnswerType | None) -> Scores:
        """Return the scores of the quick metrics; a missing answer has none."""
        if cell.flag == "error":
            return {}
        expected = cell.bound.expected
        return {measure.name: measure_cell(measure, cell, expected[at], answer) for at, measure in self._quick}

    async def slow(self, cell: Cell, answer: AnswerType | None) -> Scores:
        """Return the scores of the slow metrics; those that are kept are not made again.

        Raises StoreFailed and BudgetSpent.
        """
        scores: Scores = {}
        for at, measure in self._slow:
            score = partial(_slow_score, self._judges, measure, cell, cell.bound.expected[at], answer)
            kept = cell.kept_scores.get(measure.name)
            scores[measure.name] = await score() if kept is None else kept
        return scores

    def of_slow(self, scores: Mapping[str, Score]) -> Scores:
        """Return the scores of slow metrics among a cell's scores."""
        return {name: score for name, score in scores.items() if name in self.keys}

    def kept(self, numbers: Sequence[int]) -> dict[int, dict[str, str | None]]:
        """Return the scores that the store keeps for slow metrics, by the cells' numbers."""
        kept: dict[int, dict[str, str | None]] = {}
        for name, key in self.keys.items() if numbers else ():
            for number, text in self._cells.kept_scores(numbers, key).items():
                kept.setdefault(number, {})[name] = text
        return kept

    def kept_of(self, cell: Cell, texts: Mapping[str, str | None]) -> Scores:
        """Return the kept scores of a cell, as far as they were made for this very row.

        Damaged ones are left out, and made again.
        """
        scores: Scores = {}
        for _, measure in self._slow:
            if measure.name in texts:
                where = f"scores of cell {cell.number} by `{measure.name}`"
                with self._cells.damage.skipping():
                    score = read_kept_score(texts[measure.name], measure.metric, cell.bound.key, where)
                    scores |= {measure.name: score} if score else {}
        return scores


def _is_slow(measure: Measure) -> bool:
    return measure.metric.asks or measure.metric.costly or measure.metric.pairs


async def _slow_score(
    judges: JudgeModels, measure: Measure, cell: Cell, expected: Any, answer: AnswerType | None
) -> Score:
    if measure.metric.asks:
        return await judges.score(partial(judge_cell, measure, cell, expected, answer))
    return await asyncio.to_thread(measure_cell, measure, cell, expected, answer)


def metric_input(measure: Measure, cell: Cell, expected: Any, answer: AnswerType | None) -> MetricInput:
    """Return the output of a cell with its expected answer; a metric's `of` is not read yet."""
    assert cell.flag != "error", "a missing answer is not compared"
    inputs = None if cell.source is None else cell.source.inputs[cell.place]
    return MetricInput(cell.output, expected, cell, answer if measure.of is None else None, inputs)


def measure_cell(measure: Measure, cell: Cell, expected: Any, answer: AnswerType | None) -> Score:
    """Return the score of a metric that asks nothing; a metric that fails gives a missing score that says why."""
    try:
        given = metric_input(measure, cell, expected, answer)
        if cell.flag:
            return checked_score(measure.metric, measure.metric.unanswered(given))
        read = _input_or_score(measure, given)
        if isinstance(read, Score):
            return read
        return _with_compared(measure, read, checked_score(measure.metric, measure.metric.measure(read)))
    except (Exception, SystemExit) as error:
        return missing_score(error)


async def judge_cell(measure: Measure, cell: Cell, expected: Any, answer: AnswerType | None, clients: Clients) -> Score:
    """Return the score of a metric that asks a model. Raises RuntimeFailure, StoreFailed or BudgetSpent."""
    if cell.flag:
        return measure_cell(measure, cell, expected, answer)
    try:
        read = _input_or_score(measure, metric_input(measure, cell, expected, answer))
        if isinstance(read, Score):
            return read
        return _with_compared(
            measure, read, checked_score(measure.metric, await measure.metric.measure_async(read, clients))
        )
    except DamagedRecord as error:
        return missing_score(error)
    except (StoreFailed, BudgetSpent, RuntimeFailure):
        raise
    except (Exception, SystemExit, BaseExceptionGroup) as error:
        return missing_score(error)


async def judge_pair(measure: Measure, given: MetricInput, baseline: MetricInput, clients: Clients) -> Score:
    """Return the score of an answer against the baseline's. Raises RuntimeFailure, StoreFailed or BudgetSpent."""
    try:
        ours, theirs = _one_of_a_pair(measure, given), _one_of_a_pair(measure, baseline)
        return checked_score(measure.metric, await measure.metric.measure_pair(ours, theirs, clients))
    except DamagedRecord as error:
        return missing_score(error)
    except (StoreFailed, BudgetSpent, RuntimeFailure):
        raise
    except (Exception, SystemExit, BaseExceptionGroup) as error:
        return missing_score(error)


def _input_or_score(measure: Measure, given: MetricInput) -> MetricInput | Score:
    """Return a metric's input; where its `of` finds nothing, the score of an answer that does not parse.

    Where `of` does not read the answer, the score is missing.
    """
    try:
        return _with_compared_value(measure, given)
    except InputError as error:
        why = _reason(error)
    if _reads_row_alone(measure):
        return Score(None, why=why)
    wrong = measure.metric.unanswered(_unparsed(given))
    return replace(wrong, detail={**wrong.detail, "flag": "unparsed"}, why=why)


def _with_compared_value(measure: Measure, given: MetricInput) -> MetricInput:
    """Return a metric's input with the value that its `of` reads. Raises InputError where that finds nothing."""
    if measure.of is None:
        return given
    cell = given.cell
    return replace(given, got=evaluate_of(measure.of, cell.output, cell.fields, cell.steps))


def _one_of_a_pair(measure: Measure, given: MetricInput) -> MetricInput:
    """Return the input of a metric of pairs; an answer in which its `of` finds nothing counts as unparsed."""
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


def _with_compared(measure: Measure, given: MetricInput, score: Score) -> Score:
    """Return a score with the values that were compared, where they are not the output and the suite's `expect`."""
    compared = {"got": _shortened(given.got)} if measure.of is not None else {}
    compared |= {"expected": _shortened(given.expected)} if measure.expect is not None else {}
    return replace(score, detail={**compared, **score.detail}) if compared else score


def _shortened(value: Any) -> Any:
    """Return a value that is short as it is, else the beginning of it as text."""
    text = value if isinstance(value, str) else compact(plain(value))
    return value if len(text) <= MOST_COMPARED_CHARACTERS else text[:MOST_COMPARED_CHARACTERS] + "…"


def checked_score(metric: Metric, score: Score) -> Score:
    """Return a score, or a missing one where its value is NaN, infinite, or too large for a float.

    Raises the metric's exception where it cannot make its numbers of the detail.
    """
    if score.value is None:
        return score
    try:
        is_number = isfinite(score.value)
    except OverflowError:
        return Score(None, why="the score is too large a number")
    if not is_number:
        return Score(None, score.detail, f"the score is {score.value}, which is not a number")
    array("d", metric.numbers(score))
    return score


def missing_score(error: BaseException) -> Score:
    """Return the missing score that a metric's exception leaves; an unforeseen one is kept with its type and place.

    A ValueError is foreseen: its text is about the row's data. Exceptions that end the run (ctrl-C) are raised.
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


def _reason(error: Exception) -> str:
    if isinstance(error, InputError):
        return "; ".join(problem.message for problem in error.problems)
    return error.message if isinstance(error, PromptkitError) else str(error)


def defects_of(defect: str, unscored: Iterable[Score]) -> set[str]:
    """Return the type and place of each unforeseen exception in a cell and its missing scores."""
    return {defect, *(str(score.detail.get(DEFECT, "")) for score in unscored)} - {""}


def read_kept_score(text: str | None, metric: Metric, row: bytes, where: str) -> Score | None:
    """Return a score that the store keeps for an answer, None where it was given for another row.

    Raises DamagedRecord, also where `metric` cannot make its numbers of it.
    """
    kept = read_record(text, KeptScoreShape, where)
    with reading_record(where):
        return checked_score(metric, Score(kept.value, dict(kept.detail), kept.why)) if kept.row == row.hex() else None


async def score_pairs(
    suite: Suite, variants: Sequence[VariantRun], *, models: Models, store: Store, number: int
) -> None:
    """Score a run's cells by the metrics of pairs: each answer with the baseline's of the same row and repeat.

    The scores go into the store and the tallies. Raises StoreFailed.
    """
    measures = [(at, measure) for at, measure in enumerate(suite.measures) if measure.metric.pairs]
    if not measures:
        return
    tallies = {run.variant.name: run.tally for run in variants}
    answer = answer_type(suite.baseline.pipeline)
    judges = JudgeModels(models)

    async def finish(cell: Cell, baseline: Cell) -> CellRecord:
        scores = dict(cell.scores)
        for at, measure in measures:
            ours, theirs = (metric_input(measure, one, cell.bound.expected[at], answer) for one in (cell, baseline))
            scores[measure.name] = score = await judges.score(partial(judge_pair, measure, ours, theirs))
            tallies[cell.variant].score(measure.metric, cell.bound.index, cell.repeat, score)
        cell.scores = scores
        return cell_record(cell)

    pairs = _cell_pairs(suite, store, number)
    while some := list(islice(pairs, PAIRS_AT_ONCE)):
        await store.cells.save(number, await asyncio.gather(*(finish(*pair) for pair in some)))


def _cell_pairs(suite: Suite, store: Store, number: int) -> Iterator[tuple[Cell, Cell]]:
    """Yield each answered cell with the baseline's, where that is answered too; a baseline's own with itself."""
    binder = Binder(suite)
    rows = (binder.bind(row, index) for index, row in enumerate(suite.data.rows()))
    for place, group in groupby(store.cells.of_run(number), key=lambda kept: kept.row):
        row = next(bound for bound in rows if bound.row.number == place)
        cells = list(_readable(group, store, row.row.fields))
        for cell in cells:
            cell.source = row
        baselines = {cell.repeat: cell for cell in cells if cell.variant == suite.baseline.name}
        for cell in cells:
            baseline = baselines.get(cell.repeat)
            if baseline is not None and "error" not in (cell.flag, baseline.flag):
                yield cell, baseline


def _readable(cells: Iterable[RunCell], store: Store, fields: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield the cells whose records are not damaged."""
    for kept in cells:
        with store.damage.skipping():
            cell = read_cell(kept, fields)
            yield cell
