"""A project that cannot be written: its runs can be read, and new ones are kept elsewhere or are not shown as kept."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from promptkit.errors import StoreFailed
from promptkit.storage import database
from promptkit.storage.files import make_folder
from promptkit.storage.store import FILE, Store
from tests.cli.runs_project import Here, make_project

LIMIT = ("eval", "mood", "--limit", "2")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("promptkit.api.stores.cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def here(tmp_path: Path, cache: Path) -> Here:
    return make_project(tmp_path / "project")


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    return error


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Exception], None]:
    """Return a function that lets no store be written below a folder."""
    connect = database.connect

    def fail(below: Path, error: Exception) -> None:
        def failing_connect(path: Path) -> sqlite3.Connection:
            if path.is_relative_to(below):
                raise error
            return connect(path)

        def failing_make(path: Path) -> None:
            if path.is_relative_to(below):
                raise StoreFailed(f"the folder {path} cannot be made") from OSError(errno.EROFS, "read-only")
            make_folder(path)

        monkeypatch.setattr(database, "connect", failing_connect)
        for module in ("store", "unwritable"):
            monkeypatch.setattr(f"promptkit.storage.{module}.make_folder", failing_make)

    return fail


def test_runs_of_a_store_that_cannot_be_written_are_listed_shown_compared_and_exported(
    here: Here, fail: Callable[[Path, Exception], None]
) -> None:
    for _ in range(2):
        assert here(*LIMIT).code == 0
    before = (here.root / ".promptkit" / FILE).read_bytes()
    for name in ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_FULL"):
        fail(here.root, sqlite_error(name))
        assert [line.split()[0] for line in here("runs", "list").out.splitlines()] == ["run", "2", "1"]
        assert "accuracy" in here("runs", "show", "1").out
        assert here("runs", "compare", "1", "2").code == 0
        assert len(here("runs", "export", "1", "--jsonl", "-").out.splitlines()) == 4
    assert (here.root / ".promptkit" / FILE).read_bytes() == before


def test_what_a_killed_process_left_in_the_log_is_read_too(
    here: Here, fail: Callable[[Path, Exception], None], tmp_path: Path
) -> None:
    here(*LIMIT)
    with Store.open(here.root / ".promptkit") as kept:
        kept.begin_run("eval", "mood", model={"reference": "m", "digest": ""}, inputs={})
        assert (here.root / ".promptkit" / f"{FILE}-wal").stat().st_size
        shutil.copytree(here.root / ".promptkit", tmp_path / "killed")
    shutil.rmtree(here.root / ".promptkit")
    shutil.copytree(tmp_path / "killed", here.root / ".promptkit")
    fail(here.root, sqlite_error("SQLITE_CANTOPEN"))
    assert [line.split()[0] for line in here("runs", "list").out.splitlines()] == ["run", "2", "1"]


def test_a_run_of_a_project_that_cannot_be_written_is_kept_in_the_users_folder_with_what_was_there(
    here: Here, cache: Path, fail: Callable[[Path, Exception], None]
) -> None:
    here(*LIMIT)
    fail(here.root, sqlite_error("SQLITE_CANTOPEN"))

    ran = here("eval", "mood", "--limit", "3")

    (folder,) = (cache / "stores").iterdir()
    assert f"this is kept in {folder}" in " ".join(ran.err.split())
    assert "4 of 6 cells cached" in ran.out
    assert "run 2" in here("runs", "show", "2").out
    assert [line.split()[0] for line in here("runs", "list").out.splitlines()] == ["run", "2", "1"]


def test_a_run_that_can_be_kept_nowhere_has_no_number_and_is_not_offered_to_be_shown(
    here: Here, cache: Path, fail: Callable[[Path, Exception], None]
) -> None:
    here(*LIMIT)
    for folder in (here.root, cache):
        fail(folder.parent, sqlite_error("SQLITE_CANTOPEN"))
    ran = here(*LIMIT)
    assert ran.code == 0
    assert "nothing of this is kept" in ran.err
    assert "runs show" not in ran.err
    assert ran.out.startswith("mood  done")
    assert here(*LIMIT, "--json").json["run"] is None


def test_nothing_can_be_written_to_a_store_that_is_only_read(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with Store.open_to_read(tmp_path / FILE) as kept, pytest.raises(StoreFailed, match="can only be read"):
        kept.begin_run("eval", "mood", model={})
