"""JSON over HTTP by aiohttp. Every fault becomes one of promptkit's errors.

Bodies are bounded, redirects are not followed, JSON is read strictly, and no key appears in a message: texts of a
server reach messages through `Server.redactor.quote` only.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import aiohttp
import httpx

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
LONGEST_CODING_SHOWN = 80
SLICE_BYTES = 2**16
"""So much of a body is handled before others on the event loop get a turn."""
UNLIMITED = 0
"""Of connections: what may be in flight at once is decided by who asks."""

KEEP_SECONDS = 5.0
KEPT_TOO_LONG = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


class Transport:
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
    ) -> Response:
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
        return Response(response, self._limit)

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


class Response:
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
            raise httpx.DecodingError(f"the body is packed by `{coding[:LONGEST_CODING_SHOWN]}`")
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


LINE_LIMIT = 4 * 2**20
DESCRIPTION_LIMIT = 3 * 2**20
"""Bytes of what a server says about itself, such as a list of 8,000 models: reading them takes less than 0.1 s."""
CHARACTER_LIMIT = 64
"""Bytes more for each character of a text whose tokens, or whose place in a template, are asked for."""
VECTOR_LIMIT = 2**18
"""Bytes of one vector: 8,192 numbers of 32 characters."""
ERROR_LIMIT = 16 * 2**10
"""Bytes that are read of an error's body."""
IDLE_LIMIT = 2**16
"""Bytes of comments and blank lines at a stretch; gateways send a comment a second while a model waits its turn."""
CONNECT_SECONDS = 5.0

Explain = Callable[[int, str], PromptkitError | None]
"""Takes a status and the server's own text; gives the error it stands for, or None for the usual one."""


def fault(error: Exception, place: str) -> PromptkitError:
    """Return our error for what httpx raised while it spoke to `place`. Texts of httpx may hold keys: none is used."""
    match error:
        case PromptkitError():
            return error
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return InputError(
                f"`{place}` is not the address of a server", hint="an address begins with http:// or https://"
            )
        case httpx.ConnectError():
            return ConnectionFailed(f"no server answers at {place}")
        case httpx.TimeoutException():
            return ConnectionFailed(f"the server at {place} did not answer in time")
        case httpx.DecodingError():
            return BadReply(f"the server at {place} sent a body that cannot be unpacked")
        case httpx.NetworkError() | httpx.RemoteProtocolError() | httpx.ProxyError():
            return ConnectionFailed(f"the connection to {place} broke off, or it does not speak HTTP")
        case _:
            return BadReply(f"the server at {place} cannot be understood ({type(error).__name__})")


_from_json = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=refuse_repeated_keys).decode


def status_error(status: int, headers: Mapping[str, str], said: str, place: str) -> RuntimeFailure:
    """Return our error for a status that is not 2xx. `said` is the server's own text, redacted."""
    text = f"the server at {place} answered {status}" + (f": {said}" if said else "")
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
    """Return what `Retry-After` says in seconds: a number, or the time that is left to a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after)) if retry_after.strip().isdigit() else _seconds_until(retry_after)
    except (ValueError, OverflowError):
        return None


def _seconds_until(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time())


def error_body_text(body: bytes) -> str:
    """Return what an error body says: Ollama's, OpenAI's or FastAPI's words, else all of it."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
    return error_text(value)


