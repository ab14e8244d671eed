"""Model-written SQL over a table: read-only, in a copy, bounded in time and size."""

from __future__ import annotations

import asyncio
import math
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from promptkit.tools.tables import Table

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
# GLOB goes back without end in one step, which no clock can stop; LIKE is replaced.
_REFUSED_FUNCTIONS = {"load_extension", "fts3_tokenizer", "glob"}
_LONGEST_CELL = 100_000
_STEPS = 10_000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 500,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 100,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


class QueryFailed(ValueError):
    """A query that is wrong, forbidden, or takes too much; the message is one line."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a query gives: its columns as the query names them, and its rows, as null, numbers and texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


async def run_query(
    table: Table,
    sql: str,
    *,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    seconds: float = 5.0,
    most_rows: int = 10_000,
    most_characters: int = 10_000_000,
) -> Selection:
    """Return what one SELECT gives over a table, called `w`, with a `row_id` that counts its rows from 0.

    Names may stand in double quotes, backticks or brackets; names and texts compare without regard to case. A column
    whose cells are all numbers compares as numbers. `functions` are called by the query, in a thread, with any count
    of arguments. Raises QueryFailed.
    """
    query = _Query(table, sql, dict(functions or {}), seconds, most_rows, most_characters)
    try:
        return await asyncio.to_thread(query.run)
    except asyncio.CancelledError:
        query.stopped.set()
        raise


class _Query:
    def __init__(
        self,
        table: Table,
        sql: str,
        functions: Mapping[str, Callable[..., Any]],
        seconds: float,
        most_rows: int,
        most_characters: int,
    ) -> None:
        self._table = table
        self._sql = sql
        self._functions = functions
        self._seconds = seconds
        self._most_rows = most_rows
        self._most_characters = most_characters
        self._end = math.inf
        self.stopped = threading.Event()

    def run(self) -> Selection:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            try:
                connection.deserialize(self._table.database)
                self._bound(connection)
                self._end = time.monotonic() + self._seconds
                return self._read(connection.execute(self._sql))
            except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
                if isinstance(error, QueryFailed):
                    raise
                raise QueryFailed(self._message(error)) from None

    def _bound(self, connection: sqlite3.Connection) -> None:
        """Leave a query nothing but reading, and no more than its share."""
        for limit, most in _LIMITS.items():
            connection.setlimit(limit, most)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(_LONGEST_CELL, self._table.longest))
        connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, len(self._table.columns) + 101)
        connection.create_function("like", 2, _like, deterministic=True)
        connection.create_function("like", 3, _like, deterministic=True)
        for name, function in self._functions.items():
            connection.create_function(name, -1, function)
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(self._is_over, _STEPS)

    def _read(self, cursor: sqlite3.Cursor) -> Selection:
        if cursor.description is None:
            raise QueryFailed("the query selects nothing: it must be one SELECT")
        left = self._most_characters
        rows: list[tuple[Any, ...]] = []
        for row in cursor:
            if len(rows) == self._most_rows:
                raise QueryFailed(f"the query gives more than {self._most_rows:,} rows")
            left -= sum(len(cell) if isinstance(cell, str | bytes) else 8 for cell in row)
            if left < 0:
                raise QueryFailed("the query gives too much text")
            rows.append(tuple(_plain(cell) for cell in row))
        return Selection(tuple(column[0] for column in cursor.description), tuple(rows))

    def _is_over(self) -> bool:
        return self.stopped.is_set() or time.monotonic() > self._end

    def _message(self, error: BaseException) -> str:
        text = " ".join(str(error).split())
        if text == "interrupted":
            return f"the query took longer than {self._seconds:g} seconds"
        if text in ("not authorized", "authorization denied") or text.endswith(" is prohibited"):
            return "the query may only read the table w"
        if "one statement at a time" in text:
            return "the query must be one statement"
        if isinstance(error, UnicodeError):
            return "the query holds half a character (a lone surrogate)"
        return text[:300] or type(error).__name__


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action == sqlite3.SQLITE_READ:
        # A count of rows reads no column, of a sub-query neither.
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


def _like(pattern: Any, text: Any, escape: str = "") -> bool | None:
    """Say whether a text fits a pattern of LIKE; case does not count, not even beyond ASCII."""
    if pattern is None or text is None:
        return None
    return _like_expression(str(pattern), escape).fullmatch(str(text)) is not None


@lru_cache(maxsize=256)
def _like_expression(pattern: str, escape: str) -> re.Pattern[str]:
    parts = [""]
    signs = iter(pattern)
    for sign in signs:
        if sign == escape:
            parts[-1] += re.escape(next(signs, ""))
        elif sign == "%":
            parts.append("")
        else:
            parts[-1] += "." if sign == "_" else re.escape(sign)
    first, *others = parts
    if others:
        # The first place that fits is the best for each part, so nothing is tried again.
        first += "".join(f"(?>.*?{part})" for part in others[:-1]) + f".*{others[-1]}"
    return re.compile(first, re.DOTALL | re.IGNORECASE)
