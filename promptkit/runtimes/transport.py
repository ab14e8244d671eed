"""Below `http`: sending over aiohttp, with bodies bounded and every fault under a name of httpx's."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import aiohttp
import httpx

from promptkit.errors import BadReply

BODY_LIMIT = 64 * 2**20
SHOWN = 80
SLICE_BYTES = 2**16
"""So much of a body is handled before others on the event loop get a turn."""
UNLIMITED = 0
"""Of connections: what may be in flight at once is decided by who asks."""

KEEP_SECONDS = 5.0
KEPT_TOO_LONG = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


class Sender:
    """Sends over aiohttp, which costs a third of httpx's CPU. No cookies of IP addresses, proxies or redirects."""

    def __init__(self, url: str, limit: int = BODY_LIMIT) -> None:
        """`limit` is how many bytes a body may have, unpacked."""
        # A context for TLS reads all root certificates, which plain http has no use for.
        self._tls = httpx.create_ssl_context() if url.startswith("https:") else False
        self._limit = limit
        self._has_kept = False
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: aiohttp.ClientTimeout,
    ) -> Sent:
        """Return what comes back as soon as its head is there; it must be closed. Raises errors of httpx."""
        with aiohttp_faults():
            try:
                response = await self._request(method, url, headers, content, timeout)
            except KEPT_TOO_LONG:
                # A kept connection may be closed by the time it is used: llama-server closes after each stream.
                if not self._has_kept:
                    raise
                response = await self._request(method, url, headers, content, timeout)
        self._has_kept = True
        return Sent(response, self._limit)

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        if self._session is not None:
            await self._session.close()

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=UNLIMITED, keepalive_timeout=KEEP_SECONDS, ssl=self._tls)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return await self._session.request(
            method,
            url,
            headers={**headers, "Accept-Encoding": "gzip"},
            data=content,
            timeout=timeout,
            allow_redirects=False,
        )


class Sent:
    """The answer to one request: its head, and its body, unpacked piece by piece and never beyond `limit` bytes."""

    def __init__(self, response: aiohttp.ClientResponse, limit: int) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._limit = limit

    async def pieces(self, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives. Raises BadReply for one over `limit` bytes, and errors of httpx."""
        coding = self.headers.get("Content-Encoding", "identity").lower()
        if coding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise httpx.DecodingError(f"the body is packed by `{coding[:SHOWN]}`")
        unpack = _unpacking() if coding != "identity" else _sliced
        most = self._limit if limit is None else min(limit, self._limit)
        room, since_pause = most, 0
        with aiohttp_faults():
            async for chunk in self._response.content.iter_any():
                for piece in unpack(chunk):
                    yield piece[:room]
                    room -= len(piece)
                    if room < 0:
                        raise BadReply(f"the server's reply is too large: more than {most:,} bytes")
                    since_pause += len(piece)
                    if since_pause >= SLICE_BYTES:
                        since_pause = 0
                        await asyncio.sleep(0)

    async def read(self, limit: int | None = None) -> bytes:
        """Return the whole body. Raises as `pieces`."""
        return b"".join([piece async for piece in self.pieces(limit)])

    async def start(self, size: int) -> bytes:
        """Return the body's first bytes, at most `size`. Raises errors of httpx."""
        read: list[bytes] = []
        with suppress(BadReply):
            async for piece in self.pieces(size):
                read.append(piece)
        return b"".join(read)

    async def close(self) -> None:
        """Give the connection back; one whose body was not read to its end is closed."""
        with aiohttp_faults():
            self._response.release()
            await self._response.wait_for_close()


def _sliced(chunk: bytes) -> Iterator[bytes]:
    for start in range(0, len(chunk), SLICE_BYTES):
        yield chunk[start : start + SLICE_BYTES]


def _unpacking() -> Callable[[bytes], Iterator[bytes]]:
    """Return what unpacks the chunks of one body: in slices, since a small chunk may hold a thousand times its size."""
    reader = zlib.decompressobj(wbits=47)

    def unpack(chunk: bytes) -> Iterator[bytes]:
        is_more = True
        while is_more:
            try:
                piece = reader.decompress(chunk, SLICE_BYTES)
            except zlib.error as error:
                raise httpx.DecodingError(str(error)) from error
            chunk, is_more = reader.unconsumed_tail, len(piece) == SLICE_BYTES
            yield piece

    return unpack


@contextmanager
def aiohttp_faults() -> Iterator[None]:
    """Give aiohttp's errors httpx's names."""
    try:
        yield
    except aiohttp.ClientError as error:
        match error:
            case aiohttp.ServerTimeoutError():
                raise httpx.ReadTimeout(str(error)) from error
            case aiohttp.ClientConnectorError():
                raise httpx.ConnectError(str(error)) from error
            case aiohttp.InvalidURL():
                raise httpx.UnsupportedProtocol(str(error)) from error
            case _:
                raise httpx.RemoteProtocolError(str(error)) from error
    except ValueError as error:
        raise httpx.LocalProtocolError("aiohttp cannot send this") from error
