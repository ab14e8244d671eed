"""Files of tables, CSV, TSV, JSONL, JSON, Parquet and SQLite: which tables and columns they hold.

Parquet and SQLite are read in a worker process, because their readers are in C and the files may be anyone's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from promptkit.errors import InputError, MissingExtra
from promptkit.storage.files import Stamp, open_file
from promptkit.storage.rows import Row, read_rows
from promptkit.tools.parquet import read_parquet
from promptkit.tools.tables import distinct_names, numeric_cell, stored_cell, typed_column
from promptkit.workers.process import WorkFailed, run_in_worker_blocking
from promptkit.workers.sql_reader import TableKind, opened_databases, quoted, tables_of

Format = Literal["text", "parquet", "sqlite"]

FORMATS: Final[Mapping[str, Format]] = {
    ".csv": "text",
    ".tsv": "text",
    ".jsonl": "text",
    ".json": "text",
    ".parquet": "parquet",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}
"""The formats by the endings of their files."""

PREVIEW_ROWS: Final = 5_000
PREVIEW_CHARACTERS: Final = 1_000_000
"""The first rows of a text file decide the types of its columns: so many, of so many characters."""

_SAMPLES: Final = 3
_SAMPLED_ROWS: Final = 20
_MOST_COUNTED: Final = 1_000_000
_MOST_TABLES: Final = 100
_MOST_COLUMNS: Final = 2_000
_DESCRIBE_SECONDS: Final = 10.0
_MAGIC: Final = {"sqlite": b"SQLite format 3\0", "parquet": b"PAR1"}
_CALLED: Final = {"sqlite": "an SQLite database", "parquet": "a Parquet file"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its type in SQL (empty where its cells differ), and some of its values."""

    name: str
    kind: str
    samples: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class FileTable:
    """A table of a file. `rows` is how many it has, None if that is not known; with `has_more` there are others."""

    name: str
    columns: tuple[Column, ...]
    rows: int | None
    has_more: bool = False


@lru_cache(maxsize=200)
def describe_file(path: Path, name: str, stamp: Stamp | None) -> tuple[FileTable, ...]:
    """Return the tables of a file: those of a database, else one called `name`.

    `stamp` is the file's, by which it is read again only after a change. Blocks, for Parquet and SQLite up to 10
    seconds. Raises InputError, without a place, for a file that is not what its ending says, that has no rows, or
    that needs an optional package.
    """
    kind = FORMATS[path.suffix.lower()]
    if kind == "text":
        preview = preview_rows(path)
        return (FileTable(name, preview.columns, preview.rows, not preview.is_whole),)
    with open_file(path) as file:
        if file.read(len(_MAGIC[kind])) != _MAGIC[kind]:
            raise InputError(f"`{path.name}` is not {_CALLED[kind]}")
    if kind == "parquet" and find_spec("duckdb") is None:
        missing = MissingExtra(f"`{path.name}`: reading Parquet", "sql")
        raise InputError(missing.message, hint=missing.hint)
    try:
        if kind == "parquet":
            found = run_in_worker_blocking(_parquet_table, str(path), name, seconds=_DESCRIBE_SECONDS)
        else:
            database = (name, str(path), uri_parameters(path))
            found = run_in_worker_blocking(_database_tables, database, seconds=_DESCRIBE_SECONDS)
    except (ValueError, WorkFailed) as error:
        raise InputError(f"`{path.name}` cannot be read: {error}") from None
    if not found:
        raise InputError(f"`{path.name}` has no tables")
    return tuple(
        FileTable(table, tuple(Column(column, kind, tuple(values)) for column, kind, values in columns), rows, more)
        for table, columns, rows, more in found
    )