def error_text(value: Any) -> str:
    """Return the words in a JSON error, as long as they are."""
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key) is not None:
            value = value[key]
    return value if isinstance(value, str) else json.dumps(value)


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
        """Raises InputError where `base_url` is none. Without `read_seconds` a server may be silent for ever.

        `explain` may give a better error than `refusal`; `unreachable` is the hint where nothing answers.
        """
        self.place = public_address(base_url)
        self.redactor = Redactor(key)
        self._explain = explain
        self._unreachable = unreachable
        self._base = str(checked_address(base_url)).rstrip("/")
        self._sender = Transport(base_url, limit)
        self._timeout = aiohttp.ClientTimeout(
            connect=read_seconds, sock_connect=CONNECT_SECONDS, sock_read=read_seconds
        )
        # Of httpx, whose own text does not show the key.
        self._headers = httpx.Headers({"Authorization": f"Bearer {key}"} if key else None)

    async def get(self, path: str, *, within: float | None = None) -> Any:
        """Return the JSON at a path, a description. Raises the errors of `fault`, `refusal` and `parse`."""
        return await self._whole("GET", path, None, within, DESCRIPTION_LIMIT)

    async def post(
        self, path: str, body: Mapping[str, Any], *, within: float | None = None, limit: int = DESCRIPTION_LIMIT
    ) -> Any:
        """Send a body and return the JSON of the answer, of at most `limit` bytes. Raises as `get`."""
        return await self._whole("POST", path, body, within, limit)

    async def _whole(
        self, method: str, path: str, body: Mapping[str, Any] | None, within: float | None, limit: int
    ) -> Any:
        try:
            async with asyncio.timeout(within), self._open(method, path, body) as sent:
                content = await sent.read(limit)
        except TimeoutError:
            raise ConnectionFailed(f"the server at {self.place} gave no answer within {within} s") from None
        return self.parse(content)

    async def lines(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """Send a body and yield the lines of the answer as they arrive, but for blank ones and comments of events.

        Closing the iterator closes the connection, and with it the generation behind it. Raises as `get`.
        """
        lines = _Lines(self.place)
        async with self._open("POST", path, body) as sent:
            async for piece in sent.pieces():
                for line in lines.feed(piece):
                    yield line
            for line in lines.end():
                yield line

    def parse(self, text: bytes) -> Any:
        """Return strict JSON's value. Raises BadReply for anything else, such as NaN or a repeated key."""
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
        headers, content = dict(self._headers), None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json_bytes(body, errors="strict")
        url = path if "://" in path else self._base + path
        try:
            sent = await self._sender.send(method, url, headers=headers, content=content, timeout=self._timeout)
            try:
                if not 200 <= sent.status < 300:
                    raise self.refusal(sent.status, sent.headers, error_body_text(await sent.start(ERROR_LIMIT)))
                yield sent
            finally:
                await sent.close()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self.fault(error) from None

    def fault(self, error: Exception) -> PromptkitError:
        """Return the error for what httpx raised, with the hint of this server where nothing answers."""
        ours = fault(error, self.place)
        ours.hint = ours.hint or (self._unreachable if isinstance(error, httpx.ConnectError) else None)
        return ours

    def refusal(self, status: int, headers: Mapping[str, str], text: str) -> PromptkitError:
        """Return the error for a status that is not 2xx, or for an error in a stream: `explain`'s, else the usual one.

        A server may repeat the key that it refuses; the error does not.
        """
        text = self.redactor.quote(text)
        explained = self._explain(status, text) if self._explain else None
        return explained or status_error(status, headers, text, self.place)

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._sender.close()


class _Lines:
    """The lines of a body that arrives in pieces. Blank ones and comments, which begin with a colon, are left out.

    Not httpx's aiter_lines: it also breaks at U+2028 and U+0085, which JSON allows inside a string.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._begun: list[bytes] = []
        self._size = 0
        self._idle = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the lines that the piece ends. Raises BadReply for a line that is too long, and for empty talk."""
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
        """Yield what was begun as a line."""
        yield from self._kept(b"".join(self._begun))

    def _kept(self, line: bytes) -> Iterator[bytes]:
        if line.strip() and not line.startswith(b":"):
            self._idle = 0
            yield line
            return
        self._idle += len(line) + 1
        if self._idle > IDLE_LIMIT:
            raise BadReply(f"the server at {self._place} sends comments and no answer")


def checked_address(url: str) -> httpx.URL:
    """Return a server's address. Raises InputError where it is none, or holds a password: a file could keep it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise fault(error, public_address(url)) from None
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > 65535:
        raise fault(httpx.UnsupportedProtocol(""), public_address(url))
    if parsed.userinfo:
        raise InputError(
            f"the address `{public_address(url)}` holds a password", hint="keys come from the environment only"
        )
    return parsed


def public_address(url: str) -> str:
    """Return an address as messages show it: no user, password or query."""
    start, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return (
        f"{start}{mark}{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
        if mark
        else url.rpartition("@")[2]
    )
