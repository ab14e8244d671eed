"""An MCP server over streamable HTTP, with bounds on what it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from promptkit.tools.mcp.screen import MAX_MESSAGE


class HttpConnection:
    """A client of one address. `fault` says what was wrong with the last answer, where that was not an MCP message."""

    def __init__(self, url: str, headers: Mapping[str, str], seconds: float) -> None:
        self._url = url
        self._headers = {**headers, "Accept-Encoding": "identity"}
        self._seconds = seconds
        self.log = ""
        self.fault: str | None = None

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[TransportStreams]:
        """Give the streams of the messages. Errors of the network are raised as groups of httpx2's."""
        # Without `trust_env`, so that neither a proxy nor a key of another program's takes part.
        async with (
            httpx2.AsyncClient(
                headers=self._headers,
                timeout=self._seconds,
                trust_env=False,
                transport=_BoundedTransport(self),
            ) as client,
            streamable_http_client(self._url, http_client=client, max_sse_event_size=MAX_MESSAGE) as streams,
        ):
            yield streams


class _BoundedTransport(httpx2.AsyncHTTPTransport):
    """Refuses compressed answers and long ones: a stream of events has a bound for each event in the package."""

    def __init__(self, connection: HttpConnection) -> None:
        super().__init__(trust_env=False)
        self._connection = connection

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        connection = self._connection
        if request.method == "POST":  # a server need not have the stream that a GET opens
            status = response.status_code
            connection.fault = f"answered with HTTP status {status}" if status >= 400 else None
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            connection.fault = "sent a compressed answer, which was not asked for"
            raise httpx2.ReadError(connection.fault)
        if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            return response
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, connection)
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, connection: HttpConnection) -> None:
        self._inner = inner
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > MAX_MESSAGE:
                self._connection.fault = f"sent a message of more than {MAX_MESSAGE / 2**20:g} MB"
                raise httpx2.ReadError(self._connection.fault)
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
