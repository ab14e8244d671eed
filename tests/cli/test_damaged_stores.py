"""Whatever is damaged in a store, no verb ends in a traceback, other runs are not taken along, and it is repaired."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from promptkit.storage.store import Store
from tests.cli.runs_project import SCRIPT, SUITE, Here, make_project

JUDGED = SUITE.replace("tokens: tokens}", "tokens: tokens, slow: {judge: {rubric: Is it right?, levels: [good, bad]}}}")
JUDGING = SCRIPT.replace("rules:\n", "rules:\n  - {contains: Is it right?, reply: ' good'}\n")
"""The script with a reply that goes on from the judge's cue, as its levels do."""
COLUMNS = {
    ("answers", "value"): ["run", "mood", "text=fine"],
    ("cells", "outcome"): ["runs", "show", "1", "--row", "1"],
    ("data_rows", "fields"): ["runs", "export", "1", "--jsonl", "-"],
    ("run_cells", "scores"): ["runs", "errors", "1"],
    ("scores", "score"): ["runs", "show", "1", "--failures"],
    ("traces", "trace"): ["runs", "show", "1", "--row", "1"],
    ("calls", "call"): ["runs", "show", "2"],
    ("batch_rows", "record"): ["runs", "show", "4", "--row", "1"],
    ("cases", "record"): ["try", "mood"],
    ("runs", "record"): ["runs", "show", "1"],
    ("runs", "inputs"): ["runs", "compare", "1:prefix", "1"],
    ("runs", "model"): ["runs", "show", "1"],
}
"""Columns that hold JSON, by table and name, each with a verb that reads it."""

VALUES: dict[str, Any] = {
    "other bytes": b"\xff\xfe\x00",
    "nothing": b"",
    "no JSON": '{"output": ',
    "a list": "[]",
    "a number": "5",
    "no keys": "{}",
    "other keys": '{"output": 1, "variants": 5, "scores": [1], "messages": "x", "steps": {"mood": 3}}',
    "a huge number": f'{{"calls": {"9" * 400}, "text": {"9" * 5000}}}',
    "infinity": '{"seconds": 1e999}',
    "deep": "[" * 100_000,
    "an integer": 7,
}
THIRD = [
    (*column, name)
    for place, column in enumerate(COLUMNS)
    for number, name in enumerate(VALUES)
    if number % 3 == place % 3
]
"""A third of all pairs of a column and a value: each column with several values, each value in several columns."""

