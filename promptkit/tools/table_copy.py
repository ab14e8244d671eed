"""The copy of text and Parquet files in one SQLite file, which queries read. It is kept for as long as it is used."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from promptkit.errors import InputError
from promptkit.storage.files import create_private, make_folder
from promptkit.storage.hashes import content_key
from promptkit.storage.rows import Row
from promptkit.tools.parquet import read_parquet
from promptkit.tools.table_files import FORMATS, check_width, preview_rows, rows_of
from promptkit.tools.tables import distinct_names, numeric_cell, stored_cell
from promptkit.workers.process import WorkFailed, run_in_worker
from promptkit.workers.sql_reader import quoted

_VERSION: Final = 1
"""Of what a copy holds: after a change here all copies are made anew."""
_BATCH_ROWS: Final = 2_000
_MOST_KEPT: Final = 10
"""Copies that are kept, those that were used last."""
_ABANDONED_SECONDS: Final = 3_600.0
_LEAST_SECONDS: Final = 30.0
_BYTES_IN_A_SECOND: Final = 1_000_000
_LARGEST: Final = 4_000_000_000
"""The bytes of the files, and of their copy."""
_PAGE_BYTES: Final = 4_096
_LOCKS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()
"""A lock for each event loop, so that calls that run concurrently make a copy once."""


async def copied_tables(files: Sequence[tuple[str, Path, str]], folder: Path) -> Path:
    """Return the SQLite file in `folder` with copies of files; each is a table's name, a path and a content's digest.

    It is made where it is missing, in a worker process. Raises ValueError with one line for a person, also where that
    takes too long or too much memory, and StoreFailed where it cannot be written.
    """
    parts = (f"{table}\0{path.suffix.lower()}\0{digest}" for table, path, digest in files)
    key = content_key("\n".join([str(_VERSION), *parts])).hex()
    target = folder / f"{key}.db"
    async with _LOCKS.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        if target.is_file():
            with suppress(OSError):
                target.touch()
        else:
            await _copy(files, target)
    return target


async def _copy(files: Sequence[tuple[str, Path, str]], target: Path) -> None:
    folder = target.parent
    size = sum(path.stat().st_size for _, path, _ in files)
    if size > _LARGEST:
        raise ValueError(f"the tables are larger than {_LARGEST // 10**9} GB")
    make_folder(folder)
    _remove_old(folder)
    unfinished = folder / f"{secrets.token_hex(8)}.tmp"
    create_private(unfinished)
    try:
        sources = [(table, str(path)) for table, path, _ in files]
        seconds = _LEAST_SECONDS + size / _BYTES_IN_A_SECOND
        await run_in_worker(copy_tables, str(unfinished), sources, seconds=seconds)
        os.replace(unfinished, target)
    except WorkFailed as failed:
        raise ValueError(f"reading the tables {failed}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _remove_old(folder: Path) -> None:
    """Remove all copies but those that were used last, and what killed processes have left."""
    with suppress(OSError):
        used = sorted(folder.glob("*.db"), key=lambda path: -path.stat().st_mtime)
        begun = [path for path in folder.glob("*.tmp") if path.stat().st_mtime < time.time() - _ABANDONED_SECONDS]
        for path in (*used[_MOST_KEPT - 1 :], *begun):
            path.unlink()


def copy_tables(target: str, sources: Sequence[tuple[str, str]]) -> None:
    """Write tables, each a name and a file, to an empty SQLite file. Raises ValueError. Runs in a worker."""
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        # A small Parquet file may hold any number of rows.
        connection.execute(f"PRAGMA max_page_count = {_LARGEST // _PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        try:
            for table, path in sources:
                copy = _copy_parquet if FORMATS[Path(path).suffix.lower()] == "parquet" else _copy_text
                copy(connection, table, path)
        except InputError as error:
            raise ValueError(error.problems[0].message) from None
        except sqlite3.Error as error:
            raise ValueError(f"the tables cannot be copied: {error}") from None
        connection.execute("COMMIT")


def _copy_parquet(connection: sqlite3.Connection, table: str, path: str) -> None:
    with read_parquet(path) as parquet:
        check_width(Path(path).name, len(parquet.columns))
        _create(connection, table, parquet.columns)
        insert = f"INSERT INTO {quoted(table)} VALUES ({', '.join('?' * len(parquet.columns))})"
        for batch in parquet.batches(_BATCH_ROWS):
            connection.executemany(insert, batch)


def _copy_text(connection: sqlite3.Connection, table: str, path: str) -> None:
    preview = preview_rows(Path(path))
    names = dict(preview.names)
    kinds = {column.name: column.kind for column in preview.columns}
    _create(connection, table, kinds)
    for batch in _batches(rows_of(Path(path))):
        keys = list(dict.fromkeys(key for row in batch for key in row if key not in names))
        check_width(Path(path).name, len(names) + len(keys))
        for key, name in zip(keys, distinct_names([*names.values(), *keys])[len(names) :], strict=True):
            names[key], kinds[name] = name, ""
            connection.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(name)}")
        columns = (_stored([row.get(key) for row in batch], kinds[name]) for key, name in names.items())
        insert = f"INSERT INTO {quoted(table)} VALUES ({', '.join('?' * len(names))})"
        connection.executemany(insert, zip(*columns, strict=True))


def _stored(cells: list[Any], kind: str) -> list[Any]:
    if kind.startswith("TEXT"):
        return list(map(stored_cell, cells))
    return [numeric_cell(stored_cell(cell)) for cell in cells]


def _create(connection: sqlite3.Connection, table: str, columns: dict[str, str]) -> None:
    declared = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
    connection.execute(f"CREATE TABLE {quoted(table)} ({declared})")


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch
