"""Whatever fails while cells are saved, the store is whole, says what to do, and goes on where it stood."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from promptkit.errors import StoreFailed
from promptkit.storage import database
from promptkit.storage.cells import CellRecord
from promptkit.storage.key_index import make_tails
from promptkit.storage.store import Store
from tests.storage.failing import FailingConnection

ROWS = range(1, 7)


def key(row: int) -> bytes:
    return row.to_bytes(16, "big")


def trace_of(row: int) -> bytes:
    return b'{"messages":"' + b"You are a support analyst. " * 40 + b'%d"}' % row


def placed(row: int, number: int | None = None) -> CellRecord:
    return CellRecord(
        variant="even" if row % 2 == 0 else "odd",
        row=row,
        repeat=0,
        key=key(row),
        row_key=key(row),
        fields=str(row),
        scores="{}",
        outcome=str(row) if number is None else None,
        trace=trace_of(row) if number is None else None,
        number=number,
    )


def evaluate(folder: Path, saved: list[int]) -> None:
    """An eval in small: what is kept is placed, the rest claimed and saved in two groups; `saved` is acknowledged."""
    with Store.open(folder) as store:
        store.close_dead_runs()
        run = store.begin_run("eval", "t", model={})
        store.cells.name_variants(run, ["odd", "even"])
        kept = store.cells.find([key(row) for row in ROWS])
        asyncio.run(store.cells.save(run, [placed(row, kept[key(row)].number) for row in ROWS if key(row) in kept]))
        missing = [row for row in ROWS if key(row) not in kept]
        assert store.cells.claim([key(row) for row in missing]) == {key(row) for row in missing}
        store.cells.refresh()
        for some in (missing[:3], missing[3:]):
            numbers = asyncio.run(store.cells.save(run, [placed(row) for row in some]))
            saved += some
            asyncio.run(store.cells.keep_scores("judge", dict.fromkeys(numbers, "[1]")))
        store.update_run(run, {"rows": len(ROWS)})
        assert [cell.row for cell in store.cells.of_run(run)] == list(ROWS)
        store.cells.release([key(99)])
        store.end_run(run, "done", {"rows": len(ROWS)})


def check_nothing_is_half(folder: Path, saved: list[int], *, ended: bool = False) -> set[bytes]:
    """Check that a store is whole and, where `ended`, that its last run is done. Return the keys of its cells."""
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert connection.execute("pragma foreign_key_check").fetchall() == []
    with Store.open(folder) as store:
        found = store.cells.find([key(row) for row in ROWS])
        # The groups are saved whole: none, the first, or both.
        assert len(found) in (0, 3, 6)
        assert {key(row) for row in saved} <= found.keys()
        for row in ROWS:
            if key(row) in found:
                assert found[key(row)].outcome == str(row)
                assert store.cells.trace(found[key(row)].number) == trace_of(row)
        for run in store.runs():
            assert {cell.number for cell in store.cells.of_run(run.number)} <= {cell.number for cell in found.values()}
        if ended:
            statuses = [run.status for run in store.runs()]
            assert statuses[0] == "done"
            assert "running" not in statuses
    return set(found)


def full() -> sqlite3.Error:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


FAILURES = (full(), OSError(errno.EIO, "Input/output error"), KeyboardInterrupt())


@pytest.mark.attack("disk")
@pytest.mark.parametrize(
    ("failures", "late"),
    [(FAILURES[:1], False), (FAILURES[1:], False), (FAILURES[:1], True)],
    ids=["disk full", "input/output error or ctrl-C", "failed although done"],
)
def test_whichever_statement_fails_no_cell_is_half_and_the_next_try_asks_only_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: Sequence[BaseException], late: bool
) -> None:
    """Of two failures each meets every second statement, which is the same to both but for what is raised."""
    real = database.connect
    for statement in range(1, 1000):
        folder = tmp_path / str(statement)
        countdown = [statement]
        saved: list[int] = []
        failure = failures[statement % len(failures)]

        def failing(path: Path, left: list[int] = countdown, raised: BaseException = failure) -> FailingConnection:
            return FailingConnection(real(path), left, raised, late=late)

        with monkeypatch.context() as patch:
            patch.setattr(database, "connect", failing)
            try:
                evaluate(folder, saved)
            except StoreFailed as error:
                assert "store.db" in str(error)
                assert isinstance(failure, OSError) or "free space" in (error.hint or "")
            except KeyboardInterrupt:
                assert isinstance(failure, KeyboardInterrupt)
            else:
                # The last statements take back what was claimed: nobody waits for them.
                if countdown[0] > 0:
                    break
        kept = check_nothing_is_half(folder, saved)
        again: list[int] = []
        evaluate(folder, again)
        assert again == [row for row in ROWS if key(row) not in kept]
        check_nothing_is_half(folder, list(ROWS), ended=True)
        shutil.rmtree(folder)
    assert statement > 60


@pytest.mark.attack("disk")
def test_a_full_disk_keeps_every_cell_that_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = database.connect

    def small(path: Path) -> sqlite3.Connection:
        connection = real(path)
        connection.execute("pragma max_page_count = 60")
        return connection

    saved: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(database, "connect", small)
        with Store.open(tmp_path) as store, pytest.raises(StoreFailed, match="full") as caught:
            run = store.begin_run("eval", "t", model={})
            for start in range(0, 10_000, 10):
                asyncio.run(store.cells.save(run, [placed(row) for row in range(start, start + 10)]))
                saved += range(start, start + 10)
        assert "free space" in (caught.value.hint or "")
    assert saved
    with Store.open(tmp_path) as store:
        cells = list(store.cells.of_run(run))
        assert [cell.row for cell in cells] == saved
        assert all(store.cells.trace(cell.number) == trace_of(cell.row) for cell in cells)
        more = saved[-1] + 1
        asyncio.run(store.cells.save(run, [placed(more)]))
        assert [cell.row for cell in store.cells.of_run(run)] == [*saved, more]


@pytest.mark.attack("disk")
def test_a_file_that_may_not_grow_keeps_every_cell_that_was_saved(tmp_path: Path) -> None:
    program = """
        import asyncio, sys
        from pathlib import Path
        from promptkit.errors import StoreFailed
        from promptkit.storage.store import Store
        from tests.storage.test_cells_failing import limit_files, placed
        with Store.open(Path(sys.argv[1])) as store:
            run = store.begin_run("eval", "t", model={})
            limit_files(400_000)
            try:
                for row in range(100_000):
                    asyncio.run(store.cells.save(run, [placed(row)]))
                    print(row, flush=True)
            except StoreFailed as error:
                print(error.hint)
            limit_files(resource.RLIM_INFINITY)
    """
    program = "import resource\n" + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    *saved, hint = done.stdout.splitlines()
    assert hint.startswith("free space")
    with Store.open(tmp_path) as store:
        rows = [cell.row for cell in store.cells.of_run(1)]
        assert rows[: len(saved)] == [int(row) for row in saved] == list(range(len(saved)))
        assert len(rows) <= len(saved) + 1
    check_whole(tmp_path)


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def check_whole(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def fill(folder: Path) -> None:
    with Store.open(folder) as store:
        run = store.begin_run("eval", "t", model={})
        asyncio.run(store.cells.save(run, [placed(row) for row in range(1, 200)]))


@pytest.mark.attack("store")
def test_a_broken_file_is_refused_with_the_way_out_and_left_as_it_is(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "store.db"
    broken = b"\xff" * 100 + path.read_bytes()[100:]
    path.write_bytes(broken)
    with pytest.raises(StoreFailed, match=r"store\.db") as caught:
        Store.open(tmp_path)
    assert f"mv {path}" in (caught.value.hint or "")
    assert path.read_bytes() == broken


@pytest.mark.attack("store")
def test_broken_pages_are_refused_with_the_way_out(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("pragma page_size").fetchone()
        # The tables' definitions stay, and let the file open.
        roots = connection.execute("select rootpage from sqlite_master where rootpage").fetchall()
    data = bytearray(path.read_bytes())
    for (root,) in roots:
        data[(root - 1) * size : root * size] = b"\xff" * size
    path.write_bytes(data)
    store = Store.open(tmp_path)
    calls = [
        lambda: store.cells.find([key(1)]),
        lambda: store.cells.claim([key(1)]),
        lambda: list(store.cells.of_run(1)),
        lambda: store.cells.trace(1),
        lambda: asyncio.run(store.cells.save(1, [placed(1)])),
        store.close_dead_runs,
    ]
    for call in calls:
        with pytest.raises(StoreFailed, match=r"store\.db") as caught:
            call()
        assert "mv " in (caught.value.hint or "")
    store.close()


@pytest.fixture
def not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    fill(tmp_path)

    def reading(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        make_tails(connection)
        return connection

    monkeypatch.setattr(database, "connect", reading)
    with Store.open(tmp_path) as store:
        yield store


def test_a_store_that_cannot_be_written_is_read_and_says_what_to_do(not_writable: Store) -> None:
    assert not_writable.cells.find([key(1)])[key(1)].outcome == "1"
    for call in (
        lambda: not_writable.cells.claim([key(1)]),
        lambda: asyncio.run(not_writable.cells.save(1, [placed(1)])),
    ):
        with pytest.raises(StoreFailed, match=r"store\.db") as caught:
            call()
        assert "writable" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    (tmp_path / "store" / "store.db").chmod(0o400)
    (tmp_path / "store").chmod(0o500)
    try:
        with pytest.raises(StoreFailed, match="store") as caught:
            evaluate(tmp_path / "store", [])
        assert "writable" in (caught.value.hint or "")
    finally:
        (tmp_path / "store").chmod(0o700)
