"""The rows of batches: `run --input` keeps each row of its file with the answer and all that was said."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from promptkit.errors import DamagedRecord
from promptkit.storage.database import Database
from promptkit.storage.kept import read_kept
from promptkit.storage.shapes import BatchRowShape
from promptkit.storage.strict_json import compact

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
        """Return how many rows of a run are kept, and how many of these failed."""
        sql = "select count(*), coalesce(sum(failed), 0) from batch_rows where run = ?"
        rows, failed = self._database.read(sql, (run,))[0]
        return rows, failed

    def row(self, run: int, row: int) -> dict[str, Any] | None:
        """Return a row of a run, None where it is not kept. Raises DamagedRecord."""
        found = self._database.read("select record from batch_rows where run = ? and row = ?", (run, row))
        return read_batch_row(found[0][0], f"batch_rows {run} {row}") if found else None

    def rows(self, run: int, *, failed: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the rows of a run with their numbers, in order; with `failed` those alone that failed.

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
    return dict(read_kept(text, BatchRowShape, where))
