"""How many requests may be made: counted whether the model or the store answers, so that a second run decides alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from promptkit.errors import BudgetSpent


class Budget:
    """At most so many requests; `spent` is how many were begun."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.spent = 0
        self._in_flight = 0
        self._landed = asyncio.Event()

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Make one request in the block. Raises BudgetSpent, once those in flight have their replies: none is lost."""
        if self.spent >= self.most:
            if self._in_flight:
                await self._landed.wait()
            raise BudgetSpent(f"the budget of {self.most} requests is spent")
        self.spent += 1
        self._in_flight += 1
        self._landed.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._landed.set()
