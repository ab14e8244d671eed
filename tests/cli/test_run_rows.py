"""`run --input`: the rows of a file answered as one run, their columns carried along, and written by `--out`."""

from __future__ import annotations

import csv
import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from promptkit.storage.store import Store
from tests.cli.runs_project import Here, make_project
from tests.command import Done

ROWS = "id,text,note\n7,So nice,=1+1\n8,It is broken,-5\n9,nice?,\n"
PAIR = """\
name: pair
inputs: {text: {}, tone: {default: kind}}
steps: {mood: {prompt: mood}}
output: {mood: "{{ mood }}", text: "{{ text }} in a {{ tone }} tone"}
"""
COUNT = "name: count\ninputs: {n: {type: number}}\nsteps: {s: {prompt: mood, with: {text: 'x{{ n }}'}}}\n"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return make_project(tmp_path, {"rows.csv": ROWS, "pipelines/pair.yaml": PAIR, "pipelines/count.yaml": COUNT})


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def runs(here: Here) -> list[tuple[str, str]]:
    listed = here("runs", "list", "--json").json if (here.root / ".promptkit").exists() else []
    return [(run["kind"], run["status"]) for run in listed]


def test_further_columns_are_no_mistake_and_a_line_is_the_answer_alone(here: Here) -> None:
    done = here("run", "mood", "--input", "rows.csv")
    assert (done.code, done.out) == (0, "good\nbad\ngood\n"), done.err
    assert "column" not in done.err


def test_the_project_that_init_makes_runs_on_the_rows_of_its_own_suite(tmp_path: Path) -> None:
    assert Here(tmp_path)("init", "p").code == 0
    (tmp_path / "p" / "script.yaml").write_text("otherwise: payment\n")
    done = Here(tmp_path / "p")("run", "sort_mail", "--input", "evals/mail.jsonl", "--model", "scripted:script.yaml")
    assert (done.code, done.out) == (0, "payment\n" * 24), done.err


def test_json_lines_name_their_row_and_its_further_columns(here: Here) -> None:
    lines = [json.loads(line) for line in here("run", "mood", "--input", "rows.csv", "--json").out.splitlines()]
    assert [(line["run"], line["number"], line["row"], line["output"]) for line in lines] == [
        (1, 1, {"id": "7", "note": "=1+1"}, "good"),
        (1, 2, {"id": "8", "note": "-5"}, "bad"),
        (1, 3, {"id": "9", "note": ""}, "good"),
    ]


def test_texts_of_a_table_are_read_by_the_type_of_the_input(here: Here) -> None:
    (here.root / "n.csv").write_text("n\n4\nfour\n")
    done = here("run", "count", "--input", "n.csv")
    assert done.code == 2 and "row 2: the input `n` must be a number" in done.err and "row 1" not in done.err


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("txet,id", "row 1: the input `text` is missing\n  hint: did you mean `txet`?"),
        ("mail,id", "row 1: the input `text` is missing\n  hint: columns: `mail`, `id`"),
    ],
)
def test_a_missing_input_names_the_column_that_is_nearly_it(here: Here, columns: str, told: str) -> None:
    (here.root / "wrong.csv").write_text(f"{columns}\na,1\n")
    done = here("run", "mood", "--input", "wrong.csv")
    assert done.code == 2 and told in done.err
    assert runs(here) == []


def test_rows_without_any_input_are_a_mistake_though_the_inputs_have_defaults_and_examples(here: Here) -> None:
    pipeline = "inputs: {text: {default: fine, example: fine}}\nsteps: {mood: {prompt: mood}}\n"
    (here.root / "pipelines" / "all.yaml").write_text(f"name: all\n{pipeline}")
    (here.root / "other.csv").write_text("id\n1\n")
    assert "row 1: the input `text` is missing" in here("run", "all", "--input", "other.csv").err


def test_a_column_that_is_nearly_a_defaulted_input_is_named_once(here: Here) -> None:
    (here.root / "near.csv").write_text("text,tones\na,rude\nb,rude\n")
    done = here("run", "pair", "--input", "near.csv")
    told = "the column `tones` is not an input; `tone`, which is, has its default"
    assert done.code == 0 and done.err.count(told) == 1


