"""Parquet files, read by DuckDB in a worker process. DuckDB may open this one file and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from promptkit.tools.tables import distinct_names
from promptkit.workers.sql_reader import quoted

_PATTERN_SIGNS: Final = frozenset("*?[")
_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "threads": 1,
    "memory_limit": "400MB",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}
_INTEGERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_REALS: Final = ("FLOAT", "DOUBLE", "DECIMAL", "UBIGINT", "HUGEINT", "UHUGEINT")
_NESTED: Final = ("STRUCT", "MAP", "UNION")


@dataclass(frozen=True)
class ParquetTable:
    """An open Parquet file: its columns with their types in SQLite, and the number of its rows."""

    columns: dict[str, str]
    rows: int
    _cursor: Any

    def batches(self, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in lists of a size, with cells as SQLite takes them."""
        while rows := self._cursor.fetchmany(size):
            yield rows


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
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
        names = distinct_names(column[0] for column in described)
        columns = {name: _columns_type(column[1]) for name, column in zip(names, described, strict=True)}
        ((rows,),) = connection.execute("SELECT count(*) FROM read_parquet(?)", [path]).fetchall()
        selected = ", ".join(_selected(column[0], column[1]) for column in described)
        yield ParquetTable(columns, rows, connection.execute(f"SELECT {selected} FROM read_parquet(?)", [path]))
    except duckdb.Error as error:
        # A message of DuckDB holds the path.
        raise ValueError(f"it is damaged, or of a kind that is not known ({type(error).__name__})") from None
    finally:
        connection.close()


def _columns_type(kind: str) -> str:
    """Return the type in SQLite of a column that has a type in DuckDB."""
    if kind in (*_INTEGERS, "BOOLEAN"):
        return "INTEGER"
    if kind.startswith(_REALS) and not kind.endswith("]"):
        return "REAL"
    return "BLOB" if kind == "BLOB" else "TEXT COLLATE NOCASE"


def _selected(name: str, kind: str) -> str:
    """Return the expression by which DuckDB gives a column's cells as SQLite takes them."""
    column = quoted(name)
    if kind in (*_INTEGERS, "BLOB", "VARCHAR", "FLOAT", "DOUBLE"):
        return column
    if kind.endswith("]") or kind.startswith(_NESTED):
        return f"CAST(to_json({column}) AS VARCHAR)"
    target = {"INTEGER": "INTEGER", "REAL": "DOUBLE"}.get(_columns_type(kind), "VARCHAR")
    return f"CAST({column} AS {target})"
