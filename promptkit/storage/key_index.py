"""An index of rows by the hash in them, for tables that grow at the end only.

Hashes are random, so an index that takes each row at once writes a page for every row. Here many rows are indexed
together, in the order of their hashes. The rows that wait (the tail) are listed in a temporary table of each
connection, which takes part in its transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from promptkit.storage.hashes import PREFIX_BYTES

LEAST_ROWS: Final = 2_048
MOST_ROWS: Final = 32_768
SHARE: Final = 4
"""Rows that wait before they are indexed: a quarter of those in the index, within these bounds."""

FINDS_BETWEEN: Final = 32
"""Searches for single keys between two updates of the tail, which cost more than a search."""

MOST_NUMBER: Final = 2**62
"""The largest number that a row can have been given."""

_KEYS_AT_ONCE: Final = 512
TABLES: Final = ("answers", "cells", "data_rows")


class KeyIndex:
    """The index of a table `(number integer primary key, key blob, …)`.

    A new row has the number after `last`; a row that is not in the index yet must not be deleted.
    """

    def __init__(self, table: str) -> None:
        assert table in TABLES, "each connection has temporary tables for these"
        self._table = table
        self._finds = 0
        self._newest = (
            f"select number, {{}} from {table} where key = ?2 and number in ("
            f"select number from {table}_index where prefix = ?1"
            f" union all select number from temp.{table}_tail where prefix = ?1"
            f" union all select number from {table} where key = ?2"
            f" and number > (select last from temp.tails where source = '{table}')) order by number desc limit 1"
        )
        self._look = (
            "select (select last from indexed where source = ?),"
            f" (select coalesce(max(number), 0) from {table}), indexed, last from temp.tails where source = ?"
        )

    def find(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[int]:
        """Return the numbers of all rows that may have one of the keys, in order; compare the rows' own keys."""
        self._catch_up(connection)
        table, found = self._table, set[int]()
        for some in batches([key[:PREFIX_BYTES] for key in keys]):
            among = marks(some)
            query = (
                f"select number from {table}_index where prefix in ({among})"
                f" union all select number from temp.{table}_tail where prefix in ({among})"
            )
            found.update(number for (number,) in connection.execute(query, some + some))
        return sorted(found)

    def newest(self, connection: sqlite3.Connection, key: bytes, column: str) -> tuple[int, Any] | None:
        """Return the number and a column of the newest row of a key, in one statement; for one thread at a time.

        The few rows that were added since the tail was updated are read one by one.
        """
        if self._finds % FINDS_BETWEEN == 0:
            self._catch_up(connection)
        self._finds += 1
        found: tuple[int, Any] | None = connection.execute(
            self._newest.format(column), (key[:PREFIX_BYTES], key)
        ).fetchone()
        return found

    def last(self, connection: sqlite3.Connection) -> int:
        """Return the last number that was given to a row; the row may be gone."""
        return self._bounds(connection)[1]

    def extend(self, connection: sqlite3.Connection, *, least: int | None = None) -> tuple[int, int] | None:
        """Index the rows that wait once they are enough (`least`), within a writing transaction.

        Returns the numbers after and up to which rows were indexed, None where they are too few.
        """
        table = self._table
        indexed, last = self._bounds(connection)
        if last - indexed < (min(max(LEAST_ROWS, indexed // SHARE), MOST_ROWS) if least is None else least):
            return None
        connection.execute(
            f"insert or ignore into {table}_index select substr(key, 1, {PREFIX_BYTES}), number from {table}"
            " where number > ? order by 1, 2",
            (indexed,),
        )
        connection.execute("insert or replace into indexed values (?, ?)", (table, last))
        return indexed, last

    def _bounds(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Return the number of the last row in the index, and the last that was given.

        Where the first is damaged, no row counts as indexed: all are listed, and indexed again.
        """
        return self._bounds_and_listed(connection)[0]

    def _bounds_and_listed(self, connection: sqlite3.Connection) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the bounds, and those up to which this connection has listed its tail."""
        indexed, last, *listed = connection.execute(self._look, (self._table, self._table)).fetchone()
        indexed = indexed if isinstance(indexed, int) and 0 <= indexed <= MOST_NUMBER else 0
        return (indexed, max(indexed, last)), (listed[0], listed[1])

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        """List the rows that wait and are not listed yet."""
        table = self._table
        bounds, was = self._bounds_and_listed(connection)
        if was == bounds:
            return
        (indexed, last), (was_indexed, was_last) = bounds, was
        if was_indexed != indexed:
            connection.execute(f"delete from temp.{table}_tail")
            was_last = indexed
        connection.execute(
            f"insert or ignore into temp.{table}_tail select substr(key, 1, {PREFIX_BYTES}), number from {table}"
            " where number > ? and number <= ?",
            (was_last, last),
        )
        connection.execute("update temp.tails set indexed = ?, last = ? where source = ?", (indexed, last, table))


def index_fault(connection: sqlite3.Connection, table: str) -> str | None:
    """Return the fault of a table's index, None where it has none."""
    found = connection.execute("select last from indexed where source = ?", (table,)).fetchone()
    if found is None or not isinstance(found[0], int) or not 0 <= found[0] <= MOST_NUMBER:
        return "it does not say which rows it holds"
    missing = connection.execute(
        f"select 1 from (select substr(key, 1, {PREFIX_BYTES}), number from {table} where number <= ?"
        f" except select prefix, number from {table}_index) limit 1",
        found,
    ).fetchone()
    return "it lacks rows" if missing else None


def last_numbers(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the last number that was given to a row of each table that has an index."""
    return {table: KeyIndex(table).last(connection) for table in TABLES}


def rebuild_indexes(connection: sqlite3.Connection, last: Mapping[str, int]) -> None:
    """Build the indexes again, of all rows, within a writing transaction.

    `last` are the last numbers that were given before any row was removed: none is given again.
    """
    for table in TABLES:
        connection.execute(f"delete from {table}_index")
        connection.execute(
            f"insert into {table}_index select substr(key, 1, {PREFIX_BYTES}), number from {table} order by 1, 2"
        )
        connection.execute("insert or replace into indexed values (?, ?)", (table, last[table]))


def make_tails(connection: sqlite3.Connection) -> None:
    """Make the temporary tables of a new connection."""
    connection.execute("pragma temp_store = memory")
    connection.execute("create temp table tails (source text primary key, indexed integer, last integer) without rowid")
    for table in TABLES:
        connection.execute("insert into temp.tails values (?, 0, 0)", (table,))
        connection.execute(
            f"create temp table {table}_tail (prefix blob, number integer, primary key (prefix, number)) without rowid"
        )


def batches(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield items in batches for a statement.

    The last item is repeated up to a power of two: a connection keeps each statement, which takes 30 kB for 500.
    """
    for start in range(0, len(items), _KEYS_AT_ONCE):
        some = list(items[start : start + _KEYS_AT_ONCE])
        yield some + some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))


def marks(items: Sequence[Any]) -> str:
    """Return a question mark for each item."""
    return ",".join("?" * len(items))