@pytest.mark.attack("html")
@pytest.mark.parametrize("text", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_out_is_a_formula_in_a_spreadsheet(here: Here, text: str) -> None:
    (here.root / "rows.jsonl").write_text(json.dumps({"text": "a", "note": text}) + "\n")
    (here.root / "script.yaml").write_text(json.dumps({"otherwise": text}))
    prompt = here.root / "templates" / "prompts" / "mood.j2"
    prompt.write_text(prompt.read_text().replace("answer: {label: [good, bad]}\n", ""))
    here("run", "mood", "--input", "rows.jsonl", "--out", "answers.csv")
    (row,) = table(here.root / "answers.csv")
    assert row["note"].startswith("'") and row["answer"].startswith("'")


def test_out_has_the_columns_of_the_file_and_the_answer(here: Here) -> None:
    done = here("run", "mood", "--input", "rows.csv", "--out", "answers.csv")
    assert (done.code, done.out) == (0, "") and "written: answers.csv" in done.err
    assert table(here.root / "answers.csv") == [
        {"id": "7", "text": "So nice", "note": "'=1+1", "answer": "good", "error": ""},
        {"id": "8", "text": "It is broken", "note": "-5", "answer": "bad", "error": ""},
        {"id": "9", "text": "nice?", "note": "", "answer": "good", "error": ""},
    ]


def test_a_mapping_has_a_column_for_each_key_beside_a_column_of_the_same_name(here: Here) -> None:
    here("run", "pair", "--input", "rows.csv", "--out", "answers.jsonl")
    first, *_ = map(json.loads, (here.root / "answers.jsonl").read_text().splitlines())
    answers = {"mood": "good", "answer.text": "So nice in a kind tone", "error": None}
    assert first == {"id": "7", "text": "So nice", "note": "=1+1", **answers}


def test_a_failed_row_says_why_and_the_same_command_asks_only_for_it(here: Here) -> None:
    command = ("run", "mood", "--input", "rows.csv", "--out", "answers.csv")
    (here.root / "script.yaml").write_text("rules: [{contains: broken, reply: {error: tired}}]\notherwise: good\n")
    done = here(*command)
    assert done.code == 3 and "1 of 3 rows has no answer" in done.err and "promptkit runs show 1" in done.err
    assert [row["answer"] for row in table(here.root / "answers.csv")] == ["good", "", "good"]
    assert "tired" in table(here.root / "answers.csv")[1]["error"]
    (here.root / "rows.csv").write_text(ROWS.replace("It is broken", "It is whole"))
    assert "3 calls (2 cached)" in here(*command).err
    assert [row["answer"] for row in table(here.root / "answers.csv")] == ["good"] * 3


@pytest.mark.attack("path")
@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("answers.xlsx", "--out writes .csv or .jsonl"),
        ("rows.csv", "--out would overwrite the rows of --input"),
        ("link.csv", "--out would overwrite the rows of --input"),
        ("pipe.csv", "`--out pipe.csv`: it is a named pipe"),
        ("folder.csv", "`--out folder.csv`: it is a folder"),
        ("null.csv", "`--out null.csv`: it is a device"),
        ("none/answers.csv", "`--out none/answers.csv`: there is no folder `none`"),
    ],
)
def test_out_is_refused_before_anything_is_asked(here: Here, out: str, told: str) -> None:
    os.mkfifo(here.root / "pipe.csv")
    (here.root / "folder.csv").mkdir()
    (here.root / "link.csv").symlink_to("rows.csv")
    (here.root / "null.csv").symlink_to("/dev/null")
    done = here("run", "mood", "--input", "rows.csv", "--out", out)
    assert done.code == 2 and told in done.err, done.err
    assert (here.root / "rows.csv").read_text() == ROWS
    assert "calls" not in done.err


def test_out_without_rows_is_a_mistake(here: Here) -> None:
    assert here("run", "mood", "text=a", "--out", "answers.csv").code == 2


@pytest.fixture
def failing(here: Here) -> Done:
    (here.root / "script.yaml").write_text("rules: [{contains: broken, reply: {error: tired}}]\notherwise: good\n")
    return here("run", "mood", "--input", "rows.csv")


def test_a_batch_is_one_run(here: Here, failing: Done) -> None:
    assert runs(here) == [("batch", "incomplete")]
    assert [run["run"] for run in here("runs", "list", "--kind", "batch", "--json").json] == [1]
    (line,) = here("runs", "list").out.splitlines()[1:2]
    assert line.split()[0] == "1" and "batch" in line
    assert "3 rows: 2 answered" in " ".join(here("runs", "list").out.split())


def test_show_names_the_rows_that_failed(here: Here, failing: Done) -> None:
    shown = here("runs", "show", "last").out
    assert "3 rows: 2 answered, 1 failed" in shown and "     2  step `mood`: tired" in shown
    record = here("runs", "show", "1", "--json").json
    assert (record["rows"], record["answered"], record["failed"]) == (3, 2, 1)
    assert record["rows_failed"] == [
        {"row": 2, "fields": {"id": "8", "text": "It is broken", "note": "-5"}, "error": "step `mood`: tired"}
    ]


def test_show_row_has_its_fields_its_requests_and_the_answer(here: Here, failing: Done) -> None:
    for run in ("1", "last"):
        shown = here("runs", "show", run, "--row", "1").out
        assert all(part in shown for part in ("row 1\n", "id: 7", "INSTRUCTIONS", "reply: good", "output:\ngood"))
    assert here("runs", "show", "1", "--row", "1", "--json").json["rows"][0]["fields"]["id"] == "7"
    assert "error:\nstep `mood`: tired" in here("runs", "show", "1", "--failures").out
    assert "run 1 has no row 4" in here("runs", "show", "1", "--row", "4").err


def test_export_writes_a_batch_as_out_does(here: Here, failing: Done) -> None:
    here("run", "mood", "--input", "rows.csv", "--out", "answers.csv")
    for ending in ("csv", "jsonl"):
        here("run", "mood", "--input", "rows.csv", "--out", f"answers.{ending}")
        assert here("runs", "export", "1", f"--{ending}", "-").out == (here.root / f"answers.{ending}").read_text()
    assert here("runs", "export", "1", "--junit", "-").code == 2


def test_a_batch_that_was_killed_says_what_its_rows_say(here: Here, failing: Done) -> None:
    before = here("runs", "show", "1", "--json").json
    with closing(Store.open(here.root / ".promptkit")) as store:
        store.end_run(1, "interrupted", {})
    after = here("runs", "show", "1", "--json").json
    assert [after[key] for key in ("rows", "answered", "failed", "rows_failed")] == [
        before[key] for key in ("rows", "answered", "failed", "rows_failed")
    ]
    assert after["totals"]["calls"] == before["totals"]["calls"]
