"""Warnings as every verb shows them: run, run --input, try, eval, runs, techniques compare and tune."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.runs_project import Here, make_project

GUESS = """\
from promptkit.techniques import technique


@technique()
async def guess(task):
    exchange = await task.ask("answer")
    answer = await task.decide(exchange)
    if "It" in str(task.inputs["text"]):
        exchange.record.rule, exchange.record.warnings = "any value", ("weak_reading",)
    return answer
"""
SUITE = """\
data: rows.jsonl
target: mood
metrics: {accuracy: label}
thresholds: {weak_reading: {at_most: 0.1}}
"""
FILES = {
    "techniques/guess.py": GUESS,
    "templates/techniques/guess/answer.j2": "---\nproduces: answer\n---\n{% extends prompt %}\n",
    "script.yaml": "rules:\n  - {contains: broken, reply: bad}\notherwise: good\n",
    "pipelines/mood.yaml": "name: mood\ninputs: {text: {example: fine}}\n"
    "steps: {mood: {prompt: mood, technique: guess}}\n"
    "tune: {mood.layout: [xml, prefix]}\n",
    "evals/mood.yaml": SUITE,
}
WORDS = "read by a weak rule"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return make_project(tmp_path, FILES)


def test_run_shows_them_in_the_steps_line_the_trace_and_json(here: Here) -> None:
    done = here("run", "mood", "text=It broke", "--trace")
    line = next(line for line in done.err.splitlines() if line.startswith("✓ mood"))
    assert line.endswith(f" · 1 {WORDS}")
    assert f" · {WORDS}\n" in done.err and "parsed by any value: good" in done.err
    record = here("run", "mood", "text=It broke", "--json").json
    assert record["totals"]["warnings"] == {"weak_reading": 1}
    call = record["trace"][0]["calls"][0]
    assert (call["rule"], call["warnings"]) == ("any value", ["weak_reading"])
    shown = here("runs", "show", "1").out
    assert f"1 {WORDS}" in shown and "read by: any value" in shown


def test_nothing_is_said_where_there_are_none(here: Here) -> None:
    done = here("run", "mood", "text=fine", "--trace")
    assert WORDS not in done.err and "parsed by whole reply: good" in done.err
    assert "warnings" not in here("run", "mood", "text=fine", "--json").json["totals"]


def test_rows_are_summed_up_and_so_is_their_run(here: Here) -> None:
    done = here("run", "mood", "--input", "evals/rows.jsonl")
    assert f"\n2 {WORDS}\n" in done.err
    assert f" · 2 {WORDS}" in here("runs", "show", "last").out


def test_try_shows_them_in_a_cases_title_and_json(here: Here) -> None:
    assert f"  1 {WORDS}  1 call" in here("try", "mood", "text=It broke").out
    assert here("try", "mood", "text=It broke", "--json").json["cases"][0]["warnings"] == {"weak_reading": 1}


def test_an_evaluation_shows_them_in_its_report_and_row_and_holds_a_threshold(here: Here) -> None:
    done = here("eval", "mood")
    assert done.code == 1
    assert f"{WORDS}  2 of 6" in done.out
    assert "✗ weak_reading: at most 0.10 is required" in done.out
    assert f"warnings: {WORDS}" in here("runs", "show", "last", "--row", "1").out
    rows = [json.loads(line) for line in here("runs", "export", "last", "--jsonl", "-").out.splitlines()]
    assert [row["warnings"] for row in rows] == [{"mood": ["weak_reading"]}] * 2 + [{}] * 4


def test_two_runs_are_compared_by_their_warnings_too(here: Here) -> None:
    here("eval", "mood")
    here("eval", "mood", "--set", "mood.technique=vanilla")
    shown = here("runs", "compare", "last", "1").out
    assert [line.split() for line in shown.splitlines() if WORDS in line] == [[*WORDS.split(), "2", "of", "6"]]
    record = here("runs", "compare", "last", "1", "--json").json
    assert [(side["warnings"], side["recorded"]) for side in (record["a"], record["b"])] == [
        ({}, 6),
        ({"weak_reading": 2}, 6),
    ]


def test_techniques_are_compared_with_their_warnings(here: Here) -> None:
    arguments = ("mood", "--data", "evals/rows.jsonl", "--techniques", "vanilla,guess")
    done = here("techniques", "compare", *arguments, "--json")
    found = {result["technique"]: result["warnings"] for result in done.json["techniques"]}
    assert found == {"vanilla": {}, "guess": {"weak_reading": 2}}
    assert f"2 of 6 rows: {WORDS}" in here("techniques", "compare", *arguments).out


def test_a_tuning_counts_those_of_start_and_incumbent(here: Here) -> None:
    rows = [{"text": f"{'It' if at % 2 else 'So'} {at}", "expect": ("good", "bad")[at % 3 == 0]} for at in range(60)]
    (here.root / "evals/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (here.root / "evals/mood.yaml").write_text(SUITE.partition("thresholds")[0], "utf-8")
    record = here("tune", "mood", "--suite", "mood", "--yes", "--json").json
    shown = here("runs", "show", "last").out
    for name, side in (("start", record["baseline"]), ("incumbent", record["best"])):
        confirm = side["confirm"]
        assert 0 < confirm["warnings"]["weak_reading"] < confirm["n"]
        assert f"{name}: {confirm['warnings']['weak_reading']} {WORDS}, of {confirm['n']} confirm rows" in shown
        assert side["search"]["warnings"].keys() == {"weak_reading"}
