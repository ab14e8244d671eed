"""The bounds of what an MCP server may send, on any transport."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

import anyio
from mcp.client import _transport as transport
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification

MAX_MESSAGE: Final = 2 * 2**20
"""Bytes of one message. Reading one of so many bytes takes the event loop less than 100 ms."""
MAX_MESSAGES: Final = 10_000
"""Messages of a server, its answers among them, that are read between two requests."""
USED_NOTIFICATIONS: Final = ("notifications/tools/list_changed", "notifications/subscriptions/acknowledged")


class ServerFault(Exception):
    """A server that cannot be used any longer. The message is a predicate: `sent …`, `ended …`."""


class ScreenedStream:
    """The stream of a server's messages, without those that are not used: progress, logs and other notifications.

    It ends after MAX_MESSAGES between two calls of `begin`. `ended` tells that nothing comes any longer; `fault` says
    why, where the server is at fault.
    """

    def __init__(self, inner: transport.ReadStream[SessionMessage | Exception]) -> None:
        self._inner = inner
        self._count = 0
        self.fault: str | None = None
        self.ended = False

    def begin(self) -> None:
        """Count anew, since a request is sent."""
        self._count = 0

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message that is used. Raises EndOfStream."""
        while True:
            try:
                item = await self._inner.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                self.ended = True
                raise
            self._count += 1
            if self._count > MAX_MESSAGES:
                self.ended = True
                self.fault = f"sent more than {MAX_MESSAGES:,} messages without being asked"
                raise anyio.EndOfStream
            message = item.message if isinstance(item, SessionMessage) else None
            if not isinstance(message, JSONRPCNotification) or message.method in USED_NOTIFICATIONS:
                return item
            await asyncio.sleep(0)

    def __aiter__(self) -> ScreenedStream:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    async def __aenter__(self) -> ScreenedStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
