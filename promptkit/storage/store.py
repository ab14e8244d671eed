"""The store of a project: answers to requests, runs with their calls and cells, and what `try` remembers."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from promptkit.errors import InputError, StoreFailed, place
from promptkit.storage.batches import Batches
from promptkit.storage.cells import Cells
from promptkit.storage.database import Database
from promptkit.storage.owners import Owner, bury, is_alive
from promptkit.storage.tunings import Tunings

FILE = "store.db"
GIGABYTE = 1_000_000_000

# When an answer was used is noted to the hour, and for many answers at once: finding one must not cost a write.
_USE_SECONDS = 3600
_USES_AT_ONCE = 500
_EVICTED_AT_ONCE = 10

_REFERENCE = re.compile(r"last(?:~([0-9]{1,9}))?|([0-9]{1,18})")
_RUN_COLUMNS = "number, kind, target, status, model, inputs, started, ended, record"


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of anything. `status` is `running` until the run ended; `record` is empty until then."""

    number: int
    kind: str
    target: str
    status: str
    model: Mapping[str, Any]
    inputs: Any
    started: float
    ended: float | None
    record: Mapping[str, Any]


class Store:
    """One SQLite file that several processes may use at once. Use it from any thread.

    A write that returned is on disk in the sense of process death. Every method raises StoreFailed. Records must be
    JSON; a cached value is any text.
    """

    def __init__(self, database: Database, cache_size: int) -> None:
        self._database = database
        self._cache_size = cache_size
        self._used: set[str] = set()
        self._owner = Owner()
        self._cells = Cells(database, self._owner)
        self._tunings = Tunings(database)
        self._batches = Batches(database)

    @classmethod
    def open(cls, folder: Path, *, cache_size: int = GIGABYTE) -> Self:
        """Open the store in `folder`, making both where missing; `cache_size` bounds the cached answers in bytes."""
        _make_folder(folder)
        return cls(Database(folder / FILE), cache_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def cells(self) -> Cells:
        """The cells of evaluations."""
        return self._cells

    @property
    def tunings(self) -> Tunings:
        """What tunings leave for later ones."""
        return self._tunings

    @property
    def batches(self) -> Batches:
        """The rows of batches."""
        return self._batches

    def cached(self, key: str) -> str | None:
        """Return what was kept under `key`."""
        rows = self._database.read("select value from answers where key = ?", (key,))
        if not rows:
            return None
        self._used.add(key)
        if len(self._used) >= _USES_AT_ONCE:
            self._note_use()
        value: bytes = rows[0][0]
        return value.decode("utf-8", "surrogatepass")

    async def keep(self, key: str, value: str) -> None:
        """Keep `value` under `key`, in place of what was there; returns once it is on disk."""
        await asyncio.wrap_future(self.keep_all({key: value}))

    def keep_all(self, values: Mapping[str, str]) -> Future[None]:
        """Keep values by their keys; the future is done once they are on disk. What is written later is there later."""
        # As bytes: a model may answer with half characters, which SQLite's text does not take.
        now = _now()
        rows = [(key, value.encode("utf-8", "surrogatepass"), now) for key, value in values.items()]

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "insert into answers values (?, ?, ?)"
                " on conflict (key) do update set value = excluded.value, used = excluded.used",
                rows,
            )
            self._evict(connection)

        return self._database.write(change)

    def begin_run(self, kind: str, target: str, *, model: Mapping[str, Any], inputs: Any = None) -> int:
        """Begin a run (kind: run, batch, eval, tune) and return its number."""
        row = (kind, target, "running", _json(model), _json(inputs), time.time(), None, "{}")

        def change(connection: sqlite3.Connection) -> int | None:
            number = connection.execute("insert into runs values (null, ?, ?, ?, ?, ?, ?, ?, ?)", row).lastrowid
            self._owner.sign(connection, beats=False)
            connection.execute("insert into running values (?, ?)", (number, self._owner.number))
            return number

        number = self._database.write(change).result()
        assert number is not None
        return number

    def update_run(self, run: int, record: Mapping[str, Any]) -> None:
        """Set what a run has given so far; it goes on."""
        self._execute("update runs set record = ? where number = ?", (_json(record), run))

    def end_run(self, run: int, status: str, record: Mapping[str, Any]) -> None:
        """Set how a run ended and what it gave."""
        row = (status, _json(record), time.time(), run)

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("update runs set status = ?, record = ?, ended = ? where number = ?", row)
            connection.execute("delete from running where run = ?", (run,))

        self._database.write(change).result()

    def close_dead_runs(self) -> list[int]:
        """End, as `interrupted`, the runs whose process is gone, and return their numbers. They keep their records."""
        if not self._database.read("select 1 from running limit 1"):
            return []
        return self._database.write(_close_dead_runs).result()

    async def save_call(self, run: int, call: Mapping[str, Any]) -> None:
        """Add one call to a run; returns once it is on disk."""
        row = (run, _json(call))
        await asyncio.wrap_future(
            self._database.write(
                lambda connection: connection.execute("insert into calls (run, call) values (?, ?)", row)
            )
        )

    def calls(self, run: int) -> list[dict[str, Any]]:
        """Return the calls of a run in the order in which they were saved."""
        rows = self._database.read("select call from calls where run = ? order by number", (run,))
        return [json.loads(call) for (call,) in rows]

    def run(
        self,
        reference: str,
        *,
        kind: str | Collection[str] | None = None,
        target: str | None = None,
        status: str | None = None,
    ) -> Run | None:
        """Return the run that `reference` names: a number, `last` or `last~N` among those that fit the filters.

        `kind` is one kind, or several of which any will do.

        Raises InputError for a reference that is none of these.
        """
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise InputError(f"`{reference}` names no run", hint="write its number, `last` or `last~1`")
        back, number = match.groups()
        filters = {"number": number and int(number), "kind": kind, "target": target, "status": status}
        found = self._runs(filters, limit=1, offset=int(back or 0))
        return found[0] if found else None

    def runs(self, *, kind: str | None = None, target: str | None = None, limit: int = 50) -> list[Run]:
        """Return the latest runs, newest first."""
        return self._runs({"kind": kind, "target": target}, limit=limit, offset=0)

    def remember(self, target: str, case: str, record: Mapping[str, Any]) -> None:
        """Keep the last result of a pinned case of `target`."""
        self._execute(
            "insert into cases values (?, ?, ?) on conflict (target, name) do update set record = excluded.record",
            (target, case, _json(record)),
        )

    def remembered(self, target: str, case: str) -> dict[str, Any] | None:
        """Return the last result of a pinned case."""
        rows = self._database.read("select record from cases where target = ? and name = ?", (target, case))
        return json.loads(rows[0][0]) if rows else None

    def close(self) -> None:
        """Write what waits, give back what is claimed, and close the file. May be called twice."""
        if self._used:
            self._note_use()
        if self._owner.is_known:
            # Nobody waits for it: where it fails, the claims are free once this process is gone.
            self._owner.is_known = False
            self._database.write(self._owner.leave)
        self._owner.forget()
        self._database.close()

    def _execute(self, sql: str, parameters: tuple[Any, ...]) -> None:
        self._database.write(lambda connection: connection.execute(sql, parameters)).result()

    def _runs(self, filters: Mapping[str, Any], *, limit: int, offset: int) -> list[Run]:
        given = {column: value for column, value in filters.items() if value is not None}
        wanted = {column: [value] if isinstance(value, str | int) else list(value) for column, value in given.items()}
        tests = (f"{column} in ({','.join('?' * len(values))})" for column, values in wanted.items())
        rows = self._database.read(
            f"select {_RUN_COLUMNS} from runs where {' and '.join(['true', *tests])}"
            " order by number desc limit ? offset ?",
            (*(value for values in wanted.values() for value in values), limit, offset),
        )
        return [_run(row) for row in rows]

    def _note_use(self) -> None:
        used, self._used = self._used, set()
        now = _now()
        rows = [(now, key, now - _USE_SECONDS) for key in used]
        # Nobody waits for it: where it fails, an answer only looks older than it is.
        self._database.write(
            lambda connection: connection.executemany("update answers set used = ? where key = ? and used < ?", rows)
        )

    def _evict(self, connection: sqlite3.Connection) -> None:
        while connection.execute("select bytes from answers_size").fetchone()[0] > self._cache_size:
            oldest = "select rowid from answers order by used limit ?"
            removed = connection.execute(f"delete from answers where rowid in ({oldest})", (_EVICTED_AT_ONCE,))
            if not removed.rowcount:
                return


def _close_dead_runs(connection: sqlite3.Connection) -> list[int]:
    owners = connection.execute("select distinct owner from running").fetchall()
    dead = [owner for (owner,) in owners if not is_alive(connection, owner)]
    closed = []
    for owner in dead:
        closed += [run for (run,) in connection.execute("select run from running where owner = ?", (owner,))]
        connection.execute("delete from running where owner = ?", (owner,))
        bury(connection, owner)
    connection.executemany(
        "update runs set status = 'interrupted', ended = ? where number = ?", [(time.time(), run) for run in closed]
    )
    return sorted(closed)


def _run(row: tuple[Any, ...]) -> Run:
    number, kind, target, status, model, inputs, started, ended, record = row
    return Run(number, kind, target, status, json.loads(model), json.loads(inputs), started, ended, json.loads(record))


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _now() -> int:
    return int(time.time())


def _make_folder(folder: Path) -> None:
    """Make the folder of a store, hidden from git."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise StoreFailed(f"the store {place(folder)} cannot be made: {error.strerror or error}") from error
