"""The failures of a candidate, from the results that a search has."""

from __future__ import annotations

import pytest

from promptkit.evaluation.error_analysis.groups import ErrorAnalysis
from promptkit.runtimes.base import Request
from promptkit.tuning.proposals.reflection import find_failures
from promptkit.tuning.search_space.candidate import Candidate
from tests.engine.helpers import Folder, said
from tests.evaluation.suites import Bench, echo, moods
from tests.tuning.evaluators import open_evaluator

START = Candidate()


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(8))


def kinds(errors: ErrorAnalysis) -> list[tuple[str, int]]:
    return [(group.kind, group.count) for group in errors.groups]


async def test_failures_are_parted_by_kind_and_pair(bench: Bench) -> None:
    def script(request: Request) -> str:
        return "perhaps" if "\nbad 2" in said(request) else echo(request)

    async with open_evaluator(bench, script) as opened:
        await opened.evaluator.evaluate([START], range(8))
        errors = find_failures(opened.evaluator, START, range(8))

    assert kinds(errors) == [("pair", 4), ("unparsed", 1)]
    assert (errors.groups[0].expected, errors.groups[0].got) == ("bad", "good")
    assert (errors.failed, errors.read) == (5, 8)


async def test_of_rows_that_were_not_asked_or_are_not_named_nothing_is_said(bench: Bench) -> None:
    async with open_evaluator(bench, echo) as opened:
        await opened.evaluator.evaluate([START], range(6))
        errors = find_failures(opened.evaluator, START, [1, 3, 7])

    assert {failure.cell.row for group in errors.groups for failure in group.rows} == {2, 4}
    assert (errors.failed, errors.read) == (2, 2)


async def test_where_less_is_better_much_is_a_failure(bench: Bench) -> None:
    suite = bench.suite("data: rows.jsonl\ntarget: mood\nmetrics: {distance: {edit: {}}}\n")
    async with open_evaluator(bench, echo, suite) as opened:
        await opened.evaluator.evaluate([START], range(8))
        scores = opened.evaluator.scores(START, range(8))
        errors = find_failures(opened.evaluator, START, range(8))

    failing = {failure.cell.row - 1 for group in errors.groups for failure in group.rows}
    assert failing <= {row for row in range(8) if scores[row] < 1}
    assert errors.failed == 4
