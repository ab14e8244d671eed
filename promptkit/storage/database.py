"""One SQLite file that several processes share: reads at once, writes in groups on a thread of their own.

While one group is committed the next one gathers, so that a lone write waits for nothing and a crowd shares one
commit. Every writing transaction is immediate: one that reads first and then writes would fail as soon as
another process wrote in between, however long its timeout.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from promptkit.errors import StoreFailed, place
from promptkit.storage.kept import Damage
from promptkit.storage.key_index import make_tails
from promptkit.storage.migrations import MIGRATIONS, migrate, version

Result = TypeVar("Result")

BUSY_SECONDS = 30.0
PAGE_BYTES = 1_024
"""Of a new file. Each commit writes whole pages, and with a few requests in flight it holds a few hundred bytes."""

CACHE_KILOBYTES = 512
"""Of pages in memory, for each connection: those at the ends of the tables are all that is written or read again."""

CHECKPOINT_PAGES = 16_000
"""Pages of the write-ahead log (16 MB) after which they are put in their places, those that changed often once."""


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


class Database:
    """An open file, brought up to date. All that goes wrong with it is a StoreFailed that names it.

    `damage` are the records in it that were met and are not what promptkit writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = Damage()
        self._group: list[_Write] = []
        self._group_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._closed = False
        with self._mapped_errors():
            self._reader = connect(path)
            try:
                self._check_version()
                migrate(self._reader)
                self._writer = connect(path)
            except BaseException:
                self._reader.close()
                raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="promptkit-store")

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.look(lambda connection: connection.execute(sql, parameters).fetchall())

    def look(self, ask: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what `ask` finds on the reading connection, in several queries."""
        with self._read_lock, self._mapped_errors():
            return ask(self._reader)

    def write(self, change: Callable[[sqlite3.Connection], Result]) -> Future[Result]:
        """Run `change` in the next group; the future is done when it is on disk, or has the StoreFailed of its group.

        A change is run to its end even where nobody waits for it any more: what was paid for is kept.
        """
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
        """Write what waits, and close. May be called twice."""
        with self._group_lock:
            if self._closed:
                return
            self._closed = True
        self._thread.shutdown()
        with self._read_lock, self._mapped_errors():
            self._writer.close()
            self._reader.close()

    def _commit_group(self) -> None:
        with self._group_lock:
            group, self._group = self._group, []
        try:
            with self._mapped_errors():
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

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreFailed(f"the store {place(self.path)}: {error}", hint=self._advice(error)) from error
        except OSError as error:
            raise StoreFailed(f"the store {place(self.path)}: {error.strerror or error}") from error

    def _advice(self, error: sqlite3.Error) -> str | None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # The low byte names the kind of error.
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return move_away(self.path)
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return "free space on the disk, then run the same command again; what was finished is kept"
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return f"make the folder {place(self.path.parent)} and the file in it writable"
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return "another process has been writing for long; run the same command again"
        return None


def move_away(path: Path) -> str:
    """Return the way out of a file that SQLite cannot read."""
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
