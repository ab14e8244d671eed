"""Several items in work at once, their results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
AT_ONCE = 1_000
"""Items in work: more than any server is asked for at once, few enough that their results fit in memory."""


async def in_order(
    function: Callable[[T], Coroutine[Any, Any, R]], items: Iterable[T], *, at_once: int = AT_ONCE
) -> AsyncGenerator[R, None]:
    """Yield the result of each item in the order of the items, with the next ones in work meanwhile.

    What one raises is raised in its place; the others are then cancelled.
    """
    tasks: deque[asyncio.Task[R]] = deque()
    try:
        for item in items:
            tasks.append(asyncio.create_task(function(item)))
            if len(tasks) == at_once:
                yield await tasks.popleft()
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
