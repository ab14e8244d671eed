"""The store of a project: cached replies, runs with their calls, rows and cells, splits, verdicts and pinned cases."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from promptkit.errors import DamagedRecord, InputError, StoreFailed
from promptkit.storage.cached_replies import CachedReplies
from promptkit.storage.cells import Cells
from promptkit.storage.database import Database, Owner, forget_owner, is_alive
from promptkit.storage.files import PRIVATE_FOLDER, check_writable, create_private, make_folder, write_atomic
from promptkit.storage.records import Damage, check_shape, read_json, read_record
from promptkit.storage.shapes import BatchRowShape, RunShape, SplitShape
from promptkit.storage.strict_json import compact

FILE = "store.db"
GIGABYTE = 1_000_000_000
CALLS_AT_ONCE = 500

_REFERENCE = re.compile(r"last(?:~([0-9]{1,9}))?|([0-9]{1,18})")
_RUN_COLUMNS = "number, kind, target, status, model, inputs, started, ended, record"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of any kind. `status` is `running`, and `record` empty, until it ends."""

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

    A finished write survives the death of the process; a store that `is_temporary` does not. Every method raises
    StoreFailed. Records must be JSON; a cached value is any text.
    """

    def __init__(self, database: Database, cache_size: int) -> None:
        self.is_temporary = False
        self._database = database
        self._answers = CachedReplies(database, cache_size)
        self._owner = Owner()
        self._cells = Cells(database, self._owner)
        self._tunings = Tunings(database)
        self._batches = Batches(database)

    @classmethod
    def open(cls, folder: Path, *, cache_size: int = GIGABYTE) -> Self:
        """Open the store in `folder`, making both where missing, with permissions for their owner only.

        `cache_size` bounds the cached replies in bytes.
        """
        make_store_folder(folder)
        for ending in ("", "-wal", "-shm", "-journal"):  # SQLite's files
            check_writable(folder / f"{FILE}{ending}")
        with suppress(StoreFailed):  # the database says it better
            create_private(folder / FILE)
        return cls(Database(folder / FILE), cache_size)

    @classmethod
    def open_to_read(cls, file: Path) -> Self:
        """Open the file of a store that nobody writes, as on a read-only disk; nothing can be kept in it."""
        return cls(Database(file, read_only=True), GIGABYTE)

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
    def path(self) -> Path:
        """The store's file."""
        return self._database.path

    @property
    def damage(self) -> Damage:
        """The damaged records that were met and left out."""
        return self._database.damage

    @property
    def tunings(self) -> Tunings:
        """Splits and verdicts that tuning runs keep for later ones."""
        return self._tunings

    @property
    def batches(self) -> Batches:
        """The rows of batches."""
        return self._batches

    def cached(self, key: str) -> str | None:
        """Return the value kept under `key`; a damaged one counts as not there, so that it is asked again."""
        return self._answers.find(key)

    async def keep(self, key: str, value: str) -> None:
        """Keep `value` under `key`, replacing an earlier one; returns once it is on disk."""
        await asyncio.wrap_future(self._answers.keep({key: value}))

    def keep_all(self, values: Mapping[str, str]) -> Future[None]:
        """Keep values by their keys; the future is done once they are on disk. Later writes follow in order."""
        return self._answers.keep(values)

    def begin_run(self, kind: str, target: str, *, model: Mapping[str, Any], inputs: Any = None) -> int:
        """Begin a run (kind: run, batch, eval, tune) and return its number."""
        row = (kind, target, "running", compact(model), compact(inputs), time.time(), None, "{}")

        def change(connection: sqlite3.Connection) -> int | None:
            number = connection.execute("insert into runs values (null, ?, ?, ?, ?, ?, ?, ?, ?)", row).lastrowid
            self._owner.sign(connection, beats=False)
            connection.execute("insert into running values (?, ?)", (number, self._owner.number))
            return number

        number = self._database.write(change).result()
        assert number is not None
        return number

    def update_run(self, run: int, record: Mapping[str, Any]) -> None:
        """Set the record of a run that goes on."""
        self._execute("update runs set record = ? where number = ?", (compact(record), run))

    def end_run(self, run: int, status: str, record: Mapping[str, Any]) -> None:
        """End a run with a status and its record."""
        row = (status, compact(record), time.time(), run)

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("update runs set status = ?, record = ?, ended = ? where number = ?", row)
            connection.execute("delete from running where run = ?", (run,))

        self._database.write(change).result()

    def close_dead_runs(self) -> list[int]:
        """End the runs of dead processes as `interrupted`, and return their numbers. They keep their records."""
        if self._database.read_only or not self._database.read("select 1 from running limit 1"):
            return []
        return self._database.write(_close_dead_runs).result()

    async def save_calls(self, run: int, calls: Iterable[Mapping[str, Any]]) -> None:
        """Add calls to a run, in their order; returns once they are on disk."""
        waiting = iter(calls)
        while rows := [(run, compact(call)) for call in islice(waiting, CALLS_AT_ONCE)]:
            await asyncio.wrap_future(self._database.write(partial(_add_calls, rows)))

    def calls(self, run: int) -> list[dict[str, Any]]:
        """Return the calls of a run in the order in which they were saved; damaged ones are left out."""
        found: list[dict[str, Any]] = []
        rows = self._database.read("select number, call from calls where run = ? order by number", (run,))
        for number, call in rows:
            with self.damage.skipping():
                found.append(read_record(call, dict[str, Any], f"calls {number}"))
        return found

    def run(
        self,
        reference: str,
        *,
        kind: str | Collection[str] | None = None,
        target: str | None = None,
        status: str | None = None,
    ) -> Run | None:
        """Return the run that `reference` names: a number, `last` or `last~N`, among those that match the filters.

        `kind` is one kind or several. `last` skips damaged runs. Raises InputError for
        a reference that is none of these, and DamagedRecord for the number of a damaged run.
        """
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise InputError(f"`{reference}` names no run", hint="write its number, `last` or `last~1`")
        back, number = match.groups()
        filters = {"number": number and int(number), "kind": kind, "target": target, "status": status}
        if number:
            rows = self._run_rows(filters, limit=1)
            return _run(rows[0]) if rows else None
        found = self._runs(filters, limit=1, offset=int(back or 0))
        return found[0] if found else None

    def runs(self, *, kind: str | None = None, target: str | None = None, limit: int = 50) -> list[Run]:
        """Return the latest runs, newest first; damaged ones are left out."""
        return self._runs({"kind": kind, "target": target}, limit=limit, offset=0)

    def remember(self, target: str, case: str, record: Mapping[str, Any]) -> None:
        """Keep the last result of a pinned case of `target`."""
        self._execute(
            "insert into cases values (?, ?, ?) on conflict (target, name) do update set record = excluded.record",
            (target, case, compact(record)),
        )

    def remembered(self, target: str, case: str) -> dict[str, Any] | None:
        """Return the last result of a pinned case; a damaged one counts as not there."""
        for (record,) in self._database.read("select record from cases where target = ? and name = ?", (target, case)):
            with self.damage.skipping():
                return read_record(record, dict[str, Any], f"cases {target} {case}")
        return None

    def close(self) -> None:
        """Finish all writes, release the claims, and close the file. May be called twice."""
        self._answers.note_use()
        if self._owner.is_known:
            # Nobody waits for it: if it fails, the claims are free once this process is gone.
            self._owner.is_known = False
            self._database.write(self._owner.leave)
        self._owner.forget()
        self._database.close()

    def _execute(self, sql: str, parameters: tuple[Any, ...]) -> None:
        self._database.write(lambda connection: connection.execute(sql, parameters)).result()

    def _runs(self, filters: Mapping[str, Any], *, limit: int, offset: int) -> list[Run]:
        """Return the readable runs that match the filters, newest first; `offset` counts damaged ones too."""
        found: list[Run] = []
        while len(found) < limit and (rows := self._run_rows(filters, limit=limit - len(found), offset=offset)):
            offset += len(rows)
            for row in rows:
                with self.damage.skipping():
                    found.append(_run(row))
        return found

    def _run_rows(self, filters: Mapping[str, Any], *, limit: int, offset: int = 0) -> list[tuple[Any, ...]]:
        given = {column: value for column, value in filters.items() if value is not None}
        accepted = {column: [value] if isinstance(value, str | int) else list(value) for column, value in given.items()}
        tests = (f"{column} in ({','.join('?' * len(values))})" for column, values in accepted.items())
        return self._database.read(
            f"select {_RUN_COLUMNS} from runs where {' and '.join(['true', *tests])}"
            " order by number desc limit ? offset ?",
            (*(value for values in accepted.values() for value in values), limit, offset),
        )