def uri_parameters(path: Path) -> str:
    """Return the parameters with which an SQLite file is opened to read it without making files beside it."""
    with open_file(path) as file:
        has_log_format = file.read(20)[18:] == b"\2\2"
    has_log = path.with_name(f"{path.name}-wal").is_file()
    return "mode=ro&immutable=1" if has_log_format and not has_log else "mode=ro"


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows of a text file: its columns, their names by those in the file, and whether these are all rows."""

    columns: tuple[Column, ...]
    names: Mapping[str, str]
    rows: int
    is_whole: bool


def preview_rows(path: Path) -> Preview:
    """Read the first rows of a text file. Raises InputError, without a place, for wrong rows and for none."""
    rows: list[Row] = []
    characters, is_whole = 0, True
    for row in rows_of(path):
        if len(rows) == PREVIEW_ROWS or characters > PREVIEW_CHARACTERS:
            is_whole = False
            break
        rows.append(row)
        characters += sum(len(cell) if isinstance(cell, str) else 10 for cell in row.values())
    if not rows:
        raise InputError(f"`{path.name}` has no rows")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    check_width(path.name, len(keys))
    names = dict(zip(keys, distinct_names(keys), strict=True))
    columns = (_previewed([row.get(key) for row in rows], name, is_whole) for key, name in names.items())
    return Preview(tuple(columns), names, len(rows), is_whole)


def check_width(file: str, columns: int) -> None:
    """Raise InputError, without a place, for a file with more columns than a table of SQLite may have."""
    if columns > _MOST_COLUMNS:
        raise InputError(f"`{file}` has more than {_MOST_COLUMNS:,} columns")


def _previewed(cells: list[Any], name: str, is_whole: bool) -> Column:
    kind, stored = typed_column(cells)
    if not is_whole and all(numeric_cell(cell) is None for cell in stored):
        kind = ""  # all blank so far: each later cell is what it looks like
    return Column(name, kind, _samples(stored))


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a text file. Raises InputError, without a place, after the last right one."""
    try:
        yield from read_rows(path)
    except InputError as error:
        wrong = error.problems[0]
        line = f" line {wrong.line}" if wrong.line else ""
        raise InputError(f"`{path.name}`{line}: {wrong.message}", hint=wrong.hint) from None


def _samples(cells: Iterable[Any]) -> tuple[Any, ...]:
    """Return some values, all different, without blanks."""
    found: dict[Any, None] = {}
    for cell in cells:
        if cell is not None and cell != "":
            found[cell] = None
        if len(found) == _SAMPLES:
            break
    return tuple(found)


_DescribedTable = tuple[str, list[tuple[str, str, list[Any]]], int | None, bool]
"""A table as JSON: its name, its columns (name, type, values), and how many rows it has, or at least has."""


def _parquet_table(path: str, name: str) -> list[_DescribedTable]:
    """Describe a Parquet file. Raises ValueError. Runs in a worker."""
    with read_parquet(path) as parquet:
        first = next(parquet.batches(_SAMPLED_ROWS), [])
        cells = list(zip(*first, strict=True)) or [()] * len(parquet.columns)
        columns = [
            (column, kind, list(_samples(map(_shown, values))))
            for (column, kind), values in zip(parquet.columns.items(), cells, strict=True)
        ]
        return [(name, columns, parquet.rows, False)]


def _database_tables(database: tuple[str, str, str]) -> list[_DescribedTable]:
    """Describe the tables and views of an SQLite file. Raises ValueError. Runs in a worker."""
    schema = database[0]
    found: list[_DescribedTable] = []
    with opened_databases([database]) as connection:
        tables = [table for table in tables_of(connection, schema) if table[1] != "shadow"]
        for name, kind in tables[:_MOST_TABLES]:
            # A view may be wrong, and a virtual table of a module that is not here.
            with suppress(*([] if kind == "table" else [sqlite3.Error])):
                found.append(_database_table(connection, schema, name, kind))
    return found


def _database_table(connection: sqlite3.Connection, schema: str, name: str, kind: TableKind) -> _DescribedTable:
    columns = connection.execute(f"PRAGMA {quoted(schema)}.table_info({quoted(name)})").fetchall()
    if kind == "view":  # its rows may cost anything
        return name, [(column[1], column[2], []) for column in columns], None, False
    table = f"{quoted(schema)}.{quoted(name)}"
    rows = connection.execute(f"SELECT * FROM {table} LIMIT {_SAMPLED_ROWS}").fetchall()
    counted = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {_MOST_COUNTED + 1})"
    (count,) = connection.execute(counted).fetchone()
    described = [
        (column[1], column[2], list(_samples(_shown(row[place]) for row in rows)))
        for place, column in enumerate(columns)
    ]
    return name, described, min(count, _MOST_COUNTED), count > _MOST_COUNTED


def _shown(cell: Any) -> Any:
    return None if isinstance(cell, bytes) else stored_cell(cell)