OTHERS = [
    ("runs", "started", "x"),
    ("runs", "started", 1e300),
    ("runs", "kind", b"\xff"),
    ("runs", "status", 7),
    ("splits", "share", "x"),
    ("splits", "salt", b"\xff"),
    ("verdicts", "ordinal", "x"),
    ("answers_size", "bytes", "x"),
    ("traces", "like", 99),
    ("indexed", "last", 2**63 - 1),
    ("batch_rows", "failed", "x"),
    ("run_cells", "repeat", b"\x00"),
    ("indexed", "last", "x"),
    ("indexed", "last", -1),
    ("indexed", "last", b"\xff"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which each table of the store holds something: 1 is an evaluation, 2 a run, 4 of rows."""
    root = tmp_path_factory.mktemp("whole")
    here = make_project(root, {"evals/mood.yaml": JUDGED, "script.yaml": JUDGING, "rows.csv": "text\nfine\n"})
    rows = ["run", "mood", "--input", str(root / "rows.csv")]
    for command in (["eval", "mood"], ["run", "mood", "text=fine"], ["try", "mood"], ["eval", "mood"], rows):
        assert here(*command).code == 0
    with Store.open(root / ".promptkit") as store:
        store.tunings.keep_split("evals/mood.yaml", 1, 0.5)
        store.tunings.ordinal(b"rows", b"pair")
    return root


@pytest.fixture
def here(whole: Path, tmp_path: Path) -> Here:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return Here(tmp_path)


def damage(here: Here, table: str, column: str, value: Any) -> None:
    """Set a column in all records of a table, of the runs in the first two."""
    where = " where number < 3" if table == "runs" else ""
    with closing(sqlite3.connect(here.root / ".promptkit/store.db")) as connection:
        assert connection.execute(f"update {table} set {column} = ?{where}", (value,)).rowcount
        connection.commit()


def copies(here: Here) -> list[Path]:
    return list((here.root / ".promptkit").glob("store.db.bak-*"))


def check_others(here: Here) -> None:
    """See that other runs are listed, and that an evaluation is made."""
    listed = here("runs", "list", "--json")
    assert listed.code == 0
    assert 3 in [run["run"] for run in listed.json]
    measured = here("eval", "mood", "--json")
    assert (measured.code, measured.json["status"]) == (0, "done")
    assert measured.json["variants"][0]["missing"] == 0


def check_repaired(here: Here) -> None:
    """See that the store is repaired, after a copy of it for its owner alone, and that it is sound then."""
    repaired = here("runs", "repair", "--yes")
    assert repaired.code == 0
    assert "the store is sound" in repaired.out
    assert {each.stat().st_mode & 0o777 for each in copies(here)} <= {0o600}
    again = here("runs", "repair")
    assert (again.code, again.out) == (0, "the store is sound: no record is damaged\n")


@pytest.mark.attack("store")
@pytest.mark.parametrize(("table", "column", "name"), THIRD)
def test_a_damaged_record_is_asked_again_or_left_out_and_repaired(
    here: Here, table: str, column: str, name: str
) -> None:
    damage(here, table, column, VALUES[name])

    read = here(*COLUMNS[table, column])
    assert read.code in (0, 2, 3)
    assert "Traceback" not in read.err
    check_others(here)
    check_repaired(here)
    assert "the store is damaged" not in here(*COLUMNS[table, column]).err


@pytest.mark.attack("store")
@pytest.mark.parametrize(("table", "column", "value"), OTHERS)
def test_a_damaged_column_that_holds_no_json_takes_no_verb_with_it(
    here: Here, table: str, column: str, value: Any
) -> None:
    damage(here, table, column, value)
    check_others(here)
    check_repaired(here)


@pytest.mark.attack("store")
@pytest.mark.parametrize(("pid", "seen"), [("x", None), (1, "x"), (b"\xff", 1.0)])
def test_a_run_whose_process_cannot_be_told_is_ended(here: Here, pid: Any, seen: Any) -> None:
    with closing(sqlite3.connect(here.root / ".promptkit/store.db")) as connection:
        connection.execute("insert into owners values (5, ?, 'here', ?)", (pid, seen))
        connection.execute("insert into owners values (6, ?, 'here', ?)", (pid, seen))
        connection.execute("insert into running values (1, 5)")
        connection.commit()
    check_others(here)
    check_repaired(here)
    assert here("runs", "show", "1", "--json").json["status"] in ("done", "interrupted")


@pytest.mark.attack("store")
def test_all_of_a_store_may_be_damaged_at_once(here: Here) -> None:
    for table, column in COLUMNS:
        damage(here, table, column, VALUES["other bytes"])
    for command in COLUMNS.values():
        assert here(*command).code in (0, 2, 3)
    check_others(here)
    check_repaired(here)


@pytest.mark.attack("store")
@pytest.mark.parametrize("table", ["answers", "cells", "data_rows"])
def test_an_index_that_lacks_rows_asks_again_and_is_made_anew(here: Here, table: str) -> None:
    with closing(sqlite3.connect(here.root / ".promptkit/store.db")) as connection:
        connection.execute(f"update indexed set last = (select max(number) from {table}) where source = '{table}'")
        connection.execute(f"delete from {table}_index")
        connection.commit()
    check_others(here)
    assert f"indexed {table}: it lacks rows; it is made anew" in here("runs", "repair").out
    check_repaired(here)
    assert here("eval", "mood", "--json").json["known"] == 12


@pytest.mark.attack("store")
def test_a_damaged_run_is_named_with_its_column_and_the_way_out(here: Here) -> None:
    damage(here, "runs", "record", b"\xff")

    shown = here("runs", "show", "1")
    assert shown.code == 3
    assert "runs 1, `record`: it is not text" in shown.err
    assert "hint: promptkit runs repair" in shown.err
    listed = here("runs", "list")
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == ["4", "3"]
    [told] = listed.err.splitlines()
    assert "runs 2, `record`: it is not text; runs 1, `record`" in told
    assert told.endswith("promptkit runs repair")


@pytest.mark.attack("store")
def test_a_damaged_cell_is_asked_again_and_takes_the_place_of_the_old_one(here: Here) -> None:
    damage(here, "cells", "outcome", "{}")

    first = here("eval", "mood", "--json")
    assert first.json["known"] == 0
    assert "cells 1: `output`: Field required" in first.err
    second = here("eval", "mood", "--json")
    assert second.json["known"] == 12
    assert "damaged" not in second.err


@pytest.mark.attack("store")
def test_an_evaluation_whose_record_was_damaged_is_summed_up_again_from_its_cells(here: Here) -> None:
    before = here("runs", "show", "1", "--json").json
    damage(here, "runs", "record", "[]")
    assert here("runs", "repair", "--yes").code == 0

    shown = here("runs", "show", "1", "--json")
    assert shown.json["status"] == "damaged"
    assert shown.json["variants"][0]["metrics"]["accuracy"] == before["variants"][0]["metrics"]["accuracy"]


@pytest.mark.attack("store")
def test_a_score_without_what_its_numbers_are_made_of_is_missing_when_a_run_is_summed_up_again(here: Here) -> None:
    damage(here, "runs", "record", "{}")
    damage(here, "run_cells", "scores", '{"expect": "bad", "scores": {"accuracy": [1.0, {}, ""]}}')

    shown = here("runs", "show", "1", "--json")

    assert shown.code == 0
    accuracy = shown.json["variants"][0]["metrics"]["accuracy"]
    assert (accuracy["n"], accuracy["unscored"]) == (0, 6)


@pytest.mark.attack("store")
def test_nothing_is_repaired_before_a_person_agrees(here: Here) -> None:
    damage(here, "cases", "record", "[]")
    content = (here.root / ".promptkit/store.db").read_bytes()

    shown = here("runs", "repair")

    assert shown.code == 3
    assert "cases pipelines/mood.yaml example: Input should be a valid dictionary; it is deleted" in shown.out
    assert "hint: promptkit runs repair --yes" in shown.err
    assert (here.root / ".promptkit/store.db").read_bytes() == content
    assert copies(here) == []


@pytest.mark.attack("store")
def test_the_traces_that_are_written_by_that_of_a_removed_cell_stay(here: Here) -> None:
    with closing(sqlite3.connect(here.root / ".promptkit/store.db")) as connection:
        [(model,)] = connection.execute("select distinct like from traces where like is not null limit 1").fetchall()
        [(count,)] = connection.execute("select count(*) from traces")
        connection.execute("update cells set outcome = 5 where number = ?", (model,))
        connection.commit()
    check_repaired(here)
    with closing(sqlite3.connect(here.root / ".promptkit/store.db")) as connection:
        assert connection.execute("select count(*) from traces").fetchall() == [(count - 1,)]
        assert connection.execute("pragma foreign_key_check").fetchall() == []


@pytest.mark.attack("store")
def test_a_file_that_sqlite_finds_damaged_is_said_to_be_and_left_alone(here: Here) -> None:
    file = here.root / ".promptkit/store.db"
    data = bytearray(file.read_bytes())
    data[3 * 4096 : -4096] = b"\xff" * (len(data) - 4 * 4096)
    file.write_bytes(data)

    done = here("runs", "repair", "--yes")

    assert done.code == 3
    assert "mv " in done.err
    assert copies(here) == []


@pytest.mark.attack("store")
@pytest.mark.parametrize("command", [["runs", "list"], ["eval", "mood"], ["runs", "show", "1"], ["runs", "repair"]])
def test_a_command_on_a_damaged_store_ends_without_a_traceback(here: Here, command: list[str]) -> None:
    for table, column in COLUMNS:
        damage(here, table, column, "9" * 5000)

    done = here(*command)

    assert done.code in (0, 3)
    assert "promptkit runs repair" in done.err