def _add_calls(rows: Sequence[tuple[int, str]], connection: sqlite3.Connection) -> None:
    connection.executemany("insert into calls (run, call) values (?, ?)", rows)


def _close_dead_runs(connection: sqlite3.Connection) -> list[int]:
    owners = connection.execute("select distinct owner from running").fetchall()
    dead = [owner for (owner,) in owners if not is_alive(connection, owner)]
    closed = []
    for owner in dead:
        closed += [run for (run,) in connection.execute("select run from running where owner = ?", (owner,))]
        connection.execute("delete from running where owner = ?", (owner,))
        forget_owner(connection, owner)
    connection.executemany(
        "update runs set status = 'interrupted', ended = ? where number = ?", [(time.time(), run) for run in closed]
    )
    return sorted(closed)


def _run(row: tuple[Any, ...]) -> Run:
    """Return a run from its columns. Raises DamagedRecord."""
    number, kind, target, status, model, inputs, started, ended, record = row
    columns = {"kind": kind, "target": target, "status": status, "started": started, "ended": ended}
    for name, kept in (("model", model), ("inputs", inputs), ("record", record)):
        columns[name] = read_json(kept, f"runs {number}, `{name}`")
    return Run(number=number, **check_shape(columns, RunShape, f"runs {number}"))


