"""Below `http`: sending over aiohttp, with bodies bounded and every fault under a name of httpx's."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from promptkit.errors import BadReply

BODY_LIMIT = 64 * 2**20
SHOWN = 80
KEPT_TOO_LONG = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


class BoundedTransport(httpx.AsyncBaseTransport):
    """Send over aiohttp, which costs a sixth of httpx's own CPU; a body ends in an error at `limit` bytes unpacked."""

    def __init__(self, url: str, limit: int = BODY_LIMIT) -> None:
        # A context for TLS reads all root certificates, which plain http has no use for.
        self._inner = AiohttpTransport(verify=url.startswith("https:"))
        self._limit = limit
        self._has_kept = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Accept-Encoding"] = "gzip"
        with aiohttp_faults():
            try:
                response = await self._inner.handle_async_request(request)
            except httpx.TransportError as error:
                # A kept connection may be closed by the time it is used: llama-server closes after each stream.
                if not (self._has_kept and isinstance(error.__cause__, KEPT_TOO_LONG)):
                    raise
                response = await self._inner.handle_async_request(request)
        self._has_kept = True
        coding = response.headers.pop("Content-Encoding", "identity").lower()
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        response.stream = BoundedStream(stream, coding, self._limit)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class BoundedStream(httpx.AsyncByteStream):
    """A body, unpacked piece by piece and never beyond `limit` bytes (httpx unpacks a gzip bomb whole)."""

    def __init__(self, inner: httpx.AsyncByteStream, coding: str, limit: int) -> None:
        self._inner = inner
        self._coding = coding
        self._room = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._coding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise httpx.DecodingError(f"the body is packed by `{self._coding[:SHOWN]}`")
        packed = zlib.decompressobj(wbits=47) if self._coding != "identity" else None
        with aiohttp_faults():
            async for chunk in self._inner:
                try:
                    piece = packed.decompress(chunk, self._room + 1) if packed else chunk
                except zlib.error as error:
                    raise httpx.DecodingError(str(error)) from error
                self._room -= len(piece)
                if self._room < 0:
                    raise BadReply("the server's reply is too large")
                yield piece

    async def aclose(self) -> None:
        with aiohttp_faults():
            await self._inner.aclose()


@contextmanager
def aiohttp_faults() -> Iterator[None]:
    """Give aiohttp's errors httpx's names; the transport calls a refused connection a timeout, and lets some pass."""
    try:
        yield
    except (aiohttp.ClientError, httpx.TransportError) as error:
        match error if isinstance(error, aiohttp.ClientError) else error.__cause__:
            case aiohttp.ServerTimeoutError() as cause:
                raise httpx.ReadTimeout(str(cause)) from cause
            case aiohttp.ClientConnectorError() as cause:
                raise httpx.ConnectError(str(cause)) from cause
            case aiohttp.InvalidURL() as cause:
                raise httpx.UnsupportedProtocol(str(cause)) from cause
            case cause:
                raise httpx.RemoteProtocolError(str(cause)) from cause
    except ValueError as error:
        raise httpx.LocalProtocolError("aiohttp cannot send this") from error
