"""Stores of every released version open with today's code and hold what they held."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from promptkit.errors import StoreFailed
from promptkit.storage import database
from promptkit.storage.cells import CellRecord
from promptkit.storage.store import Store
from tests.storage.failing import FailingConnection

DUMPS = sorted((Path(__file__).parent / "data").glob("store-*.sql"))


def unpacked(dump: Path, folder: Path) -> Path:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        connection.executescript(dump.read_text())
    return folder


def tables(folder: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        names = connection.execute("select name from sqlite_master where type = 'table' order by name").fetchall()
        return [(name, connection.execute(f"select count(*) from {name}").fetchone()[0]) for (name,) in names]


def key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def test_the_files_kept_are_as_many_as_the_versions() -> None:
    assert [dump.stem for dump in DUMPS] == [f"store-{number + 1}" for number in range(len(database.MIGRATIONS))]


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
def test_a_store_of_each_released_version_is_read_and_written(tmp_path: Path, dump: Path) -> None:
    with Store.open(unpacked(dump, tmp_path / "store")) as store:
        assert store.cached("key") == '{"text":"é"}'
        run = store.run("1")
        assert run is not None
        assert (run.target, run.record) == ("feedback", {"output": {"mood": "good"}})
        assert store.calls(run.number) == [{"name": "vanilla"}]
        assert store.remembered("feedback", "mixed") == {"output": 1}
        asyncio.run(store.keep("new", "1"))
        store.end_run(store.begin_run("eval", "sentiment", model={}), "done", {})
        assert store.cells.claim([key("new")]) == {key("new")}


@pytest.mark.parametrize("dump", DUMPS[1:], ids=lambda dump: dump.stem)
def test_the_cells_of_a_store_are_found_in_their_run(tmp_path: Path, dump: Path) -> None:
    with Store.open(unpacked(dump, tmp_path / "store")) as store:
        assert {name: cell.number for name, cell in store.cells.find([key(name) for name in "abcd"]).items()} == {
            key("a"): 1,
            key("d"): 2,
            key("b"): 3,
        }
        assert key("b") not in store.cells.find([key("b")], errors=False)
        cells = list(store.cells.of_run(2))
        assert [(cell.variant, cell.row, cell.number) for cell in cells] == [
            ("short", 1, 1),
            ("thinking", 1, 3),
            ("short", 2, 2),
        ]
        assert cells[0].outcome == '{"output":"good","flag":""}'
        assert cells[0].scores == '{"accuracy":[1.0,{},""]}'
        assert cells[0].fields == '{"text":"é","expect":"good"}'
        assert [store.cells.trace(number) for number in (1, 2, 3)] == [
            b'{"name":"mood","value":"good"}',
            b'{"name":"mood","value":"gut"}',
            None,
        ]
        assert store.cells.kept_scores([1], "judge:{}") == {1: '[0.5,{},""]'}
        # What was claimed there is of another machine, and long silent.
        assert store.close_dead_runs() == [2]
        assert store.cells.claim([key("c")]) == {key("c")}
        again = CellRecord(
            variant="short", row=3, repeat=0, key=key("a"), row_key=key("row"), fields="", scores="{}", number=1
        )
        assert asyncio.run(store.cells.save(2, [again])) == [1]


@pytest.mark.parametrize("dump", DUMPS[2:], ids=lambda dump: dump.stem)
def test_a_store_knows_the_splits_and_verdicts_of_earlier_tunings(tmp_path: Path, dump: Path) -> None:
    with Store.open(unpacked(dump, tmp_path / "store")) as store:
        assert store.tunings.split("evals/sentiment.yaml") == (3, 0.6)
        assert store.tunings.ordinal(b"\x01", b"\x02") == 1
        assert store.tunings.ordinal(b"\x01", b"\x03") == 2


@pytest.mark.parametrize("dump", DUMPS[:-1], ids=lambda dump: dump.stem)
@pytest.mark.parametrize("failure", [sqlite3.OperationalError("disk I/O error"), KeyboardInterrupt()], ids=repr)
def test_a_migration_that_dies_at_any_statement_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dump: Path, failure: BaseException
) -> None:
    real = database.connect
    for statement in range(1, 200):
        folder = unpacked(dump, tmp_path / str(statement))
        before = tables(folder)
        countdown = [statement]
        with monkeypatch.context() as patch:
            patch.setattr(
                database, "connect", lambda path, left=countdown: FailingConnection(real(path), left, failure)
            )
            try:
                Store.open(folder).close()
            except (StoreFailed, KeyboardInterrupt):
                assert tables(folder) == before
            else:
                break
        Store.open(folder).close()
        assert set(before) - set(tables(folder)) == set()
    assert statement > len(database.MIGRATIONS[-1])


@pytest.mark.attack("disk")
@pytest.mark.parametrize("dump", DUMPS[:-1], ids=lambda dump: dump.stem)
def test_an_old_store_on_a_full_disk_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dump: Path
) -> None:
    folder = unpacked(dump, tmp_path / "store")
    before = tables(folder)
    real = database.connect

    def small(path: Path) -> sqlite3.Connection:
        connection = real(path)
        connection.execute("pragma max_page_count = 1")  # SQLite takes it as the pages that there are.
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(database, "connect", small)
        with pytest.raises(StoreFailed, match="full") as caught:
            Store.open(folder)
    assert "free space" in (caught.value.hint or "")
    assert tables(folder) == before
    Store.open(folder).close()
