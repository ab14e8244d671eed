"""JSON over HTTP by aiohttp. Every fault becomes one of promptkit's errors.

Bodies are bounded, redirects are not followed, JSON is read strictly, and no key appears in a message: texts of a
server reach messages through `Server.redactor.quote` only.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from promptkit.errors import (
    AccessDenied,
    BadReply,
    ConnectionFailed,
    InputError,
    PromptkitError,
    RequestRefused,
    RuntimeFailure,
    ServerBusy,
    ServerFailed,
)
from promptkit.runtimes.api_keys import Redactor
from promptkit.storage.strict_json import fast_json, json_bytes, refuse_constant, refuse_repeated_keys

BODY_LIMIT = 64 * 2**20
"""Bytes of an unpacked body."""
LINE_LIMIT = 4 * 2**20
DESCRIPTION_LIMIT = 3 * 2**20
"""Bytes of a server's description of itself, such as a list of 8,000 models: reading them takes less than 0.1 s."""
CHARACTER_LIMIT = 64
"""Further bytes for each character of a text that is sent to be tokenized or put into a template."""
VECTOR_LIMIT = 2**18
"""Bytes of one vector: 8,192 numbers of 32 characters."""
ERROR_LIMIT = 16 * 2**10
"""Bytes that are read of an error's body."""
IDLE_LIMIT = 2**16
"""Consecutive bytes of comments and blank lines; gateways send a comment a second while a request waits its turn."""
SLICE_BYTES = 2**16
"""Bytes of a body that are handled before other tasks on the event loop get a turn."""
CONNECT_SECONDS = 5.0
KEEP_SECONDS = 5.0
KEPT_TOO_LONG = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
UNLIMITED = 0
"""Connections at once: the client decides how many requests are in flight."""

Explain = Callable[[int, str], PromptkitError | None]
"""Takes a status and the server's own text; returns the error they stand for, or None for the usual one."""

_from_json = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=refuse_repeated_keys).decode


