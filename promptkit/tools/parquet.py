"""Parquet files, read by DuckDB in a worker process. DuckDB may open this one file and nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from promptkit.tools.tables import distinct_names, stored_cell

_PATTERN_SIGNS: Final = frozenset("*?[")
_SETTINGS: Final = {
    "threads": 1,
    "memory_limit": "400MB",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}
_INTEGERS: Final = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_REALS: Final = ("FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class ParquetTable:
    """An open Parquet file: its columns with their types in SQLite, and the number of its rows."""

    columns: dict[str, str]
    rows: int
    _cursor: Any

    def batches(self, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in lists of a size, with cells as SQLite takes them."""
        while rows := self._cursor.fetchmany(size):
            yield [tuple(map(_cell, row)) for row in rows]


@contextmanager
def read_parquet(path: str) -> Iterator[ParquetTable]:
    """Open a Parquet file. Raises ValueError with one line for a person."""
    import duckdb

    if not _PATTERN_SIGNS.isdisjoint(path):
        raise ValueError("the path of a Parquet file may not hold * ? [")
    connection = duckdb.connect(":memory:", config=_SETTINGS)
    try:
        connection.execute("SET allowed_paths = [?]", [path])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        (rows,) = connection.execute("SELECT count(*) FROM read_parquet(?)", [path]).fetchone()
        cursor = connection.execute("SELECT * FROM read_parquet(?)", [path])
        yield ParquetTable(_columns(cursor.description), rows, cursor)
    except duckdb.Error as error:
        # A message of DuckDB holds the path.
        raise ValueError(f"it is damaged ({type(error).__name__})") from None
    finally:
        connection.close()


def _columns(description: Sequence[Sequence[Any]]) -> dict[str, str]:
    names = distinct_names(column[0] for column in description)
    return {name: _kind(str(column[1])) for name, column in zip(names, description, strict=True)}


def _kind(kind: str) -> str:
    if kind in _INTEGERS:
        return "INTEGER"
    return "REAL" if kind.startswith(_REALS) else "TEXT COLLATE NOCASE"


def _cell(cell: Any) -> Any:
    match cell:
        case bytes() | str():
            return cell if isinstance(cell, bytes) else stored_cell(cell)
        case Decimal():
            return float(cell)
        case datetime.datetime():
            return cell.isoformat(" ")
        case datetime.date() | datetime.time():
            return cell.isoformat()
    return stored_cell(cell)
