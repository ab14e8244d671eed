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
SPLIT = """\
from promptkit.techniques import technique


@technique()
async def split(task):
    if "It" in str(task.inputs["text"]):
        task.warn("no_sub_question")
    task.warn("short_input")
    return await task.decide(await task.ask("answer"))
"""
FILES = {
    "techniques/split.py": SPLIT,
    "templates/techniques/split/answer.j2": "---\nproduces: answer\n---\n{% extends prompt %}\n",
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


STEP = "mood.technique=split"
SPLIT_WORDS = "split found no sub-question"


def test_every_verb_names_the_technique_of_a_warning(here: Here) -> None:
    (here.root / "evals/mood.yaml").write_text(SUITE.partition("thresholds")[0], "utf-8")
    line = here("run", "mood", "text=It broke", "--set", STEP, "--trace")
    assert f" · {SPLIT_WORDS} (once) · split: short input (once)" in line.err
    assert f" · {SPLIT_WORDS} · split: short input" in line.err
    assert f"{SPLIT_WORDS} (once)" in here("runs", "show", "last").out
    assert f"{SPLIT_WORDS} (once)" in here("try", "mood", "text=It broke", "--set", STEP).out
    assert f"{SPLIT_WORDS} (2)" in here("run", "mood", "--input", "evals/rows.jsonl", "--set", STEP).err
    shown = " ".join(here("eval", "mood", "--set", STEP).out.split())
    assert f"{SPLIT_WORDS} 2 of 6" in shown and "split: short input 6 of 6" in shown
    assert f"warnings: {SPLIT_WORDS}, split: short input" in here("runs", "show", "last", "--row", "1").out
    arguments = ("mood", "--data", "evals/rows.jsonl", "--techniques", "vanilla,split")
    assert f"2 of 6 rows: {SPLIT_WORDS}" in here("techniques", "compare", *arguments).out


def test_an_evaluation_of_fifty_rows_counts_what_the_technique_could_not_do_on_each(here: Here) -> None:
    rows = [{"text": f"{'It' if at < 42 else 'So'} {at}", "expect": "good"} for at in range(50)]
    (here.root / "evals/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    bound = SUITE.replace("weak_reading: {at_most: 0.1}", "no_sub_question: {at_most: 0.05}")
    (here.root / "evals/mood.yaml").write_text(bound, "utf-8")
    done = here("eval", "mood", "--set", STEP)
    assert f"{SPLIT_WORDS} 42 of 50" in " ".join(done.out.split())
    assert done.code == 1 and "no_sub_question: at most 0.05 is required" in done.err


def test_a_chosen_warning_is_an_error_of_the_run_the_case_and_the_row(here: Here) -> None:
    strict = ("--set", STEP, "--strict-on", "no_sub_question")
    error = f"step `mood`: {SPLIT_WORDS} (`no_sub_question` is an error here)"
    failed = here("run", "mood", "text=It broke", *strict)
    assert failed.code == 3 and error in failed.err and "hint: --trace shows the calls" in failed.err
    assert here("run", "mood", "text=fine", *strict).code == 0
    assert here("run", "mood", "text=It broke", "--set", STEP, "--strict").code == 0
    assert error in here("try", "mood", "text=It broke", *strict).out
    batch = here("run", "mood", "--input", "evals/rows.jsonl", *strict)
    assert batch.code == 3 and f"error: row 1: {error}" in batch.err


def test_in_an_evaluation_such_a_row_is_missing_and_the_others_count(here: Here) -> None:
    (here.root / "evals/mood.yaml").write_text(SUITE.partition("thresholds")[0], "utf-8")
    plain = here("eval", "mood", "--set", STEP, "--json").json["variants"][0]
    strict = here("eval", "mood", "--set", STEP, "--strict-on", "no_sub_question", "--json").json["variants"][0]
    assert (plain["missing"], plain["warnings"]) == (0, {"no_sub_question": 2, "short_input": 6})
    assert (strict["missing"], strict["warnings"]) == (2, {"short_input": 4})
    assert here("eval", "mood", "--set", STEP, "--json").json["variants"][0]["missing"] == 0
    assert "`no_sub_question` is an error here" in here("runs", "show", "2", "--row", "1").out


def test_a_warning_to_be_strict_on_is_one_that_can_occur(here: Here) -> None:
    wrong = here("run", "mood", "text=fine", "--strict-on", "no_sub_questions")
    assert wrong.code == 2 and "--strict-on: there is no warning `no_sub_questions`" in wrong.err
    assert "did you mean `no_sub_question`?" in wrong.err
    assert here("run", "mood", "text=fine", "--set", STEP, "--strict-on", "short_input").code == 3


@pytest.mark.parametrize("place", ["step", "pipeline", "project"])
def test_files_say_which_warnings_are_errors(here: Here, place: str) -> None:
    step = "{prompt: mood, technique: split, strict: [no_sub_question]}"
    text = "name: mood\ninputs: {text: {example: fine}}\nsteps: {mood: STEP}\n".replace("STEP", step)
    if place != "step":
        text = text.replace(", strict: [no_sub_question]", "")
    if place == "pipeline":
        text += "defaults: {strict: no_sub_question}\n"
    if place == "project":
        settings = here.root / "promptkit.yaml"
        settings.write_text(settings.read_text("utf-8") + "defaults: {strict: [no_sub_question]}\n", "utf-8")
    (here.root / "pipelines/mood.yaml").write_text(text, "utf-8")
    assert "`no_sub_question` is an error here" in here("run", "mood", "text=It broke").err
    assert here("run", "mood", "text=fine").code == 0


def test_on_error_holds_for_a_warning_that_is_an_error(here: Here) -> None:
    strict = ("--set", STEP, "--strict-on", "no_sub_question", "--set", "mood.on_error={default: none}")
    done = here("run", "mood", "text=It broke", *strict)
    assert (done.code, done.out.strip()) == (0, "none")


def test_check_finds_a_warning_that_no_technique_gives(here: Here) -> None:
    file = here.root / "pipelines/mood.yaml"
    file.write_text(file.read_text("utf-8").replace("technique: guess", "technique: guess, strict: [tied]"), "utf-8")
    found = here("check", "pipelines/mood.yaml")
    assert found.code == 1 and "there is no warning `tied`" in found.out and "pipelines/mood.yaml:3" in found.out


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