class Server:
    """One server that speaks JSON. Requests have no time limit but `within` and the caller's own cancellation."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        read_seconds: float | None = None,
        limit: int = BODY_LIMIT,
        explain: Explain | None = None,
        unreachable: str | None = None,
    ) -> None:
        """Raises InputError where `base_url` is not an address. Without `read_seconds` a server may be silent for ever.

        `explain` may return a better error than `status_error`; `unreachable` is the hint where nothing answers.
        """
        self.place = public_address(base_url)
        self.redactor = Redactor(key)
        self._explain = explain
        self._base = checked_address(base_url).rstrip("/")
        self._transport = Transport(base_url, limit, unreachable)
        self._timeout = aiohttp.ClientTimeout(
            connect=read_seconds, sock_connect=CONNECT_SECONDS, sock_read=read_seconds
        )
        # A function, so that no dump of attributes shows the key.
        self._headers: Callable[[], dict[str, str]] = lambda: {"Authorization": f"Bearer {key}"} if key else {}

    async def get(self, path: str, *, within: float | None = None) -> Any:
        """Return the JSON at a path, a description. Raises the errors of `mapped_faults`, `refusal` and `parse`."""
        return await self._whole("GET", path, None, within, DESCRIPTION_LIMIT)

    async def post(
        self, path: str, body: Mapping[str, Any], *, within: float | None = None, limit: int = DESCRIPTION_LIMIT
    ) -> Any:
        """Send a body and return the JSON of the answer, of at most `limit` bytes. Raises as `get`."""
        return await self._whole("POST", path, body, within, limit)

    async def has(self, path: str) -> bool:
        """Tell whether there is something at a path. Raises as `get`, but not for the status 404."""
        response = await self._transport.send(
            "HEAD", self._base + path, headers=self._headers(), content=None, timeout=self._timeout
        )
        await response.close()
        if response.status != 404 and not 200 <= response.status < 300:
            raise self.refusal(response.status, response.headers, "")
        return response.status != 404

    async def upload(self, path: str, content: AsyncIterable[bytes]) -> None:
        """Send bytes as they come. Raises as `get`."""
        headers = {**self._headers(), "Content-Type": "application/octet-stream"}
        response = await self._transport.send(
            "POST", self._base + path, headers=headers, content=content, timeout=self._timeout
        )
        try:
            if not 200 <= response.status < 300:
                text = error_body_text(await response.start(ERROR_LIMIT))
                raise self.refusal(response.status, response.headers, text)
        finally:
            await response.close()

    async def _whole(
        self, method: str, path: str, body: Mapping[str, Any] | None, within: float | None, limit: int
    ) -> Any:
        try:
            async with asyncio.timeout(within), self._open(method, path, body) as response:
                content = await response.read(limit)
        except TimeoutError:
            raise ConnectionFailed(f"the server at {self.place} gave no answer within {within} s") from None
        return self.parse(content)

    async def lines(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """Send a body and yield the lines of the answer as they arrive, without blank ones and comments of events.

        Closing the iterator closes the connection, and with it the generation behind it. Raises as `get`.
        """
        lines = _Lines(self.place)
        async with self._open("POST", path, body) as response:
            async for piece in response.pieces():
                for line in lines.feed(piece):
                    yield line
            for line in lines.end():
                yield line

    def parse(self, text: bytes) -> Any:
        """Return the value of strict JSON. Raises BadReply for anything else, such as NaN or a repeated key."""
        try:
            decoded = text.decode()
            value = fast_json(decoded)
            return _from_json(decoded) if value is None else value
        except (ValueError, RecursionError):
            start = self.redactor.quote(text)
            raise BadReply(
                f"the server at {self.place} did not speak JSON: `{start}`", hint="check the base URL of the server"
            ) from None

    @asynccontextmanager
    async def _open(self, method: str, path: str, body: Mapping[str, Any] | None) -> AsyncIterator[Response]:
        headers, content = self._headers(), None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json_bytes(body, errors="strict")
        url = path if "://" in path else self._base + path
        response = await self._transport.send(method, url, headers=headers, content=content, timeout=self._timeout)
        try:
            if not 200 <= response.status < 300:
                raise self.refusal(
                    response.status, response.headers, error_body_text(await response.start(ERROR_LIMIT))
                )
            yield response
        finally:
            await response.close()

    def refusal(self, status: int, headers: Mapping[str, str], text: str) -> PromptkitError:
        """Return the error for a status that is not 2xx, or for an error in a stream: `explain`'s, else the usual one.

        A server may repeat the key that it refuses; the error does not.
        """
        text = self.redactor.quote(text)
        explained = self._explain(status, text) if self._explain else None
        return explained or status_error(status, headers, text, self.place)

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._transport.close()


def transport_error(
    error: aiohttp.ClientError | ValueError, place: str, unreachable: str | None = None
) -> PromptkitError:
    """Return the error for a fault of aiohttp at `place`. Texts of aiohttp may hold keys, so none is used.

    `unreachable` is the hint where nothing answers.
    """
    match error:
        case aiohttp.InvalidURL():
            return not_an_address(place)
        case aiohttp.ServerTimeoutError():
            return ConnectionFailed(f"the server at {place} did not answer in time")
        case aiohttp.ClientConnectorError():
            return ConnectionFailed(f"no server answers at {place}", hint=unreachable)
        case aiohttp.ClientError():
            return ConnectionFailed(f"the connection to {place} broke off, or it does not speak HTTP")
        case _:
            return BadReply(f"the server at {place} cannot be understood ({type(error).__name__})")


@contextmanager
def mapped_faults(place: str, unreachable: str | None = None) -> Iterator[None]:
    """Turn aiohttp's errors inside the block into promptkit's."""
    try:
        yield
    except (aiohttp.ClientError, ValueError) as error:
        raise transport_error(error, place, unreachable) from None


def status_error(status: int, headers: Mapping[str, str], quoted: str, place: str) -> RuntimeFailure:
    """Return the error for a status that is not 2xx. `quoted` is the server's own text, redacted."""
    text = f"the server at {place} answered {status}" + (f": {quoted}" if quoted else "")
    if status in (408, 425, 429, 503):
        return ServerBusy(text, retry_after=_retry_seconds(headers.get("Retry-After")))
    if status in (401, 403, 407):
        return AccessDenied(text)
    if status >= 500:
        return ServerFailed(text, retry=status in (502, 504))
    if status >= 400:
        return RequestRefused(text)
    if status >= 300:
        hint = "give the address that the server itself answers at"
        return BadReply(f"{text}; redirects are not followed", hint=hint)
    return BadReply(f"{text}, which no server answers a request with", hint="check the base URL of the server")


def _retry_seconds(retry_after: str | None) -> float | None:
    """Return the seconds that `Retry-After` asks for: a number, or the time that is left until a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after)) if retry_after.strip().isdigit() else _seconds_until(retry_after)
    except (ValueError, OverflowError):
        return None


def _seconds_until(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time())


def error_body_text(body: bytes) -> str:
    """Return the message in an error's body, as Ollama, OpenAI and FastAPI write it, else the whole body."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
    return error_text(value)


def error_text(value: Any) -> str:
    """Return the message in a JSON error, however long."""
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key) is not None:
            value = value[key]
    return value if isinstance(value, str) else json.dumps(value)


def checked_address(url: str) -> str:
    """Return a server's address. Raises InputError for anything else, and for an address that holds a password."""
    try:
        parts = urlsplit(url)
        whole = url.isprintable() and url == url.strip() and parts.scheme in ("http", "https")
        complete = whole and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        raise not_an_address(public_address(url)) from None
    if not complete:
        raise not_an_address(public_address(url))
    if "@" in parts.netloc:
        raise InputError(
            f"the address `{public_address(url)}` holds a password", hint="keys come from the environment only"
        )
    return url


def not_an_address(shown: str) -> InputError:
    """Return the error for a text that is not the address of a server."""
    return InputError(f"`{shown}` is not the address of a server", hint="an address begins with http:// or https://")


