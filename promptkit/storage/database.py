"""One SQLite file that several processes share: its tables, its owners, and writes in groups on a thread of their own.

While one group is committed the next one gathers, so that a lone write waits for nothing and a crowd shares one
commit. Every writing transaction is immediate: one that reads first and then writes would fail as soon as another
process wrote in between, however long its timeout.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from promptkit.errors import StoreFailed, place
from promptkit.storage.hashes import content_key
from promptkit.storage.key_index import make_tails
from promptkit.storage.records import Damage

Result = TypeVar("Result")

BUSY_SECONDS = 30.0
PAGE_BYTES = 1_024
"""Of a new file. A commit writes whole pages, and with a few requests in flight it holds a few hundred bytes."""

CACHE_KILOBYTES = 512
"""Of pages in memory, for each connection: only the ends of the tables are written or read again."""

CHECKPOINT_PAGES = 16_000
"""Pages of the write-ahead log (16 MB) before a checkpoint: pages that change often are then written once."""


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that begins no transaction by itself and may be used from any thread."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"pragma page_size = {PAGE_BYTES}")
        _write_ahead(connection)
        connection.execute("pragma synchronous = normal")
        connection.execute(f"pragma cache_size = -{CACHE_KILOBYTES}")
        connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
        make_tails(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection to a file that nobody writes, as on a read-only disk."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, check_same_thread=False)
    try:
        make_tails(connection)
    except BaseException:
        connection.close()
        raise
    return connection


class Database:
    """An open database file, migrated. Every error is a StoreFailed that names the file.

    `damage` collects the damaged records that were met. A `read_only` one is a file that nobody writes, up to date.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.damage = Damage()
        self._group: list[_Write] = []
        self._group_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._closed = False
        self._mapping_errors = _MappingErrors(path)
        with self._mapping_errors:
            self._reader = connect_to_read(path) if read_only else connect(path)
            try:
                self._check_version()
                if not read_only:
                    migrate(self._reader)
                self._writer = self._reader if read_only else connect(path)
            except BaseException:
                self._reader.close()
                raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="promptkit-store")

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.look(lambda connection: connection.execute(sql, parameters).fetchall())

    def look(self, ask: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return the result of `ask` on the reading connection, for several queries."""
        with self._read_lock, self._mapping_errors:
            return ask(self._reader)

    def write(self, change: Callable[[sqlite3.Connection], Result]) -> Future[Result]:
        """Run `change` in the next group; the future is done when it is on disk, or has the StoreFailed of its group.

        A change runs to its end even if nobody waits for it any more: paid work is kept.
        """
        if self.read_only:
            raise StoreFailed(f"the store {place(self.path)} can only be read")
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()
        with self._group_lock:
            if self._closed:
                raise StoreFailed(f"the store {place(self.path)} is closed")
            self._group.append((change, future))
            if len(self._group) == 1:
                self._thread.submit(self._commit_group)
        return future

    def close(self) -> None:
        """Finish all writes, and close. May be called twice."""
        with self._group_lock:
            if self._closed:
                return
            self._closed = True
        self._thread.shutdown()
        with self._read_lock, self._mapping_errors:
            self._writer.close()
            self._reader.close()

    def _commit_group(self) -> None:
        with self._group_lock:
            group, self._group = self._group, []
        try:
            with self._mapping_errors:
                results = self._transact([change for change, _ in group])
        except BaseException as error:
            for _, future in group:
                future.set_exception(error)
        else:
            for (_, future), result in zip(group, results, strict=True):
                future.set_result(result)

    def _transact(self, changes: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        self._writer.execute("begin immediate")
        try:
            results = [change(self._writer) for change in changes]
            self._writer.execute("commit")
        except BaseException:
            self._writer.rollback()
            raise
        return results

    def _check_version(self) -> None:
        if version(self._reader) > len(MIGRATIONS):
            raise StoreFailed(
                f"the store {place(self.path)} was written by a newer promptkit",
                hint="pip install --upgrade promptkit",
            )


class _MappingErrors:
    """A context manager that gives errors of SQLite and the system as StoreFailed, with the name of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise StoreFailed(f"the store {place(self._path)}: {error}", hint=self._advice(error)) from error
        if isinstance(error, OSError):
            raise StoreFailed(f"the store {place(self._path)}: {error.strerror or error}") from error

    def _advice(self, error: sqlite3.Error) -> str | None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # The low byte names the kind of error.
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return move_away(self._path)
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return "free space on the disk, then run the same command again; what was finished is kept"
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return f"make the folder {place(self._path.parent)} and the file in it writable"
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return "another process has been writing for long; run the same command again"
        return None


def move_away(path: Path) -> str:
    """Return the hint for a file that SQLite cannot read."""
    return f"move the file away and models are asked again: mv {path} {path}.broken"


_Write = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself where two processes do so at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


SILENT_SECONDS = 120.0

# The openings of this process: any other with our pid is from an earlier process.
_OURS: set[int] = set()


class Owner:
    """One opening of a store; its claims and runs end with it. The methods run inside a writing transaction.

    Its number is drawn and not counted up, so that a transaction that is rolled back does not change it.
    """

    def __init__(self) -> None:
        self.number = secrets.randbits(62)
        self.is_known = False
        _OURS.add(self.number)

    def sign(self, connection: sqlite3.Connection, *, beats: bool) -> None:
        """Register this opening. With `beats` it promises to sign again within SILENT_SECONDS."""
        seen = _now() if beats else None
        connection.execute(
            "insert into owners values (?, ?, ?, ?)"
            " on conflict (number) do update set seen = coalesce(excluded.seen, seen)",
            (self.number, os.getpid(), _host(), seen),
        )
        self.is_known = True

    def leave(self, connection: sqlite3.Connection) -> None:
        """Release all that this opening holds."""
        forget_owner(connection, self.number)

    def forget(self) -> None:
        """End this opening within the process."""
        _OURS.discard(self.number)


def is_alive(connection: sqlite3.Connection, number: int) -> bool:
    """Tell whether the process of an owner is alive.

    It is not where its pid on this host is gone, or after 120 seconds without a sign, which also catches a reused pid.
    """
    found = connection.execute("select pid, host, seen from owners where number = ?", (number,)).fetchone()
    if found is None:
        return False
    pid, host, seen = found
    if not isinstance(pid, int) or not isinstance(seen, float | int | None):
        return False  # damaged: nobody can be asked
    if host == _host() and (not _has_process(pid) or (pid == os.getpid() and number not in _OURS)):
        return False
    # A clock that was set back must not keep a claim forever.
    return seen is None or abs(_now() - seen) <= SILENT_SECONDS


def forget_owner(connection: sqlite3.Connection, number: int) -> None:
    """Release an owner's claims. Its runs stay: `Store.close_dead_runs` ends them."""
    connection.execute("delete from claims where owner = ?", (number,))
    connection.execute("delete from owners where number = ?", (number,))


def _now() -> float:
    return time.time()


def _host() -> str:
    """Return the name of the pid namespace: equal for two processes that see each other's pids."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space}".strip()


def _has_process(pid: int) -> bool:
    if os.name == "nt":
        return True  # Signal 0 is ctrl-C there; the time decides alone.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "create table answers (key text primary key, value blob not null, used integer not null)",
        "create index answers_by_use on answers (used)",
        # One row: the bytes of all answers, kept by the triggers, since a sum over all would read the whole table.
        "create table answers_size (bytes integer not null)",
        "insert into answers_size values (0)",
        """create trigger answer_added after insert on answers begin
             update answers_size set bytes = bytes + length(new.value); end""",
        """create trigger answer_removed after delete on answers begin
             update answers_size set bytes = bytes - length(old.value); end""",
        """create trigger answer_replaced after update of value on answers begin
             update answers_size set bytes = bytes + length(new.value) - length(old.value); end""",
        """create table runs (
             number integer primary key autoincrement, kind text not null, target text not null, status text not null,
             model text not null, inputs text not null, started real not null, ended real, record text not null)""",
        "create table calls (number integer primary key, run integer not null references runs, call text not null)",
        "create index calls_by_run on calls (run)",
        """create table cases (
             target text not null, name text not null, record text not null,
             primary key (target, name)) without rowid""",
    ),
    (
        # Openings of the store; `seen` is null for one that did not promise to come back.
        "create table owners (number integer primary key, pid integer not null, host text not null, seen real)",
        "create table running (run integer primary key references runs, owner integer not null)",
        "create table claims (key blob primary key, owner integer not null) without rowid",
        # Traces and rows stand apart, so that reading outcomes does not step over them.
        """create table cells (
             number integer primary key, key blob not null, failed integer not null, outcome blob not null)""",
        "create index cells_by_key on cells (key)",
        # `like` is the cell whose trace is needed to read this one; null where it is whole.
        "create table traces (cell integer primary key references cells, trace blob not null, like integer)",
        "create table data_rows (number integer primary key, key blob not null unique, fields blob not null)",
        """create table run_variants (
             run integer not null references runs, number integer not null, name text not null,
             primary key (run, number)) without rowid""",
        """create table run_cells (
             run integer not null references runs, row integer not null, variant integer not null,
             repeat integer not null, cell integer not null references cells,
             row_number integer not null references data_rows, scores blob not null,
             primary key (run, row, variant, repeat)) without rowid""",
        """create table scores (
             cell integer not null references cells, metric blob not null, score blob not null,
             primary key (cell, metric)) without rowid""",
    ),
    (
        "create table splits (suite text primary key, salt integer not null, share real not null) without rowid",
        """create table verdicts (
             rows blob not null, pair blob not null, ordinal integer not null,
             primary key (rows, pair)) without rowid""",
    ),
    (
        # Rows are found by the first bytes of their keys; `last` is the last row that is in its table's index.
        "create table indexed (source text primary key, last integer not null) without rowid",
        "create table new_answers (number integer primary key, key blob not null, value blob not null)",
        "insert into new_answers select null, key_hash(cast(key as blob)), value from answers order by used, rowid",
        # With its triggers: `cached_bytes` is counted where rows are put into the index.
        "drop table answers",
        "alter table new_answers rename to answers",
        "drop index cells_by_key",
        "create table new_data_rows (number integer primary key, key blob not null, fields blob not null)",
        "insert into new_data_rows select number, key, fields from data_rows",
        "drop table data_rows",
        "alter table new_data_rows rename to data_rows",
        *(
            statement
            for table in ("answers", "cells", "data_rows")
            for statement in (
                f"""create table {table}_index (
                      prefix blob not null, number integer not null, primary key (prefix, number)) without rowid""",
                f"insert into {table}_index select substr(key, 1, 8), number from {table} order by 1, 2",
                f"insert into indexed select '{table}', coalesce(max(number), 0) from {table}",
            )
        ),
        """create table batch_rows (
             run integer not null references runs, row integer not null, failed integer not null, record blob not null,
             primary key (run, row)) without rowid""",
    ),
)


def version(connection: sqlite3.Connection) -> int:
    """Return the number of migrations that a file has had."""
    return int(connection.execute("pragma user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to date in one transaction: a process that dies here leaves the old file."""
    if version(connection) >= len(MIGRATIONS):
        return
    connection.create_function("key_hash", 1, lambda key: content_key(key or b""), deterministic=True)
    connection.execute("begin immediate")
    try:
        for statements in MIGRATIONS[version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"pragma user_version = {len(MIGRATIONS)}")
        connection.execute("commit")
    except BaseException:
        connection.rollback()
        raise
