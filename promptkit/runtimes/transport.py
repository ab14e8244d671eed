"""Below `http`: sending over aiohttp, with bodies bounded and every fault under a name of httpx's."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import aiohttp
import httpx

from promptkit.errors import BadReply

BODY_LIMIT = 64 * 2**20
SHOWN = 80
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

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises BadReply for one that is too large, and errors of httpx."""
        coding = self.headers.get("Content-Encoding", "identity").lower()
        if coding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise httpx.DecodingError(f"the body is packed by `{coding[:SHOWN]}`")
        packed = zlib.decompressobj(wbits=47) if coding != "identity" else None
        room = self._limit
        with aiohttp_faults():
            async for chunk in self._response.content.iter_any():
                try:
                    piece = packed.decompress(chunk, room + 1) if packed else chunk
                except zlib.error as error:
                    raise httpx.DecodingError(str(error)) from error
                room -= len(piece)
                if room < 0:
                    raise BadReply("the server's reply is too large")
                yield piece

    async def read(self) -> bytes:
        """Return the whole body. Raises as `pieces`."""
        return b"".join([piece async for piece in self.pieces()])

    async def close(self) -> None:
        """Give the connection back; one whose body was not read to its end is closed."""
        with aiohttp_faults():
            self._response.release()
            await self._response.wait_for_close()


class BoundedTransport(httpx.AsyncBaseTransport):
    """The same for a client of httpx: what the official client of Ollama sends over."""

    def __init__(self, url: str) -> None:
        self._sender = Sender(url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        given = request.extensions.get("timeout", {})
        sent = await self._sender.send(
            request.method,
            str(request.url),
            headers=request.headers,
            content=await request.aread() or None,
            timeout=aiohttp.ClientTimeout(
                connect=given.get("pool"), sock_connect=given.get("connect"), sock_read=given.get("read")
            ),
        )
        headers = [(name, value) for name, value in sent.headers.items() if name.lower() != "content-encoding"]
        return httpx.Response(sent.status, headers=headers, stream=_Stream(sent))

    async def aclose(self) -> None:
        await self._sender.close()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, sent: Sent) -> None:
        self._sent = sent

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._sent.pieces()

    async def aclose(self) -> None:
        await self._sent.close()


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
