"""The scores of a cell: what each metric says of it, and what is said instead where a metric or its judge fails."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import replace
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
from promptkit.evaluation.binding import evaluate_of
from promptkit.evaluation.metrics import DEFECT, Answered, Given, Metric, Score
from promptkit.evaluation.outcome import Outcome
from promptkit.evaluation.suite import Measure
from promptkit.storage import KeptScoreShape, ScoresShape, compact, plain, read_kept, reading_record

if TYPE_CHECKING:
    from promptkit.answers import AnswerType
    from promptkit.evaluation.metrics import Askers
    from promptkit.storage import RunCell

Scores = dict[str, Score]
MOST_KEPT = 400
"""Characters of a compared value that are kept with its score, to be shown."""


def given_of(
    measure: Measure, outcome: Outcome, row: Mapping[str, Any], expected: Any, answer: AnswerType | None
) -> Given:
    """Return an answer with what is expected of it; what a metric's `of` reads of it is not yet read."""
    assert outcome.flag != "error", "a missing answer is not compared"
    steps = outcome.steps or {}
    cell = Answered(
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
    return Given(outcome.output, expected, cell)


def _got(measure: Measure, given: Given) -> Given:
    """Return what a metric compares, with what its `of` reads. Raises InputError where that finds nothing."""
    if measure.of is None:
        return given
    cell = given.cell
    return replace(given, got=evaluate_of(measure.of, cell.output, cell.row, cell.steps))


def _read(measure: Measure, given: Given) -> Given | Score:
    """Return what a metric compares or, where its `of` finds nothing, the score: wrong, as of what does not parse.

    Where `of` does not read the answer, nothing is said of it.
    """
    try:
        return _got(measure, given)
    except InputError as error:
        why = _why(error)
    if _reads_row_alone(measure):
        return Score(None, why=why)
    wrong = measure.metric.unanswered(_unparsed(given))
    return replace(wrong, detail={**wrong.detail, "flag": "unparsed"}, why=why)


def measure_cell(
    measure: Measure, outcome: Outcome, row: Mapping[str, Any], expected: Any, answer: AnswerType | None
) -> Score:
    """Return the score of a metric that asks nothing; a metric that fails gives a missing score that says why."""
    try:
        given = given_of(measure, outcome, row, expected, answer)
        if outcome.flag:
            return checked(measure.metric, measure.metric.unanswered(given))
        read = _read(measure, given)
        if isinstance(read, Score):
            return read
        return _with_compared(measure, read, checked(measure.metric, measure.metric.measure(read)))
    except (Exception, SystemExit) as error:
        return missing_score(error)


def _with_compared(measure: Measure, given: Given, score: Score) -> Score:
    """Return a score with what was compared, where that is not the output and what the suite expects of it."""
    told = {"got": _bounded(given.got)} if measure.of is not None else {}
    told |= {"expected": _bounded(given.expected)} if measure.expect is not None else {}
    return replace(score, detail={**told, **score.detail}) if told else score


def _bounded(value: Any) -> Any:
    """Return a value that is short as it is, else the beginning of it as text."""
    text = value if isinstance(value, str) else compact(plain(value))
    return value if len(text) <= MOST_KEPT else text[:MOST_KEPT] + "…"


async def judge_cell(
    measure: Measure,
    outcome: Outcome,
    row: Mapping[str, Any],
    expected: Any,
    answer: AnswerType | None,
    askers: Askers,
) -> Score:
    """Return the score of a metric that asks a model. Raises RuntimeFailure, StoreFailed and BudgetSpent alone."""
    if outcome.flag:
        return measure_cell(measure, outcome, row, expected, answer)
    try:
        given = given_of(measure, outcome, row, expected, answer)
        read = _read(measure, given)
        if isinstance(read, Score):
            return read
        return _with_compared(measure, read, checked(measure.metric, await measure.metric.judge(read, askers)))
    except DamagedRecord as error:
        return missing_score(error)
    except (StoreFailed, BudgetSpent, RuntimeFailure):
        raise
    except (Exception, SystemExit, BaseExceptionGroup) as error:
        return missing_score(error)


async def judge_pair(measure: Measure, given: Given, baseline: Given, askers: Askers) -> Score:
    """Return the score of an answer against the baseline's. Raises RuntimeFailure, StoreFailed, BudgetSpent alone."""
    try:
        ours, theirs = _one_of_a_pair(measure, given), _one_of_a_pair(measure, baseline)
        return checked(measure.metric, await measure.metric.judge_pair(ours, theirs, askers))
    except DamagedRecord as error:
        return missing_score(error)
    except (StoreFailed, BudgetSpent, RuntimeFailure):
        raise
    except (Exception, SystemExit, BaseExceptionGroup) as error:
        return missing_score(error)


def _one_of_a_pair(measure: Measure, given: Given) -> Given:
    """Return what a metric of pairs compares; an answer in which its `of` finds nothing counts as unparsed."""
    if given.cell.flag:
        return given
    try:
        return _got(measure, given)
    except InputError:
        if _reads_row_alone(measure):
            raise
        return _unparsed(given)


def _unparsed(given: Given) -> Given:
    """Return an answer as one that does not parse."""
    return replace(given, got=None, cell=replace(given.cell, flag="unparsed"))


def _reads_row_alone(measure: Measure) -> bool:
    return measure.of is not None and "output" not in measure.of.names and not measure.of.statuses


def _why(error: Exception) -> str:
    if isinstance(error, InputError):
        return "; ".join(problem.message for problem in error.problems)
    return error.message if isinstance(error, PromptkitError) else str(error)


def missing_score(error: BaseException) -> Score:
    """Return the missing score that a metric's exception leaves; of one that nothing foresaw with its type and place.

    A ValueError is foreseen: it says what is wrong with the row's data. Raises what ends the run: ctrl-C, cancelling.
    """
    if isinstance(error, ValueError):
        return Score(None, why=_why(error))
    try:
        with catching_unexpected():
            raise error
    except UnexpectedError as unexpected:
        return Score(None, {DEFECT: unexpected.defect}, unexpected.message, unexpected)
    except PromptkitError as failure:
        return Score(None, why=_why(failure))


def defects_of(outcome: Outcome, unscored: Iterable[Score]) -> set[str]:
    """Return the type and place of each exception that nothing foresaw in a cell and its missing scores."""
    found = {outcome.defect, *(str(score.detail.get(DEFECT, "")) for score in unscored)}
    return found - {""}


def checked(metric: Metric, score: Score) -> Score:
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
    told = {name: _told(each) for name, each in scores.items()}
    return compact({"expect": plain(expect), "scores": told})


def score_text(score: Score, row: bytes) -> str:
    """Return one score as the store keeps it: `[value, detail, why, row]`, the row by its key.

    A metric sees the whole row, and the target may not: one answer of two rows can have two scores.
    """
    return compact([*_told(score), row.hex()])


def read_kept_score(text: str | None, metric: Metric, row: bytes, where: str) -> Score | None:
    """Return a score that the store kept of an answer, None where it was given for another row.

    Raises DamagedRecord, also where `metric` cannot make its numbers of it.
    """
    kept = read_kept(text, KeptScoreShape, where)
    with reading_record(where):
        return checked(metric, Score(kept.value, dict(kept.detail), kept.why)) if kept.row == row.hex() else None


def read_scores(cell: RunCell) -> tuple[Any, Scores]:
    """Return what was expected of a cell, and its scores, from what the store kept. Raises DamagedRecord."""
    where = f"run_cells {cell.variant} row {cell.row} repeat {cell.repeat}, `scores`"
    record = read_kept(cell.scores, ScoresShape, where)
    return record["expect"], {
        name: Score(each.value, dict(each.detail), each.why) for name, each in record["scores"].items()
    }


def _told(score: Score) -> list[Any]:
    return [score.value, plain(dict(score.detail)), score.why]
