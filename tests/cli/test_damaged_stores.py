"""Whatever is damaged in a store, no verb ends in a traceback, other runs are not taken along, and it is repaired."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from promptkit.storage import Store
from tests.cli.conftest import environment
from tests.cli.runs_project import SUITE, Done, Here, make_project

JUDGED = SUITE.replace(
    "tokens: tokens}", "tokens: tokens, slow: {judge: {rubric: Is it right?, levels: [good, bad]}}}"
)
SETS = {
    "answers": "value",
    "cells": "outcome",
    "runs where number = 1": "record",
    "runs where number = 1 ": "inputs",
    "runs where number = 1  ": "model",
    "data_rows": "fields",
    "run_cells": "scores",
    "scores": "score",
    "traces": "trace",
    "calls": "call",
    "cases": "record",
}
"""Columns that hold JSON, by their tables."""

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
OTHERS = [
    ("runs", "started", "x"),
    ("runs", "started", 1e300),
    ("runs", "kind", b"\xff"),
    ("runs", "status", 7),
    ("splits", "share", "x"),
    ("splits", "salt", b"\xff"),
    ("verdicts", "ordinal", "x"),
    ("owners", "pid", "x"),
    ("answers_size", "bytes", "x"),
    ("traces", "like", 99),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which each table of the store holds something."""
    root = tmp_path_factory.mktemp("whole")
    here = make_project(root, {"evals/mood.yaml": JUDGED})
    for command in (["eval", "mood"], ["run", "mood", "text=fine"], ["try", "mood"], ["eval", "mood"]):
        assert here(*command).code == 0
    with Store.open(root / ".promptkit") as store:
        store.tunings.keep_split("evals/mood.yaml", 1, 0.5)
        store.tunings.ordinal(b"rows", b"pair")
        store.cells.claim([b"key"])
        shutil.copy(root / ".promptkit/store.db", root / "kept.db")
    return root


@pytest.fixture
def here(whole: Path, tmp_path: Path) -> Here:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return Here(tmp_path)


def damage(here: Here, table: str, column: str, value: Any) -> int:
    """Set a column of all records of a table; return how many these are."""
    with closing(sqlite3.connect(here.root / ".promptkit/store.db")) as connection:
        changed = connection.execute(f"update {table.split(' ')[0]} set {column} = ?{_where(table)}", (value,))
        connection.commit()
        return changed.rowcount


def _where(table: str) -> str:
    return table[table.index(" ") :] if " " in table else ""


def look(here: Here) -> dict[str, Done]:
    """Run the verbs that read the store."""
    return {
        "list": here("runs", "list"),
        "eval": here("eval", "mood", "--json"),
        "again": here("eval", "mood", "--json", "--against", "last"),
        "last": here("runs", "show", "last"),
        "first": here("runs", "show", "1"),
        "row": here("runs", "show", "1", "--row", "1"),
        "run": here("runs", "show", "2"),
        "errors": here("runs", "errors", "1"),
        "export": here("runs", "export", "1", "--jsonl", "-"),
        "compare": here("runs", "compare", "1:prefix", "last"),
        "try": here("try", "mood"),
        "render": here("render", "mood"),
    }


def check_repaired(here: Here, *, finds: bool = True) -> None:
    """See that the store is repaired, after a copy for its owner alone, and that nothing is damaged then."""
    shown = here("runs", "repair")
    assert finds is None or (shown.code, "nothing was changed" in shown.err) == ((3, True) if finds else (0, False)), shown
    done = here("runs", "repair", "--yes")
    assert (done.code, "the store is sound" in done.out) == (0, True), done
    copies = list((here.root / ".promptkit").glob("store.db.bak-*"))
    assert [each.stat().st_mode & 0o777 for each in copies] == ([0o600] if finds or copies else [])
    assert here("runs", "repair").out == "the store is sound: no record is damaged\n"
    for verb, done in look(here).items():
        assert "the store is damaged" not in done.err, verb


@pytest.mark.attack("store")
@pytest.mark.parametrize("column", SETS.values(), ids=lambda each: each)
def test_x(column: str) -> None: ...
