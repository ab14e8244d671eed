"""Model-written SQL over a table: read-only, in a copy, in a worker process that is killed when its time is up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from promptkit.tools.tables import Table
from promptkit.workers import WorkFailed, read_table, run_in_worker

QUERY_SECONDS: Final = 5.0
MOST_ROWS: Final = 10_000
MOST_CHARACTERS: Final = 10_000_000
"""How much a query may give."""


class QueryFailed(ValueError):
    """A query that is wrong, forbidden, or takes too much; the message is one line."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a query gives: its columns as the query names them, and its rows, as null, numbers and texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


async def run_query(table: Table, sql: str, *, seconds: float = QUERY_SECONDS) -> Selection:
    """Return what one SELECT gives over a table, called `w`, with a `row_id` that counts its rows from 0.

    Names may stand in double quotes, backticks or brackets; names and texts compare without regard to case, in ASCII.
    A column whose cells are all numbers compares as numbers. Raises QueryFailed, also where the query takes longer
    than `seconds`, counted from when a worker process begins on it.
    """
    database, longest = await asyncio.to_thread(lambda: (table.database, table.longest))
    try:
        found = await run_in_worker(
            read_table, database, sql, longest, len(table.columns), MOST_ROWS, MOST_CHARACTERS, seconds=seconds
        )
    except ValueError as error:
        raise QueryFailed(str(error)) from None
    except WorkFailed as failed:
        raise QueryFailed(f"the query {failed}") from None
    return Selection(tuple(found["columns"]), tuple(tuple(row) for row in found["rows"]))
