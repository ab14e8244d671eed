"""Metrics that are for some rows: `when:`, and functions that return None. Not applicable is not missing."""

from __future__ import annotations

import csv
import io

import pytest

from promptkit.errors import RequestRefused
from promptkit.evaluation.comparison.compare import compare_runs
from promptkit.evaluation.comparison.run_rows import run_rows
from promptkit.evaluation.error_analysis.groups import find_errors
from promptkit.evaluation.suite.binding import row_problems
from promptkit.reports.evaluation.failing_rows import find_failing_rows
from promptkit.reports.export import csv_parts, junit_parts
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, echo, number_of

SOME = SUITE.replace("{accuracy: label}", "{accuracy: {label: {when: \"{{ row.kind == 'mood' }}\"}}, format: format}")
ROWS = [
    {"text": "good 0", "expect": "good", "kind": "mood"},
    {"text": "bad 1", "expect": "good", "kind": "mood"},
    {"text": "good 2", "kind": "other"},
    {"text": "bad 3", "kind": "other"},
]
NOTE = "on 2 of 4 answers; it does not apply to the others"


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, ROWS)


async def test_a_metric_counts_only_the_rows_for_which_its_when_holds(bench: Bench) -> None:
    ran = await bench.run(SOME)

    assert ran.record["status"] == "done"
    found = ran.metric()
    assert (found["mean"], found["n"], found["exempt"], found["unscored"]) == (0.5, 2, 2, 0)
    assert NOTE in found["notes"]
    assert ran.metric("format")["n"] == 4 and "exempt" not in ran.metric("format")


async def test_a_row_for_which_a_metric_is_not_needs_no_expected_answer(bench: Bench) -> None:
    assert not row_problems(bench.suite(SOME))
    (problem,) = row_problems(bench.suite(SUITE))
    assert problem.hint is not None and "`when: row.expect is defined` in the metric" in problem.hint
    (problem,) = row_problems(bench.suite(f"{SUITE}expect: \"{{{{ row.get('expect') }}}}\"\n"))
    assert problem.hint == "`when` in the metric leaves out rows without one"


@pytest.mark.parametrize("when", ["row.expect is defined", "{{ row.kind == 'mood' }}"])
async def test_the_braces_of_when_are_optional(bench: Bench, when: str) -> None:
    ran = await bench.run(SOME.replace("{{ row.kind == 'mood' }}", when))

    assert ran.metric()["exempt"] == 2


def test_a_when_that_is_neither_true_nor_false_is_an_error_of_the_data(bench: Bench) -> None:
    problem, _ = row_problems(bench.suite(SOME.replace("{{ row.kind == 'mood' }}", "row.kind")))

    assert '`when` of `accuracy` gave "mood", not true or false' in problem.message
    assert problem.file is not None and problem.file.endswith("rows.jsonl") and problem.line == 1


def test_when_reads_the_row_alone(bench: Bench) -> None:
    (problem,) = bench.problems(SOME.replace("row.kind", "output"))

    assert "unknown name `output`" in problem.message


async def test_a_row_without_an_answer_is_not_missed_by_a_metric_that_is_not_for_it(bench: Bench) -> None:
    def failing(request: Request) -> str:
        if number_of(request) == 3:
            raise RequestRefused("no")
        return echo(request)

    ran = await bench.run(SOME, failing)

    assert ran.flags == ["", "", "", "error"]
    assert (ran.metric()["n"], ran.metric()["exempt"], ran.metric("format")["n"]) == (2, 2, 3)


async def test_none_from_a_function_says_that_it_does_not_apply_and_is_kept(bench: Bench) -> None:
    bench.folder.write("evals/own.py", "def score(output):\n    return None if output == 'bad' else 1\n")
    suite = SUITE.replace("accuracy: label", "own: {python: 'own.py:score'}")
    first, again = await bench.run(suite), await bench.run(suite)

    for ran in (first, again):
        assert ran.record["status"] == "done"
        assert (ran.metric("own")["mean"], ran.metric("own")["exempt"]) == (1.0, 2)
    whys = {cell.scores["own"].why for cell in again.view.cells() if not cell.scores["own"].applies}
    assert whys == {"the function returned None"}


