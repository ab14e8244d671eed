"""One answer for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from promptkit.runtimes.base import OnText, Reply

Send = Callable[[OnText | None], Awaitable[Reply]]


class Flights:
    """The requests on their way, by key. A request ends early only when all who wait for it have left."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    async def join(self, key: str, send: Send, on_text: OnText | None) -> tuple[Reply, bool]:
        """Wait for the answer under this key, sending the request unless it is on its way.

        Returns the reply and whether somebody else had sent it. Raises what `send` raises.
        """
        flight = self._flights.get(key)
        joined = flight is not None
        if flight is None:
            flight = self._flights[key] = _Flight(send, streams=on_text is not None)
            flight.task.add_done_callback(lambda _: self._forget(key, flight))
        try:
            return await flight.wait(on_text), joined
        except asyncio.CancelledError:
            if not flight.waiting:
                self._forget(key, flight)
                await flight.end()
            raise

    def _forget(self, key: str, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight:
    def __init__(self, send: Send, *, streams: bool) -> None:
        self.waiting = 0
        self._streams = streams
        self._said: list[str] = []
        self._listeners: list[OnText] = []
        self.task = asyncio.ensure_future(send(self._tell if streams else None))

    async def wait(self, on_text: OnText | None) -> Reply:
        """Wait with the others; leaving does not disturb them."""
        if on_text is not None and self._streams:
            if self._said:
                on_text("".join(self._said))
            self._listeners.append(on_text)
        self.waiting += 1
        try:
            reply = await asyncio.shield(self.task)
        finally:
            self.waiting -= 1
            if on_text in self._listeners:
                self._listeners.remove(on_text)
        if on_text is not None and not self._streams:
            on_text(reply.text)
        return reply

    async def end(self) -> None:
        """Stop the request and see it stopped; how it failed meanwhile concerns nobody any more."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def _tell(self, piece: str) -> None:
        self._said.append(piece)
        for listener in self._listeners:
            listener(piece)