def make_store_folder(folder: Path) -> None:
    """Make the folder of a store, private and hidden from git, where it is missing. Raises StoreFailed."""
    if not folder.is_dir():
        make_folder(folder)
        with suppress(OSError):  # a file system without permissions keeps its own
            folder.chmod(PRIVATE_FOLDER)
        write_atomic(folder / ".gitignore", "*\n")


_READ_AT_ONCE = 100
"""Rows in one query: a row holds its whole trace, so not all are held in memory."""


class Batches:
    """Rows of runs, each a JSON record under its number. Use it from any thread; every method raises StoreFailed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, run: int, row: int, record: Mapping[str, Any], *, failed: bool) -> None:
        """Keep a row of a run; returns once it is on disk."""
        values = (run, row, failed, zlib.compress(compact(record).encode("ascii"), 1))
        await asyncio.wrap_future(
            self._database.write(
                lambda connection: connection.execute("insert into batch_rows values (?, ?, ?, ?)", values)
            )
        )

    def count(self, run: int) -> tuple[int, int]:
        """Return the number of stored rows of a run, and of failed ones among them."""
        sql = "select count(*), coalesce(sum(failed), 0) from batch_rows where run = ?"
        rows, failed = self._database.read(sql, (run,))[0]
        return rows, failed

    def row(self, run: int, row: int) -> dict[str, Any] | None:
        """Return a row of a run, None where it is not stored. Raises DamagedRecord."""
        found = self._database.read("select record from batch_rows where run = ? and row = ?", (run, row))
        return read_batch_row(found[0][0], f"batch_rows {run} {row}") if found else None

    def rows(self, run: int, *, failed: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the rows of a run with their numbers, in order; with `failed` only those that failed.

        Damaged rows are left out.
        """
        sql = (
            "select row, record from batch_rows where run = ? and row > ? and failed >= ? order by row"
            f" limit {_READ_AT_ONCE}"
        )
        last = 0
        while found := self._database.read(sql, (run, last, failed)):
            for last, record in found:
                with self._database.damage.skipping():
                    yield last, read_batch_row(record, f"batch_rows {run} {last}")


def read_batch_row(kept: object, where: str) -> dict[str, Any]:
    """Return the record of a row from its column. `where` names the row. Raises DamagedRecord."""
    try:
        text = zlib.decompress(kept)  # type: ignore[arg-type]
    except (zlib.error, TypeError) as error:
        raise DamagedRecord(where, f"it cannot be unpacked ({error})") from None
    return dict(read_record(text, BatchRowShape, where))


class Tunings:
    """Splits and verdicts. Use it from any thread; every method raises StoreFailed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def split(self, suite: str) -> tuple[int, float] | None:
        """Return the salt and the share of a suite's split, None before its first tuning.

        A damaged split counts as not there.
        """
        for row in self._database.read("select salt, share from splits where suite = ?", (suite,)):
            with self._database.damage.skipping():
                return check_shape(row, SplitShape, f"splits {suite}")
        return None

    def keep_split(self, suite: str, salt: int, share: float) -> None:
        """Keep the split of a suite's rows from now on."""
        sql = "insert or replace into splits values (?, ?, ?)"
        self._database.write(lambda connection: connection.execute(sql, (suite, salt, share))).result()

    def ordinal(self, rows: bytes, pair: bytes) -> int:
        """Return and keep the ordinal (from 1) of a pair of candidates among the verdicts on the same held-out rows.

        `rows` and `pair` are hashes. The same pair always has the same ordinal.
        """

        def change(connection: sqlite3.Connection) -> int:
            known = connection.execute(
                "select ordinal from verdicts where rows = ? and pair = ?", (rows, pair)
            ).fetchone()
            if known is not None and isinstance(known[0], int):
                return known[0]
            (last,) = connection.execute(
                "select coalesce(max(ordinal), 0) from verdicts where rows = ? and typeof(ordinal) = 'integer'", (rows,)
            ).fetchone()
            connection.execute("insert or replace into verdicts values (?, ?, ?)", (rows, pair, last + 1))
            return int(last) + 1

        return self._database.write(change).result()
