"""What tunings leave for later ones: how a suite's rows were split, and how often its confirm rows were looked at."""

from __future__ import annotations

import sqlite3

from promptkit.storage.database import Database
from promptkit.storage.kept import fitting
from promptkit.storage.shapes import SplitShape


class Tunings:
    """Splits and verdicts. Use it from any thread; every method raises StoreFailed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def split(self, suite: str) -> tuple[int, float] | None:
        """Return the salt and the share that a suite's rows were split by, None before its first tuning.

        A damaged split counts as not there.
        """
        for row in self._database.read("select salt, share from splits where suite = ?", (suite,)):
            with self._database.damage.skipping():
                return fitting(row, SplitShape, f"splits {suite}")
        return None

    def keep_split(self, suite: str, salt: int, share: float) -> None:
        """Keep how a suite's rows are split from now on."""
        sql = "insert or replace into splits values (?, ?, ?)"
        self._database.write(lambda connection: connection.execute(sql, (suite, salt, share))).result()

    def ordinal(self, rows: bytes, pair: bytes) -> int:
        """Return which verdict on the same confirm rows (from 1) that of a pair of candidates is, and keep it so.

        `rows` and `pair` are hashes. The same pair has the same ordinal whenever it is asked for.
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
