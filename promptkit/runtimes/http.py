"""JSON over HTTP, with every fault one of our errors: bounded bodies, no redirects, strict JSON, no keys in texts.

Texts of a server reach messages through `Server.redactor.quote` only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
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
from promptkit.runtimes.redaction import Redactor
from promptkit.runtimes.transport import BODY_LIMIT, Sender, Sent
from promptkit.storage import refuse_constant, without_repeats

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


_from_json = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=without_repeats).decode
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def refusal(status: int, headers: Mapping[str, str], said: str, place: str) -> RuntimeFailure:
    """Return our error for a status that is not 2xx. `said` is the server's own text, redacted."""
    text = f"the server at {place} answered {status}" + (f": {said}" if said else "")
    if status in (408, 425, 429, 503):
        return ServerBusy(text, retry_after=_seconds(headers.get("Retry-After")))
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


def _seconds(retry_after: str | None) -> float | None:
    """Return what `Retry-After` says in seconds: a number, or the time that is left to a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after)) if retry_after.strip().isdigit() else _left(retry_after)
    except (ValueError, OverflowError):
        return None


def _left(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time())


def said(body: bytes) -> str:
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
        self.place = shown(base_url)
        self.redactor = Redactor(key)
        self._explain = explain
        self._unreachable = unreachable
        self._base = str(checked(base_url)).rstrip("/")
        self._sender = Sender(base_url, limit)
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
            return _from_json(text.decode())
        except (ValueError, RecursionError):
            start = self.redactor.quote(text)
            raise BadReply(
                f"the server at {self.place} did not speak JSON: `{start}`", hint="check the base URL of the server"
            ) from None

    @asynccontextmanager
    async def _open(self, method: str, path: str, body: Mapping[str, Any] | None) -> AsyncIterator[Sent]:
        headers, content = dict(self._headers), None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = _to_json(body).encode()
        url = path if "://" in path else self._base + path
        try:
            sent = await self._sender.send(method, url, headers=headers, content=content, timeout=self._timeout)
            try:
                if not 200 <= sent.status < 300:
                    raise self.refusal(sent.status, sent.headers, said(await sent.start(ERROR_LIMIT)))
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
        return explained or refusal(status, headers, text, self.place)

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


def checked(url: str) -> httpx.URL:
    """Return a server's address. Raises InputError where it is none, or holds a password: a file could keep it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise fault(error, shown(url)) from None
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > 65535:
        raise fault(httpx.UnsupportedProtocol(""), shown(url))
    if parsed.userinfo:
        raise InputError(f"the address `{shown(url)}` holds a password", hint="keys come from the environment only")
    return parsed


def shown(url: str) -> str:
    """Return an address as messages show it: no user, password or query."""
    start, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return (
        f"{start}{mark}{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
        if mark
        else url.rpartition("@")[2]
    )