async def test_variants_are_compared_on_the_answers_to_which_a_metric_applies_in_both(bench: Bench) -> None:
    bench.folder.write("evals/own.py", "def score(output):\n    return None if output == 'bad' else 1\n")
    suite = SUITE.replace("accuracy: label", "own: {python: 'own.py:score'}")
    suite += "variants: {a: {}, b: {mood.layout: prefix}}\n"

    def once_bad(request: Request) -> str:
        return "bad" if "<INPUT>" in request.messages[-1].content and number_of(request) == 0 else "good"

    ran = await bench.run(suite, once_bad)

    (compared,) = ran.record["comparisons"]
    assert "compared on the 3 answers to which it applies in both" in compared["notes"]


async def test_no_report_takes_a_row_that_a_metric_is_not_for_as_wrong_or_missing(bench: Bench) -> None:
    ran = await bench.run(SOME)
    record = ran.evaluated.record

    assert [row.cell.row for row in find_failing_rows(ran.view, record)] == [2]
    assert find_errors(ran.view, record).failed == 1
    scores = [line["score.accuracy"] for line in csv.DictReader(io.StringIO("".join(csv_parts(ran.view, None))))]
    assert scores == ["1.0", "0.0", "", ""]
    junit = "".join(junit_parts(ran.view, record, "baseline"))
    assert junit.count("<skipped/>") == 2 and 'failures="1" errors="0" skipped="2"' in junit


async def test_a_threshold_is_on_the_rows_that_a_metric_is_for(bench: Bench) -> None:
    rows = [{"text": f"good {at}", "expect": "good", "kind": "mood"} for at in range(30)]
    bench.rows([*rows, *ROWS[2:]])
    bounds = "thresholds: {accuracy: {at_least: 0.8, per_case: 1}}\n"
    ran = await bench.run(SOME + bounds)

    assert [found["passed"] for found in ran.record["thresholds"]] == [True, True]


async def test_runs_are_compared_on_the_rows_of_both_that_a_metric_is_for(bench: Bench) -> None:
    bench.rows([*ROWS, {"text": "good 9", "expect": "good", "kind": "mood"}])
    before = await bench.run(SOME)
    bench.rows([*ROWS, *({"text": f"bad {number}", "kind": "other"} for number in range(10, 20))])
    after = await bench.run(SOME)
    sides = (run_rows(after.view, "baseline", "after"), run_rows(before.view, "baseline", "before"))
    found = compare_runs(*sides, bench.folder.project)

    assert (found.rows.both, found.rows.new, found.rows.gone) == (4, 10, 1)
    compared = found.metrics["accuracy"]
    assert compared.missing == 0 and compared.difference is not None and compared.difference.n == 2


JUDGED = """
data: rows.jsonl
target: mood
metrics:
  checks: assert
  faithful: {judge: {rubric: Does it follow?, levels: [bad, good], question: text, when: row.context is defined}}
  better: {pairwise: {rubric: Which follows?, question: text, when: row.context is defined}}
variants: {a: {}, b: {mood.layout: prefix}}
"""


async def test_a_judge_is_asked_only_of_the_rows_that_its_metric_is_for(bench: Bench) -> None:
    bench.rows([{"text": "good 0", "context": "c", "assert": [{"contains": "good"}]}, {"text": "bad 1"}])

    def reply(request: Request) -> str:
        return "good" if "Does it follow?" in request.messages[-1].content else echo(request)

    plain = Scripted(reply, capabilities=CAPABILITIES - {"logprobs", "grammar", "schema"})
    ran = await bench.run(JUDGED, plain)

    judged = [request for request in ran.runtime.requests if "follow" in request.messages[-1].content]
    assert judged and not any("bad 1" in request.messages[-1].content for request in judged)
    for name in ("checks", "faithful", "better"):
        assert (ran.metric(name)["exempt"], ran.metric(name, "b")["exempt"]) == (1, 1)
    assert ran.metric("faithful")["mean"] == 1


async def test_main_effects_leave_out_the_answers_that_a_metric_is_not_for(bench: Bench) -> None:
    rows = [{"text": f"good {at}", "expect": "good", "kind": "mood" if at < 20 else "other"} for at in range(24)]
    bench.rows(rows)
    matrix = "matrix: {mood.layout: [markdown, prefix], mood.about: [x, y]}\n"
    ran = await bench.run(SOME + matrix)

    effects = [found for found in ran.record["main_effects"] if found["metric"] == "accuracy"]
    assert [found["n"] for found in effects] == [20, 20]