def public_address(url: str) -> str:
    """Return an address as messages show it: without user, password and query."""
    start, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return (
        f"{start}{mark}{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
        if mark
        else url.rpartition("@")[2]
    )


class Transport:
    """Sends requests over aiohttp, without cookies, proxies and redirects."""

    def __init__(self, url: str, limit: int = BODY_LIMIT, unreachable: str | None = None) -> None:
        """`limit` is how many bytes a body may have, unpacked; `unreachable` the hint where nothing answers."""
        # A context for TLS reads all root certificates, which plain http has no use for.
        self._tls = tls_context() if url.startswith("https:") else False
        self._place = public_address(url)
        self._unreachable = unreachable
        self._limit = limit
        self._has_kept = False
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | AsyncIterable[bytes] | None,
        timeout: aiohttp.ClientTimeout,
    ) -> Response:
        """Return the response as soon as its head is there; it must be closed. Raises as `transport_error` maps."""
        with mapped_faults(self._place, self._unreachable):
            try:
                response = await self._request(method, url, headers, content, timeout)
            except KEPT_TOO_LONG:
                # A kept connection may be closed by the time it is used: llama-server closes after each stream.
                if not self._has_kept or isinstance(content, AsyncIterable):
                    raise
                response = await self._request(method, url, headers, content, timeout)
        self._has_kept = True
        return Response(response, self._limit, self._place)

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        if self._session is not None:
            await self._session.close()

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterable[bytes] | None,
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


def tls_context() -> ssl.SSLContext:
    """Return a TLS context with the root certificates of SSL_CERT_FILE or SSL_CERT_DIR, else those of certifi."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        return ssl.create_default_context(cafile=file or None, capath=None if file else folder)
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


class Response:
    """The answer to one request: its head, and its body, unpacked piece by piece and never beyond `limit` bytes."""

    def __init__(self, response: aiohttp.ClientResponse, limit: int, place: str) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._limit = limit
        self._place = place

    async def pieces(self, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives. Raises BadReply for one over `limit` bytes, else as `transport_error` maps."""
        unpack = self._unpacking()
        most = self._limit if limit is None else min(limit, self._limit)
        room, since_pause = most, 0
        with mapped_faults(self._place):
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
        """Return the body's first bytes, at most `size`. Raises as `transport_error` maps."""
        read: list[bytes] = []
        with suppress(BadReply):
            async for piece in self.pieces(size):
                read.append(piece)
        return b"".join(read)

    async def close(self) -> None:
        """Give the connection back; one whose body was not read to its end is closed."""
        with mapped_faults(self._place):
            self._response.release()
            await self._response.wait_for_close()

    def _unpacking(self) -> Callable[[bytes], Iterator[bytes]]:
        """Return the function that unpacks the chunks of the body. Raises BadReply for an unknown packing.

        It unpacks in slices, because a small chunk may hold a thousand times its size.
        """
        coding = self.headers.get("Content-Encoding", "identity").lower()
        if coding == "identity":
            return _sliced
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise self._not_unpacked()
        reader = zlib.decompressobj(wbits=47)

        def unpack(chunk: bytes) -> Iterator[bytes]:
            is_more = True
            while is_more:
                try:
                    piece = reader.decompress(chunk, SLICE_BYTES)
                except zlib.error:
                    raise self._not_unpacked() from None
                chunk, is_more = reader.unconsumed_tail, len(piece) == SLICE_BYTES
                yield piece

        return unpack

    def _not_unpacked(self) -> BadReply:
        return BadReply(f"the server at {self._place} sent a body that cannot be unpacked")


def _sliced(chunk: bytes) -> Iterator[bytes]:
    for start in range(0, len(chunk), SLICE_BYTES):
        yield chunk[start : start + SLICE_BYTES]


class _Lines:
    """The lines of a body that arrives in pieces, without blank ones and comments, which begin with a colon.

    Lines end at line feeds only: U+2028 and U+0085 may stand inside a JSON string.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._begun: list[bytes] = []
        self._size = 0
        self._idle = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the lines that the piece ends. Raises BadReply for a line that is too long, and for idle talk."""
        first, *others = piece.split(b"\n")
        self._begun.append(first)
        self._size += len(first)
        if self._size > LINE_LIMIT:
            raise BadReply(f"the server at {self._place} sent a line that is too long")
        if others:
            yield from self.end()
            for line in others[:-1]:
                yield from self._kept(line)
            self._begun, self._size = [others[-1]], len(others[-1])

    def end(self) -> Iterator[bytes]:
        """Yield the last line, where it was begun."""
        yield from self._kept(b"".join(self._begun))

    def _kept(self, line: bytes) -> Iterator[bytes]:
        if line.strip() and not line.startswith(b":"):
            self._idle = 0
            yield line
            return
        self._idle += len(line) + 1
        if self._idle > IDLE_LIMIT:
            raise BadReply(f"the server at {self._place} sends comments and no answer")
