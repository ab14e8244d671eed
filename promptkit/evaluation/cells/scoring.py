"""Scores of cells: by quick metrics, by slow ones (judges, programs), and by metrics that compare with the baseline."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from promptkit.evaluation.cells.cell import Cell, score_text
from promptkit.evaluation.cells.changed_files import ChangedFiles
from promptkit.evaluation.cells.failures import JudgeModels
from promptkit.evaluation.cells.turns import turns_to_score
from promptkit.evaluation.metrics.base import Clients, Metric, MetricInput
from promptkit.evaluation.metrics.score import DEFECT, Score, not_applicable
from promptkit.evaluation.metrics.turns import EachTurn
from promptkit.evaluation.suite.binding import evaluate_of
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.project_code.file_reads import collecting_reads
from promptkit.runtimes.models import Models
from promptkit.storage.cells import Cells
from promptkit.storage.hashes import content_key
from promptkit.storage.records import read_record, reading_record
from promptkit.storage.shapes import KeptScoreShape
from promptkit.storage.strict_json import compact, json_bytes, plain

Scores = dict[str, Score]
MOST_COMPARED_CHARACTERS = 400
"""Characters of a compared value that are kept with its score, to be shown."""


class CellScorer:
    """Scores cells by a suite's metrics, but for those of pairs, which need the cells of the whole run.

    `keys` tells apart the scores of slow metrics, by their names; they are known once `open` has been called.
    """

    def __init__(self, suite: Suite, models: Models, cells: Cells, changed_files: ChangedFiles) -> None:
        measures = suite.measures
        self.keys: dict[str, str] = {}
        self._measures = measures
        self._root = suite.project.root
        self._changed_files = changed_files
        self._models = models
        self._judges = JudgeModels(models)
        self._cells = cells
        self._metrics = {measure.name: measure.metric for measure in measures}
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
            asked = measure.metric.models if measure.metric.asks else ()
            digests = [(await (await self._models.get(model)).model()).digest for model in asked]
            self.keys[measure.name] = " ".join([measure.key, *digests])

    def quick(self, cell: Cell, answer: AnswerType | None) -> Scores:
        """Return the scores of the quick metrics, and of all that do not apply to the row.

        A missing answer has no others.
        """
        bound = cell.bound
        scores = {self._measures[at].name: not_applicable(why) for at, why in bound.exempt.items()}
        if cell.flag != "error":
            scores |= {
                measure.name: measure_cell(measure, cell, bound.expected[at], answer)
                for at, measure in self._quick
                if at not in bound.exempt
            }
        return scores

    async def slow(self, cell: Cell, answer: AnswerType | None) -> Scores:
        """Return the scores of the slow metrics; those that are kept are not made again.

        Raises StoreFailed and BudgetSpent.
        """
        scores: Scores = {}
        for at, measure in self._slow:
            if at in cell.bound.exempt:
                continue
            expected = cell.bound.expected[at]
            score = cell.kept_scores.get(measure.name)
            if score is None:
                with collecting_reads() as reads:
                    score = await _slow_score(self._judges, measure, cell, expected, answer)
                score = replace(score, reads=reads.record(self._root)) if reads.digests else score
            scores[measure.name] = _labelled(measure, cell, expected, answer, score)
        return scores

    def row_key(self, name: str, cell: Cell) -> bytes:
        """Return the key of all that the slow metric of that name reads of a cell's row."""
        at, measure = next(found for found in self._slow if found[1].name == name)
        if measure.metric.reads_row or (measure.of is not None and "row" in measure.of.names):
            return cell.bound.key
        return content_key(json_bytes(cell.bound.expected[at], sort_keys=True, allow_nan=True))

    def of_slow(self, scores: Mapping[str, Score]) -> Scores:
        """Return the scores of slow metrics among a cell's scores."""
        return {name: score for name, score in scores.items() if name in self.keys}

    def kept_text(self, name: str, cell: Cell) -> str:
        """Return a cell's score by a slow metric as the store keeps it for other runs."""
        return score_text(self._metrics[name].without_label(cell.scores[name]), self.row_key(name, cell))

    def kept(self, numbers: Sequence[int]) -> dict[int, dict[str, str | None]]:
        """Return the scores that the store keeps for slow metrics, by the cells' numbers."""
        kept: dict[int, dict[str, str | None]] = {}
        for name, key in self.keys.items() if numbers else ():
            for number, text in self._cells.kept_scores(numbers, key).items():
                kept.setdefault(number, {})[name] = text
        return kept

    def kept_of(self, cell: Cell, texts: Mapping[str, str | None]) -> Scores:
        """Return the kept scores of a cell, as far as they were made for this very row and of files as they are now.

        Damaged ones are left out, and made again.
        """
        scores: Scores = {}
        for _, measure in self._slow:
            if measure.name in texts:
                where = f"scores of cell {cell.number} by `{measure.name}`"
                with self._cells.damage.skipping():
                    rows = (self.row_key(measure.name, cell), cell.bound.key)
                    score = read_kept_score(texts[measure.name], measure.metric, rows, where)
                    if score and not self._changed_files.has_stale_score(score.reads, measure.name):
                        scores[measure.name] = score
        return scores


