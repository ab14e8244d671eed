"""Rows of two runs are paired by their inputs and expected answer, and a threshold asks for most of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.evaluation.comparison.baseline import baseline_lines, read_baseline
from promptkit.evaluation.comparison.compare import Comparison, compare_runs
from promptkit.evaluation.comparison.run_rows import run_rows
from tests.engine.helpers import Folder
from tests.evaluation.suites import PIPELINE, PROMPT, SUITE, Bench, Ran, moods

GATED = SUITE + "thresholds: {accuracy: {against: base.json, drop_at_most: 0.3}}\n"


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(40))


def keep(bench: Bench, ran: Ran) -> Path:
    path = bench.folder.root / "evals/base.json"
    path.write_text("".join(baseline_lines(ran.view)), "utf-8")
    return path


def between(bench: Bench, a: Ran, b: Ran) -> Comparison:
    return compare_runs(run_rows(a.view, "baseline", "a"), run_rows(b.view, "baseline", "b"), bench.folder.project)


def gate(ran: Ran) -> Mapping[str, Any]:
    (found,) = ran.record["thresholds"]
    return found  # type: ignore[no-any-return]


async def test_a_column_that_nothing_reads_makes_no_new_rows(bench: Bench) -> None:
    keep(bench, await bench.run())
    bench.rows([{**row, "note": number} for number, row in enumerate(moods(40))])
    ran = await bench.run(GATED)

    assert gate(ran)["passed"] is True
    assert "none of 40 rows is worse" in gate(ran)["says"]


async def test_a_new_input_with_a_default_makes_no_new_rows(bench: Bench) -> None:
    one = await bench.run()
    bench.folder.write("templates/prompts/mood.j2", PROMPT.replace("text: {}", "text: {}, tone: {default: plain}"))
    bench.folder.write(
        "pipelines/mood.yaml", PIPELINE.replace("text: {example: fine}", "text: {}, tone: {default: plain}")
    )
    bench.rows([{**row, "note": number} for number, row in enumerate(moods(40))])

    assert between(bench, await bench.run(), one).rows.both == 40


async def test_another_expected_answer_is_another_case(bench: Bench) -> None:
    one = await bench.run()
    bench.rows([{**row, "expect": "good"} if number < 3 else row for number, row in enumerate(moods(40))])
    found = between(bench, await bench.run(), one)

    assert (found.rows.both, found.rows.new, found.rows.gone) == (37, 3, 3)


async def test_rows_whose_inputs_are_bound_otherwise_pair_by_their_content(bench: Bench) -> None:
    one = await bench.run()
    found = between(bench, await bench.run(SUITE + "inputs: {text: '{{ row.text }}!'}\n"), one)

    assert found.rows.both == 40


async def test_equal_rows_pair_in_their_order(bench: Bench) -> None:
    bench.rows(moods(4) * 2)
    one = await bench.run()
    bench.rows(moods(4) * 3)
    found = between(bench, await bench.run(), one)

    assert (found.rows.both, found.rows.new, found.rows.gone) == (8, 4, 0)


@pytest.mark.parametrize(("kept", "passed"), [(36, True), (35, False)])
async def test_a_gate_that_compares_few_rows_falls_short(bench: Bench, kept: int, passed: bool) -> None:
    keep(bench, await bench.run())
    new = [{"text": f"good {number + 100}", "expect": "good"} for number in range(40 - kept)]
    bench.rows([*moods(kept), *new])
    ran = await bench.run(GATED)

    assert gate(ran)["passed"] is passed
    assert passed or f"only {kept} of 40 rows are in both, and a share of 0.9 is required" in gate(ran)["says"]


async def test_rows_that_are_gone_count_as_new_ones_do(bench: Bench) -> None:
    keep(bench, await bench.run())
    bench.rows(moods(20))
    less = await bench.run(GATED)
    allowed = await bench.run(GATED.replace("0.3}", "0.3, share: 0.5}"))

    assert (gate(less)["passed"], gate(allowed)["passed"]) == (False, True)


def test_a_share_without_a_baseline_is_a_mistake(bench: Bench) -> None:
    (problem,) = bench.problems(SUITE + "thresholds: {accuracy: {at_least: 0.3, share: 0.5}}\n")

    assert "`share` is of the rows that are compared" in problem.message


async def test_a_file_of_an_earlier_promptkit_pairs_by_the_whole_row(bench: Bench) -> None:
    path = keep(bench, await bench.run())
    record = json.loads(path.read_text("utf-8"))
    assert all(case for _, _, case in record["rows"])
    path.write_text(json.dumps({**record, "rows": [row[:2] for row in record["rows"]]}), "utf-8")

    assert [row.case for row in read_baseline(path).read()] == [""] * 40
    assert gate(await bench.run(GATED))["passed"] is True
    bench.rows([{**row, "note": number} for number, row in enumerate(moods(40))])
    assert "no row in common" in gate(await bench.run(GATED))["says"]
