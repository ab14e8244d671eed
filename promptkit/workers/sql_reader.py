"""Queries in SQL that a model wrote, over a table or over database files: in a worker process, read-only, bounded in
size.

Time is bounded from outside. No Python code runs during a query: SQLite calls the authorizer while it prepares it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, Literal
from urllib.parse import quote

_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_REFUSED_FUNCTIONS: Final = {"load_extension", "fts3_tokenizer"}
_TABLE_FUNCTIONS: Final = ("json_each", "json_tree")
_LONGEST_CELL: Final = 100_000
LONGEST_FILE_CELL: Final = 50_000_000
"""The largest cell of a database file that a query may read, in bytes."""
_MOST_FILE_COLUMNS: Final = 2_000
_SHORTEST_CUT: Final = 20
_BUSY_SECONDS: Final = 1.0
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
    with _connection("the table w") as connection:
        connection.deserialize(database)
        _bound(connection, max(_LONGEST_CELL, longest), columns, ("w",))
        return _rows(connection.execute(sql), most_rows, most_characters)


def read_databases(
    databases: Sequence[tuple[str, str, str]], sql: str, most_rows: int, most_characters: int, most_counted: int
) -> dict[str, Any]:
    """Return the `columns` and the first `rows` of one SELECT over database files, and the `count` of its rows.

    A database is its name, its file and the parameters of its URI. Rows are counted up to `most_counted`. A cell is cut
    at a tenth of `most_characters`, in a wide row earlier. Raises ValueError with one line for a person.
    """
    with opened_databases(databases) as connection:
        tables = {(schema, *table) for schema, _, _ in databases for table in tables_of(connection, schema)}
        _open_virtual(connection, [(schema, name) for schema, name, kind in tables if kind == "virtual"])
        _bound(connection, LONGEST_FILE_CELL, _MOST_FILE_COLUMNS, [name for _, name, _ in tables])
        return _first_rows(connection.execute(sql), most_rows, most_characters, most_counted)


@contextmanager
def opened_databases(databases: Sequence[tuple[str, str, str]]) -> Iterator[sqlite3.Connection]:
    """Open database files, each under its name. Raises ValueError with one line for a person."""
    with _connection("the tables, by one SELECT") as connection:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        for name, path, parameters in databases:
            connection.execute(f"ATTACH ? AS {quoted(name)}", (f"file:{quote(path)}?{parameters}",))
        yield connection


TableKind = Literal["table", "view", "virtual", "shadow"]
"""`virtual`: a table of a module, such as a full-text index, which keeps its data in tables that are `shadow`."""


def tables_of(connection: sqlite3.Connection, schema: str) -> list[tuple[str, TableKind]]:
    """Return the names of a database's tables and views, each with its kind, without SQLite's own."""
    found = connection.execute(
        f"SELECT name, type, sql LIKE 'CREATE VIRTUAL %' FROM {quoted(schema)}.sqlite_master "
        "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
    ).fetchall()
    shadows = tuple(f"{name}_" for name, _, is_virtual in found if is_virtual)
    return [
        (name, "virtual" if is_virtual else "shadow" if name.startswith(shadows) else kind)
        for name, kind, is_virtual in found
    ]


def _open_virtual(connection: sqlite3.Connection, tables: Sequence[tuple[str, str]]) -> None:
    """Use virtual tables once, since the authorizer refuses the declaration of their columns at the first use."""
    connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
    for schema, name in tables:
        with suppress(sqlite3.Error):
            connection.execute(f"SELECT 1 FROM {quoted(schema)}.{quoted(name)} LIMIT 0")


def quoted(name: str) -> str:
    """Return a name in double quotes, as it can stand in SQL."""
    return '"' + name.replace('"', '""').replace("\0", "") + '"'


@contextmanager
def _connection(readable: str) -> Iterator[sqlite3.Connection]:
    """Open an empty database in memory. Raises ValueError; `readable` says what a query may read."""
    options = {"isolation_level": None, "timeout": _BUSY_SECONDS, "uri": True}
    with closing(sqlite3.connect(":memory:", **options)) as connection:  # type: ignore[call-overload]
        try:
            connection.execute(f"PRAGMA hard_heap_limit = {_HEAP_BYTES}")
            yield connection
        except (sqlite3.Error, sqlite3.Warning, UnicodeError, OverflowError) as error:
            raise ValueError(_message(error, readable)) from None


def _bound(connection: sqlite3.Connection, longest: int, columns: int, tables: Collection[str]) -> None:
    """Restrict a query to reading some tables, and to its share of memory."""
    connection.execute("PRAGMA temp_store = MEMORY")  # sorting uses no file, and counts as memory
    connection.execute("PRAGMA query_only = TRUE")
    for limit, most in _LIMITS.items():
        connection.setlimit(limit, most)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
    connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, columns + 101)
    connection.set_authorizer(_authorizer(tables))


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


def _first_rows(cursor: sqlite3.Cursor, most_rows: int, most_characters: int, most_counted: int) -> dict[str, Any]:
    if cursor.description is None:
        raise ValueError("the query selects nothing: it must be one SELECT")
    columns = [column[0] for column in cursor.description]
    longest = max(_SHORTEST_CUT, min(most_characters // 10, most_characters // len(columns)))
    left, count = most_characters, 0
    rows: list[list[Any]] = []
    for count, row in enumerate(cursor, start=1):
        if len(rows) == count - 1 < most_rows and left > 0:
            cells = [_shown(cell, longest) for cell in row]
            left -= sum(len(cell) if isinstance(cell, str) else 8 for cell in cells)
            rows.append(cells)
        if count == most_counted:
            break
    return {"columns": columns, "rows": rows, "count": count}


def _shown(cell: Any, most: int) -> Any:
    if isinstance(cell, bytes):
        return f"<{len(cell):,} bytes>"
    return f"{cell[:most]}…" if isinstance(cell, str) and len(cell) > most else _plain(cell)


def _message(error: BaseException, readable: str) -> str:
    text = " ".join(str(error).split())
    refused = ("not authorized", "authorization denied")
    if text in refused or text.endswith(" is prohibited") or text.startswith("vtable constructor failed"):
        return f"the query may only read {readable}"
    if text.startswith("not authorized to use function: "):
        return f"the query may not call {text.rpartition(' ')[2]}"
    if text == "database is locked":
        return "another program has locked the database: try again when it is done"
    if "one statement at a time" in text:
        return "the query must be one statement"
    if isinstance(error, UnicodeError):
        return "the query holds half a character (a lone surrogate)"
    return text[:300] or type(error).__name__


def _authorizer(tables: Collection[str]) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    readable = {name.lower() for name in (*tables, *_TABLE_FUNCTIONS)}

    def authorize(action: int, first: str | None, second: str | None, _database: str | None, _view: str | None) -> int:
        if action == sqlite3.SQLITE_READ:
            # Counting rows reads no column, also of a sub-query.
            allowed = (first or "").lower() in readable or not second
        elif action == sqlite3.SQLITE_FUNCTION:
            allowed = (second or "").lower() not in _REFUSED_FUNCTIONS
        elif action == sqlite3.SQLITE_PRAGMA:
            allowed = first == "data_version" and not second  # a full-text index asks it
        else:
            allowed = action in _ALLOWED
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return authorize


def _plain(cell: Any) -> Any:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
