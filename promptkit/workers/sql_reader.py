"""Queries over a table in SQL that a model wrote: in a worker process, read-only, on a copy, bounded in size.

Time is bounded from outside. No Python code runs during a query: SQLite calls the authorizer while it prepares it.
"""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from typing import Any, Final

_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_REFUSED_FUNCTIONS: Final = {"load_extension", "fts3_tokenizer"}
_LONGEST_CELL: Final = 100_000
_HEAP_BYTES: Final = 2**29
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 500,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 10_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


def read_table(
    database: bytes, sql: str, longest: int, columns: int, most_rows: int, most_characters: int
) -> dict[str, Any]:
    """Return the `columns` and `rows` of one SELECT over the table `w` of a database, as JSON.

    `longest` is the size of the largest cell of the table in bytes, `columns` the number of its columns. Raises
    ValueError with one line for a person.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            connection.execute(f"PRAGMA hard_heap_limit = {_HEAP_BYTES}")
            connection.deserialize(database)
            _bound(connection, longest, columns)
            return _rows(connection.execute(sql), most_rows, most_characters)
        except (sqlite3.Error, sqlite3.Warning, UnicodeError, OverflowError) as error:
            raise ValueError(_message(error)) from None


def _bound(connection: sqlite3.Connection, longest: int, columns: int) -> None:
    """Restrict a query to reading, and to its share of memory."""
    connection.execute("PRAGMA temp_store = MEMORY")  # sorting uses no file, and counts as memory
    connection.execute("PRAGMA query_only = TRUE")
    for limit, most in _LIMITS.items():
        connection.setlimit(limit, most)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(_LONGEST_CELL, longest))
    connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, columns + 101)
    connection.set_authorizer(_authorize)


def _rows(cursor: sqlite3.Cursor, most_rows: int, most_characters: int) -> dict[str, Any]:
    if cursor.description is None:
        raise ValueError("the query selects nothing: it must be one SELECT")
    left = most_characters
    rows: list[list[Any]] = []
    for row in cursor:
        if len(rows) == most_rows:
            raise ValueError(f"the query gives more than {most_rows:,} rows")
        left -= sum(len(cell) if isinstance(cell, str | bytes) else 8 for cell in row)
        if left < 0:
            raise ValueError("the query gives too much text")
        rows.append([_plain(cell) for cell in row])
    return {"columns": [column[0] for column in cursor.description], "rows": rows}


def _message(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if text in ("not authorized", "authorization denied") or text.endswith(" is prohibited"):
        return "the query may only read the table w"
    if "one statement at a time" in text:
        return "the query must be one statement"
    if isinstance(error, UnicodeError):
        return "the query holds half a character (a lone surrogate)"
    return text[:300] or type(error).__name__


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action == sqlite3.SQLITE_READ:
        # Counting rows reads no column, also of a sub-query.
        allowed = first == "w" or not second
    elif action == sqlite3.SQLITE_FUNCTION:
        allowed = (second or "").lower() not in _REFUSED_FUNCTIONS
    else:
        allowed = action in _ALLOWED
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _plain(cell: Any) -> Any:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