def _is_slow(measure: Measure) -> bool:
    return measure.metric.asks or measure.metric.costly or measure.metric.pairs


async def _slow_score(
    judges: JudgeModels, measure: Measure, cell: Cell, expected: Any, answer: AnswerType | None
) -> Score:
    if measure.metric.asks:
        return await judges.score(partial(judge_cell, measure, cell, expected, answer))
    return await asyncio.to_thread(measure_cell, measure, cell, expected, answer)


def _labelled(measure: Measure, cell: Cell, expected: Any, answer: AnswerType | None, score: Score) -> Score:
    """Return a score with a person's label of the answer; one whose label cannot be read is missing."""
    if score.value is None:
        return score
    try:
        given = metric_input(measure, cell, expected, answer)
        read = given if cell.flag else _input_or_score(measure, given)
        return measure.metric.with_label(score, _unparsed(given) if isinstance(read, Score) else read)
    except (Exception, SystemExit) as error:
        return missing_score(error)


def metric_input(measure: Measure, cell: Cell, expected: Any, answer: AnswerType | None) -> MetricInput:
    """Return the output of a cell with its expected answer; a metric's `of` is not read yet."""
    assert cell.flag != "error", "a missing answer is not compared"
    inputs = None if cell.source is None else cell.source.inputs[cell.place]
    return MetricInput(cell.output, expected, cell, answer if measure.of is None else None, inputs)


def measure_cell(measure: Measure, cell: Cell, expected: Any, answer: AnswerType | None) -> Score:
    """Return the score of a metric that asks nothing; a metric that fails gives a missing score that says why."""
    try:
        if measure.turn is not None and _has_turns_to_score(measure, cell):
            scores = {
                _number(turn): _compared_turn(measure.turn, turn, measure_cell(measure.turn, turn, wanted, answer))
                for turn, wanted in turns_to_score(measure.turn, cell)
            }
            return _score_of_turns(measure, scores)
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
        if measure.turn is not None:
            scores: dict[int, Score] = {}
            for turn, wanted in turns_to_score(measure.turn, cell):
                score = await judge_cell(measure.turn, turn, wanted, answer, clients)
                scores[_number(turn)] = _compared_turn(measure.turn, turn, score)
            return _score_of_turns(measure, scores)
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


def _has_turns_to_score(measure: Measure, cell: Cell) -> bool:
    """Tell whether the turns of a conversation are scored: one that broke off is wrong, but its cost is measured."""
    return not cell.flag or measure.metric.bounds is None


def _number(turn: Cell) -> int:
    assert turn.turn is not None, "the cell of a turn has its record"
    return int(turn.turn["number"])


def _compared_turn(measure: Measure, turn: Cell, score: Score) -> Score:
    """Return the score of a turn with the values that were compared."""
    compares = turn.expect is not None and (measure.metric.needs_expected or measure.expect is not None)
    expected = {"expected": _shortened(turn.expect)} if compares else {}
    return replace(score, detail={"got": _shortened(turn.output), **expected, **score.detail})


def _score_of_turns(measure: Measure, scores: Mapping[int, Score]) -> Score:
    assert isinstance(measure.metric, EachTurn), "a measure with a turn has the metric of each"
    return checked_score(measure.metric, measure.metric.score(scores))


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
    return replace(given, got=evaluate_of(measure.of, given.cell))


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
    return measure.of is not None and not measure.of.names & {"output", "tool_calls"} and not measure.of.statuses


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


def read_kept_score(text: str | None, metric: Metric, rows: Sequence[bytes], where: str) -> Score | None:
    """Return a score that the store keeps for an answer, None where it was given for a row of another key.

    Raises DamagedRecord, also where `metric` cannot make its numbers of it.
    """
    kept = read_record(text, KeptScoreShape, where)
    with reading_record(where):
        score = Score(kept.value, dict(kept.detail), kept.why, reads=kept.reads or {})
        return checked_score(metric, score) if bytes.fromhex(kept.row) in rows else None
