"""Places for running requests: how many run and wait, for how long, and their end when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from promptkit.server.http.errors import HttpError
from promptkit.server.http.options import HttpOptions


class Admission:
    """Gives places to requests, in order. `running` and `waiting` count them; none is given while it is `draining`."""

    def __init__(self, options: HttpOptions) -> None:
        self.draining = False
        self._options = options
        self._places = asyncio.Semaphore(options.max_requests)
        self._waiting: set[asyncio.Timeout] = set()
        self._running: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it for the block.

        Raises HttpError where too many wait, where the deadline passes, and where the server stops.
        """
        if self.draining:
            raise stopping()
        if self._places.locked() and len(self._waiting) >= self._options.max_waiting:
            raise HttpError(429, "too many requests are waiting", "too_many_requests", retry=True)
        try:
            async with asyncio.timeout(self._options.deadline) as clock:
                await self._admitted(clock)
                try:
                    yield
                finally:
                    self._leave(clock)
        except TimeoutError:
            if not clock.expired():
                raise
            if self.draining:
                raise stopping() from None
            message = f"the request took longer than {self._options.deadline:g} seconds"
            raise HttpError(504, message, "request_timeout") from None

    async def _admitted(self, clock: asyncio.Timeout) -> None:
        self._waiting.add(clock)
        try:
            await self._places.acquire()
        finally:
            self._waiting.discard(clock)
        self._running.add(clock)
        self._idle.clear()

    def _leave(self, clock: asyncio.Timeout) -> None:
        self._running.discard(clock)
        self._places.release()
        if not self._running:
            self._idle.set()

    async def drain(self) -> int:
        """Turn away what waits and what comes, give running requests the grace, and end those that are left.

        Returns how many had to be ended.
        """
        self.draining = True
        _expire(self._waiting)
        try:
            async with asyncio.timeout(self._options.grace):
                await self._idle.wait()
        except TimeoutError:
            ended = self.running
            self.end()
            await self._idle.wait()
            return ended
        return 0

    def end(self) -> None:
        """End running requests now; their clients get an error."""
        _expire(self._running)


def _expire(clocks: set[asyncio.Timeout]) -> None:
    now = asyncio.get_running_loop().time()
    for clock in tuple(clocks):
        if not clock.expired():  # the work of one that has expired may still be cleaning up
            clock.reschedule(now)


def stopping() -> HttpError:
    """Return the error of a request that the stopping server does not answer."""
    return HttpError(503, "the server is stopping", "server_stopping", retry=True)
