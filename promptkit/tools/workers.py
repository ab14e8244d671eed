"""The worker processes that run model-written Python: one pool for each event loop, closed with the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promptkit.errors import Unsupported

if TYPE_CHECKING:
    from pydantic_monty import AsyncMonty

_MOST_WORKERS = 256


@dataclass(slots=True)
class Workers:
    """A pool of workers, and `turns`: as many of them compute at once as there are processors."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 1))
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _pools: AsyncIterator[AsyncMonty] | None = None
    _pool: AsyncMonty | None = None

    async def pool(self) -> AsyncMonty:
        """Return the pool; the first caller opens it. Raises Unsupported where the interpreter is not installed."""
        async with self._opening:
            if self._pool is None:
                self._pools = _hold_pool()
                try:
                    self._pool = await anext(self._pools)
                except (ImportError, FileNotFoundError) as error:
                    message = f"a program cannot be run: {error}"
                    raise Unsupported(message, hint="pip install --force-reinstall pydantic-monty") from None
            return self._pool


_of_loop: dict[asyncio.AbstractEventLoop, Workers] = {}


def workers() -> Workers:
    """Return the workers of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _of_loop:
        _of_loop[loop] = Workers()
    return _of_loop[loop]


async def _hold_pool() -> AsyncIterator[AsyncMonty]:
    """Yield an open pool. An event loop that ends finishes its asynchronous generators, so this closes the pool."""
    from pydantic_monty import AsyncMonty

    loop = asyncio.get_running_loop()
    try:
        async with AsyncMonty(min_processes=0, max_processes=_MOST_WORKERS) as pool:
            yield pool
    finally:
        _of_loop.pop(loop, None)
