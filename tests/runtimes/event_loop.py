"""Watching that nothing holds up the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK = 0.002
MOST_CPU = 0.1
"""Seconds of CPU that the event loop may spend at once."""


@asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """Measure in the block how much CPU this thread spends between two turns of the event loop."""
    spent: list[float] = [0.0]

    async def look() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            spent.append(time.thread_time() - before)
            before = time.thread_time()

    task = asyncio.create_task(look())
    try:
        yield spent
        await asyncio.sleep(2 * TICK)
    finally:
        task.cancel()
