"""What it costs that SQL and regular expressions run in a worker process, and how long labels take to be read.

    python benchmarks/workers.py [--calls 500] [--in-flight 8]

Each query and each search is made in this process and in a worker, one after the other and several at once; wall time
a call. A reply of 20,000 characters, full of near-labels, is read with more and more labels: CPU of the first reading,
which prepares the labels, and of the next.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from statistics import median

from promptkit.answers.base import Unparsed
from promptkit.answers.build import build_answer_type
from promptkit.tools.tables import MOST_CHARACTERS, MOST_ROWS, Table, run_query
from promptkit.workers.patterns import find_pattern, search_pattern
from promptkit.workers.sql_reader import read_table

LABELS = (100, 1_000, 5_000, 10_000, 50_000)
REPLY = ("the category 77 zz and near " * 800)[:20_000]
QUERY = "SELECT city, count(*) FROM w WHERE amount > 50 GROUP BY city"
PATTERN, TEXT = r"\b[A-Z]{2}-\d+\b", "the order is AB-1234, as you said " * 5


async def in_turn(call: Callable[[], Awaitable[object]], calls: int, in_flight: int) -> float:
    """Return the seconds a call takes, so many at once."""
    await call()
    waiting = iter(range(calls))

    async def work() -> None:
        for _ in waiting:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return (time.perf_counter() - began) / calls


async def compare(
    name: str, here: Callable[[], object], worker: Callable[[], Awaitable[object]], calls: int, in_flight: int
) -> None:
    """Print what a call costs here and in a worker."""

    async def call_here() -> object:
        return here()

    own = await in_turn(call_here, calls, 1)
    single = await in_turn(worker, calls, 1)
    several = await in_turn(worker, calls, in_flight)
    print(
        f"{name:28} here {own * 1e6:8.0f} µs   worker {single * 1e6:8.0f} µs ({single / own:6.1f} ×)   "
        f"{in_flight} at once {several * 1e6:8.0f} µs ({several / own:6.1f} ×)"
    )


def table(rows: int) -> Table:
    """Return a table of so many rows."""
    return Table.of([{"city": f"city {at % 20}", "amount": at % 100, "text": f"line {at}"} for at in range(rows)])


def reading_seconds(labels: int) -> tuple[float, float]:
    """Return the CPU of the first and of a further reading of a reply with so many labels."""
    answer = build_answer_type({"label": [f"category {at} {'abcdefgh'[at % 8]}" for at in range(labels)]})
    spent = []
    for _ in range(6):
        began = time.thread_time()
        with suppress(Unparsed):
            answer.parse(REPLY)
        spent.append(time.thread_time() - began)
    return spent[0], median(spent[1:])


async def costs(calls: int, in_flight: int) -> None:
    """Print the cost of queries and of searches."""
    for rows in (10, 1_000, 50_000):
        asked = table(rows)
        given = (asked.database, QUERY, asked.longest, len(asked.columns), MOST_ROWS, MOST_CHARACTERS)
        await compare(
            f"query over {rows:,} rows",
            lambda given=given: read_table(*given),
            lambda asked=asked: run_query(asked, QUERY),
            calls if rows < 10_000 else max(10, calls // 20),
            in_flight,
        )
    await compare(
        "search of a pattern",
        lambda: search_pattern(PATTERN, TEXT, False, False),
        lambda: find_pattern(PATTERN, TEXT),
        calls,
        in_flight,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=8)
    options = parser.parse_args()
    asyncio.run(costs(options.calls, options.in_flight))
    for labels in LABELS:
        first, next_ = reading_seconds(labels)
        print(f"a reply with {labels:6,} labels      first {first * 1e3:7.1f} ms   next {next_ * 1e3:7.1f} ms")


if __name__ == "__main__":
    main()
