"""Tool calls of a suite's cells, of new ones and of kept ones."""

from __future__ import annotations

import pytest

from promptkit.evaluation.suite.binding import row_problems
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench

TOOLS = """
def book(day: str):
    return f"booked {day}"
"""
PIPELINE = """
name: visit
inputs: {day: {}}
tools: {book: "tools.py:book"}
steps: {booked: {tool: book, with: {day: "{{ day }}"}}}
"""
SUITE = """
data: rows.jsonl
target: visit
inputs: {day: "{{ row.day }}"}
expect: "{{ row.calls }}"
metrics:
  calls: tool_calls
  names: {exact: {of: "{{ tool_calls | map(attribute='name') }}", expect: [book]}}
"""
ROWS = [
    {"day": "Friday", "calls": [{"name": "book", "arguments": {"day": "Friday"}}]},
    {"day": "Friday", "calls": [{"name": "book", "arguments": {"day": "Monday"}}]},
]


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("pipelines/tools.py", TOOLS)
    folder.write("pipelines/visit.yaml", PIPELINE)
    return Bench(folder, ROWS)


async def test_a_cell_is_scored_by_the_calls_of_its_trace(bench: Bench) -> None:
    ran = await bench.run(SUITE)
    assert (ran.metric("calls")["mean"], ran.metric("names")["mean"]) == (0.5, 1.0)
    assert ran.metric("calls")["parts"]["precision"]["mean"] == 0.5
    wrong = list(ran.view.cells())[1].scores["calls"].detail
    assert wrong["missing"] == ['book(day="Monday")'] and wrong["extra"] == ['book(day="Friday")']


async def test_kept_cells_have_their_calls_still(bench: Bench) -> None:
    await bench.run(SUITE)
    again = await bench.run(SUITE)
    assert again.record["known"] == 2 and again.metric("calls")["mean"] == 0.5


def test_an_expected_value_that_is_no_list_of_calls_is_a_problem_of_its_row(bench: Bench) -> None:
    bench.rows([{"day": "Friday", "calls": "book"}])
    (problem,) = row_problems(bench.suite(SUITE))
    assert "`calls`" in problem.message and "not JSON" in problem.message
