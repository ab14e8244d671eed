"""`runs list`, `runs show`, `runs compare` and `runs export`."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from pathlib import Path
from xml.etree import ElementTree

import pytest

from promptkit.evaluation.comparison.baseline import read_baseline
from promptkit.storage.store import Store
from tests.cli.runs_project import Here, lines_with, make_project
from tests.docs.pages import ROOT

FIRST, SECOND, ASKED, LACKING = "1", "2", "3", "4"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    """Return a project with two evaluations, a run of the target, and an evaluation with missing answers."""
    here = make_project(tmp_path_factory.mktemp("runs"))
    assert here("eval", "mood").code == 0
    assert here("eval", "mood", "--model", "scripted:other.yaml").code == 0
    assert here("run", "mood", "text=hello").code == 0
    assert here("eval", "mood", "--model", "scripted:failing.yaml").code == 3
    return here


def test_the_list_has_the_newest_run_first_with_what_it_said(here: Here) -> None:
    lines = here("runs", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", LACKING, ASKED, SECOND, FIRST]
    assert "eval  mood    incomplete" in lines[1]
    assert lines[2].rstrip().endswith("good")
    assert "accuracy 83 % [" in lines[3] and "done" in lines[3]


def test_the_list_is_narrowed_by_kind_target_and_number(here: Here) -> None:
    assert [run["run"] for run in here("runs", "list", "--kind", "run", "--json").json] == [3]
    assert [run["run"] for run in here("runs", "list", "--limit", "2", "--json").json] == [4, 3]
    (first, *_) = here("runs", "list", "--kind", "eval", "--target", "mood", "--json").json[::-1]
    assert first["metric"]["name"] == "accuracy" and first["metric"]["n"] == 6
    assert first.keys() == {
        "run",
        "kind",
        "target",
        "status",
        "model",
        "started",
        "ended",
        "seconds",
        "metric",
    }
    done = here("runs", "list", "--target", "modo")
    assert (done.code, done.err) == (2, "error: there is no run of `modo`\n  hint: did you mean `mood`?\n")


def test_a_project_without_runs_says_so(tmp_path: Path) -> None:
    empty = make_project(tmp_path)
    done = empty("runs", "list")
    assert (done.code, done.out, done.err) == (0, "", "there are no runs here yet\n")
    assert empty("runs", "show", "last").err == "error: there is no run `last`\n  hint: nothing was run here yet\n"
    assert "promptkit eval SUITE" in empty("runs", "compare", "last", "last~1").err
    assert not (tmp_path / ".promptkit").exists()


def test_an_evaluation_is_shown_as_its_end_printed_it(here: Here, tmp_path: Path) -> None:
    fresh = make_project(tmp_path)
    printed = fresh("eval", "mood").out
    assert fresh("runs", "show", "last").out == printed
    record = here("runs", "show", FIRST, "--json").json
    assert (record["run"], [each["name"] for each in record["variants"]]) == (1, ["plain", "prefix"])


def test_one_variant_is_shown_alone(here: Here) -> None:
    done = here("runs", "show", FIRST, "--variant", "prefix")
    assert "plain" not in done.out and "accuracy" in done.out
    record = here("runs", "show", FIRST, "--variant", "prefix", "--json").json
    assert ([each["name"] for each in record["variants"]], record["comparisons"]) == (["prefix"], [])
    assert "did you mean `prefix`?" in here("runs", "show", FIRST, "--variant", "prefx").err


def test_last_is_the_newest_run_and_with_options_of_evaluations_the_newest_of_those(tmp_path: Path) -> None:
    here = make_project(tmp_path)
    here("eval", "mood")
    here("run", "mood")
    assert here("runs", "show", "last").out.startswith("mood  run 2  done")
    assert here("runs", "show", "last", "--json").json["output"] == "good"
    assert here("runs", "show", "last", "--row", "1").out.startswith("row 1\n")


def test_a_row_is_shown_in_full_with_the_exact_prompts_of_each_variant(here: Here) -> None:
    out = here("runs", "show", FIRST, "--row", "2").out
    assert "text: It came late" in out and out.count("answer: good") == 2
    assert "accuracy: 0 · expected bad · predicted good" in out
    assert "TASK: Say whether it is good or bad." in out and "user: <INSTRUCTIONS>" in out
    told = here("runs", "show", FIRST, "--row", "2", "--variant", "plain", "--json").json
    (cell,) = told["cells"]
    assert (cell["variant"], cell["output"], cell["scores"]["accuracy"]["value"]) == ("plain", "good", 0.0)
    assert "It came late" in json.dumps(cell["trace"])


@pytest.mark.attack("terminal")
def test_what_a_model_said_cannot_steer_the_terminal(here: Here) -> None:
    out = here("runs", "show", FIRST, "--row", "4").out
    assert "\\x1b[2J ]]> <b>" in out and "\x1b" not in out


def test_a_row_that_is_not_there_is_told(here: Here) -> None:
    done = here("runs", "show", FIRST, "--row", "99")
    assert (done.code, done.err.splitlines()[0]) == (2, "error: run 1 has no row 99")


def test_failing_rows_are_shown_those_without_an_answer_first(here: Here) -> None:
    done = here("runs", "show", FIRST, "--failures")
    assert [line for line in done.out.splitlines() if line.startswith("row ")] == ["row 4", "row 2"]
    assert done.err == "2 of 6 cells of `plain` fail\n"
    told = here("runs", "show", FIRST, "--failures", "--variant", "prefix", "--json").json
    assert (told["variant"], told["failing"], [cell["row"] for cell in told["cells"]]) == ("prefix", 2, [2, 4])


def test_a_run_of_a_target_is_shown_with_its_requests(here: Here) -> None:
    out = here("runs", "show", ASKED).out
    assert out.startswith("mood  run 3  done")
    assert "text: hello" in out and "user: <INSTRUCTIONS>" in out and out.endswith("output:\ngood\n")
    told = here("runs", "show", ASKED, "--json").json
    assert (told["kind"], told["inputs"], told["output"], len(told["calls"])) == ("run", {"text": "hello"}, "good", 1)


def test_an_evaluation_is_written_as_a_page(here: Here, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    done = here("runs", "show", FIRST, "--html", str(page))
    assert done.code == 0 and "accuracy" in done.out
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert here("runs", "show", FIRST, "--html", str(tmp_path / "no" / "x.html")).code == 2


def test_a_run_whose_process_was_killed_says_what_it_had(tmp_path: Path) -> None:
    here = make_project(tmp_path)
    whole = here("eval", "mood", "--json").json
    with sqlite3.connect(tmp_path / ".promptkit/store.db") as store:
        store.execute("update runs set record = '{}', status = 'interrupted'")
    told = here("runs", "show", "1", "--json").json
    assert told["variants"] == whole["variants"]
    done = here("runs", "show", "1")
    assert "interrupted" in done.out and "accuracy" in done.out and "named by" not in done.out
    assert here("runs", "compare", "1:plain", "1:prefix").out.count("run 1 is interrupted") == 1
    assert done.err == "the run was killed: these are the cells that it had by then\n"
    assert here("runs", "export", "1", "--junit", "-").out.count("<testcase") == 6
    assert here("runs", "show", "1", "--html", str(tmp_path / "x.html")).code == 0


def test_a_dead_run_is_closed_before_anything_is_listed(tmp_path: Path) -> None:
    here = make_project(tmp_path)
    here("run", "mood")
    with sqlite3.connect(tmp_path / ".promptkit/store.db") as store:
        store.execute("update runs set status = 'running', ended = null, record = '{}'")
        store.execute("insert into running values (1, 999)")
    assert here("runs", "list", "--json").json[0]["status"] == "interrupted"


def test_two_runs_are_compared_and_what_differs_is_said_first(here: Here) -> None:
    done = here("runs", "compare", SECOND, FIRST)
    assert done.code == 0
    head, rest = done.out.split("on the 6 rows of both")
    assert "run 2 used scripted:other.yaml, run 1 used scripted:script.yaml" in head
    assert next(lines_with(rest, "accuracy, points")).split()[:2] == ["accuracy,", "points"]
    assert "rows that differ by accuracy: 1 worse, 2 better" in rest
    assert next(lines_with(rest, "worse", "So nice")).split()[:5] == ["worse", "3", "good", "good", "bad"]
    assert "both were asked the same:" in rest and "So nice\n    </INPUT>" in rest


def test_a_comparison_for_programs_has_all_of_it(here: Here) -> None:
    told = here("runs", "compare", SECOND, FIRST, "--rows", "2", "--json").json
    assert told["rows"] == {"both": 6, "only_a": 0, "only_b": 0}
    assert (told["better"], told["worse"], told["aim"]) == ([2, 4], [3], "accuracy")
    assert [each["what"] for each in told["differs"]] == ["model"]
    (accuracy, tokens) = told["comparisons"]
    assert (accuracy["metric"], accuracy["a"], accuracy["b"]) == ("accuracy", "run 2", "run 1")
    assert accuracy["difference"] == pytest.approx(1 / 6)
    assert accuracy["low"] < accuracy["difference"] < accuracy["high"]
    assert tokens["is_ratio"] is True
    worse = told["rows_shown"][0]
    assert (worse["row"], worse["change"], worse["a"]["output"], worse["b"]["output"]) == (3, "worse", "bad", "good")
    (prompt,) = worse["a"]["prompts"]
    assert prompt["call"] == "mood/answer"
    assert prompt["messages"][0]["content"].endswith("<INPUT>\nSo nice\n</INPUT>")


def test_the_two_variants_of_one_run_are_compared_the_later_one_first(here: Here) -> None:
    assert here("runs", "compare", FIRST, "--rows", "0").out.startswith("prefix against plain\n")
    assert here("runs", "compare", f"{FIRST}:plain", "--rows", "0").out.startswith("plain against prefix\n")


def test_a_run_of_one_variant_is_not_compared_by_itself(tmp_path: Path) -> None:
    alone = make_project(tmp_path, {"evals/mood.yaml": "data: rows.jsonl\ntarget: mood\nmetrics: {accuracy: label}\n"})
    assert alone("eval", "mood").code == 0
    done = alone("runs", "compare", "1")
    assert (done.code, "run 1 has 1 variant: name two runs or variants to compare" in done.err) == (2, True)


def test_variants_are_compared_with_their_prompts_word_by_word(here: Here) -> None:
    out = here("runs", "compare", f"{SECOND}:prefix", f"{FIRST}:plain").out
    assert out.startswith("run 2 (prefix) against run 1 (plain)\n")
    assert "run 2 (prefix) sets mood.layout=prefix, run 1 (plain) nothing" in out
    assert "prompts, [-run 1 (plain)-] {+run 2 (prefix)+}:" in out
    assert "[-</INSTRUCTIONS>" in out and "{+TASK:+} Say whether" in out
    assert here("runs", "compare", "last~1", "1", "--variant", "prefix", "--rows", "0").out.startswith(
        "run 2 (prefix) against run 1 (prefix)"
    )


def test_of_runs_with_missing_answers_nothing_is_said(here: Here) -> None:
    out = here("runs", "compare", LACKING, FIRST).out
    assert "run 4 is incomplete: answers may be missing" in out
    assert "accuracy: 1 of 6 cells have no score in one of the two" in out
    assert "accuracy, points" not in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "99"), "there is no run `99`"),
        (("show", "lsat"), "`lsat` names no run"),
        (("compare", "99", "1"), "there is no evaluation `99`"),
        (("compare", ASKED, "1"), "run 3 is not an evaluation: it is a `run` of `mood`"),
        (("compare", "1:plan", "1"), "did you mean `plain`?"),
        (("compare", "1", "1"), "promptkit runs compare 1:prefix 1:plain"),
        (("compare", "1", "2", "--metric", "acuracy"), "did you mean `accuracy`?"),
        (("export", "1"), "--jsonl FILE, --csv FILE, --junit FILE or --baseline FILE"),
        (("export", "1", "--jsonl", "-", "--csv", "-"), "only one file can go to stdout"),
        (("export", "1", "--baseline", "-", "--variant", "prefix"), "a baseline is of the first variant, `plain`"),
        (("export", LACKING, "--baseline", "-"), "run 4 is incomplete: a baseline has an answer to each row"),
        (("show", "1", "--row", "1", "--failures"), "--failures and --row are two views"),
    ],
)
def test_a_mistake_is_told_with_the_way_out(here: Here, arguments: tuple[str, ...], told: str) -> None:
    done = here("runs", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_a_file_that_cannot_be_written_is_told(here: Here, tmp_path: Path) -> None:
    done = here("runs", "export", FIRST, "--jsonl", str(tmp_path / "none" / "cells.jsonl"))
    assert done.code == 2 and "there is no folder" in done.err and "make the folder first" in done.err


def test_an_evaluation_is_exported_in_every_form_at_once(here: Here, tmp_path: Path) -> None:
    files = {name: tmp_path / f"run.{name}" for name in ("jsonl", "csv", "junit", "baseline")}
    done = here("runs", "export", FIRST, *(part for name, path in files.items() for part in (f"--{name}", str(path))))
    assert (done.code, done.out) == (0, "")

    cells = [json.loads(line) for line in files["jsonl"].read_text("utf-8").splitlines()]
    assert [(cell["row"], cell["variant"]) for cell in cells][:3] == [(1, "plain"), (1, "prefix"), (2, "plain")]
    with files["csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and rows[8]["field.text"] == "'=1+1"
    root = ElementTree.parse(files["junit"]).getroot()
    assert root.attrib["tests"] == "6" and root.attrib["failures"] == "2"
    assert read_baseline(files["baseline"]).suite == "mood"


def test_an_export_of_one_variant_goes_to_stdout_alone(here: Here) -> None:
    done = here("runs", "export", FIRST, "--variant", "prefix", "--jsonl", "-")
    assert {json.loads(line)["variant"] for line in done.out.splitlines()} == {"prefix"}
    assert done.err == ""
    assert 'classname="mood.prefix"' in here("runs", "export", FIRST, "--variant", "prefix", "--junit", "-").out


def test_looking_writes_nothing_into_the_store(here: Here) -> None:
    def runs() -> list[tuple[int, str]]:
        with Store.open(here.root / ".promptkit") as store:
            return [(run.number, run.status) for run in store.runs()]

    before = runs()
    for arguments in (("list",), ("show", "1"), ("compare", "2", "1"), ("export", "1", "--csv", "-")):
        here("runs", *arguments)
    assert runs() == before


def test_every_key_for_programs_is_documented(here: Here) -> None:
    page = (ROOT / "docs/runs.md").read_text("utf-8")
    compared = here("runs", "compare", SECOND, FIRST, "--json").json
    row = here("runs", "show", FIRST, "--row", "1", "--json").json
    found = {
        *compared,
        *compared["a"],
        *compared["differs"][0],
        *compared["rows"],
        *compared["metrics"]["accuracy"],
        *compared["rows_shown"][0],
        *compared["rows_shown"][0]["a"],
        *row,
        *row["cells"][0],
        *row["cells"][0]["scores"]["accuracy"],
        *here("runs", "show", FIRST, "--failures", "--json").json,
        *here("runs", "show", ASKED, "--json").json,
    }
    assert {key for key in found if f"`{key}`" not in page} == set()


def test_a_row_says_when_and_of_what_each_cell_was_made_and_what_has_changed_since(tmp_path: Path) -> None:
    tool = "import pathlib\ndef up(text):\n    return pathlib.Path('words.txt').read_text() + text\n"
    pipeline = (
        "inputs: {text: {example: fine}}\ntools: {up: up.py:up}\n"
        'steps:\n  made: {tool: up, with: {text: "{{ text }}"}}\n  mood: {prompt: mood, with: {text: "{{ made }}"}}\n'
    )
    files = {"pipelines/up.py": tool, "pipelines/tooled.yaml": pipeline, "words.txt": "so "}
    suite = {"evals/tooled.yaml": "data: rows.jsonl\ntarget: tooled\nmetrics: {accuracy: label}\n"}
    here = make_project(tmp_path, {**files, **suite})
    here("eval", "tooled")
    (tmp_path / "words.txt").write_text("very ")

    shown = here("runs", "show", "last", "--row", "1").out
    (cell,) = here("runs", "show", "last", "--row", "1", "--json").json["cells"]

    origin = cell["origin"]
    assert re.search(r"asked \d{4}-\d\d-\d\d \d\d:\d\d by promptkit \d", shown)
    assert f"read words.txt {origin['reads']['words.txt'][:12]}, changed since" in shown
    assert f"of pipelines/up.py {origin['files']['pipelines/up.py'][:12]}\n" in shown
    assert origin["changed"] == ["words.txt"]
    assert all(origin["models"].values())
    assert "templates/layouts/xml.j2" not in origin["files"]


def test_failures_of_one_variant_name_the_answers_of_others_that_a_judge_left_without_a_score(tmp_path: Path) -> None:
    here = make_project(tmp_path)
    (tmp_path / "evals/pref.yaml").write_text(
        "data: rows.jsonl\ntarget: mood\n"
        "metrics: {pref: {pairwise: {rubric: Which is better?, model: 'scripted:../babble.yaml'}}}\n"
        "variants: {plain: {}, prefix: {mood.layout: prefix}}\n",
        "utf-8",
    )
    (tmp_path / "script.yaml").write_text("rules: [{contains: 'TASK:', reply: good}]\notherwise: bad\n", "utf-8")
    (tmp_path / "babble.yaml").write_text("capabilities: [chat]\notherwise: Both have merits.\n", "utf-8")

    done = here("eval", "pref")
    assert done.code == 3 and 'is not a verdict: "Both have merits."' in done.err
    shown = here("runs", "show", "1", "--failures")
    assert "6 answers of `prefix` have no score by `pref`: --variant prefix" in shown.err
    assert "Both have merits." in here("runs", "show", "1", "--failures", "--variant", "prefix").out


def test_a_row_that_a_metric_is_not_for_is_not_among_the_failures(tmp_path: Path) -> None:
    of_some = "{length: {max: 9, when: \"'=' in row.text\"}}"
    suite = f"data: rows.jsonl\ntarget: mood\nmetrics: {{accuracy: label, long: {of_some}}}\n"
    here = make_project(tmp_path, {"evals/mood.yaml": suite})
    here("eval", "mood")
    shown = here("runs", "show", "last", "--failures", "--json").json["cells"]
    assert sorted(cell["row"] for cell in shown) == [2, 4]
