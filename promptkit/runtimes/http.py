"""JSON over HTTP, with every fault one of our errors: bounded bodies, no redirects, strict JSON, no keys in texts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, NoReturn

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
from promptkit.runtimes.transport import BODY_LIMIT, SHOWN, Sender, Sent

LINE_LIMIT = 4 * 2**20
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


def parse(text: bytes, place: str) -> Any:
    """Return strict JSON's value; raise BadReply for anything else, NaN and endless nesting included."""
    try:
        return _from_json(text.decode())
    except (ValueError, RecursionError):
        start = text[:SHOWN].decode(errors="replace")
        raise BadReply(
            f"the server at {place} did not speak JSON: {start!r}", hint="check the base URL of the server"
        ) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_from_json = json.JSONDecoder(parse_constant=_refuse).decode
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def refusal(status: int, headers: Mapping[str, str], said: str, place: str) -> RuntimeFailure:
    """Return our error for a status that is not 2xx. `said` is the server's own text."""
    text = f"the server at {place} answered {status}" + (f": {said}" if said else "")
    if status in (408, 425, 429, 503):
        return ServerBusy(text, retry_after=_seconds(headers.get("Retry-After")))
    if status in (401, 403, 407):
        return AccessDenied(text)
    if status >= 500:
        return ServerFailed(text, retry=status in (502, 504))
    if status >= 400:
        return RequestRefused(text)
    return BadReply(f"{text}; redirects are not followed", hint="give the address that the server itself answers at")


def _seconds(retry_after: str | None) -> float | None:
    """Return what `Retry-After` says in seconds: a number, or the time that is left to a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after)) if retry_after.strip().isdigit() else _left(retry_after)
    except ValueError:
        return None


def _left(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time())


def said(body: bytes) -> str:
    """Return what an error body says: Ollama's, OpenAI's or FastAPI's words, else its first characters."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return body[:SHOWN].decode(errors="replace").strip()
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return value if isinstance(value, str) else json.dumps(value)[:400]


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
        # In a closure, so that no dump of this object's attributes shows the key.
        self._redacted: Callable[[str], str] = lambda text: text.replace(key, "…") if key else text
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
        """Return the JSON at a path. Raises the errors of `fault`, `refusal` and `parse`."""
        return await self._whole("GET", path, None, within)

    async def post(self, path: str, body: Mapping[str, Any], *, within: float | None = None) -> Any:
        """Send a body and return the JSON of the answer. Raises as `get`."""
        return await self._whole("POST", path, body, within)

    async def _whole(self, method: str, path: str, body: Mapping[str, Any] | None, within: float | None) -> Any:
        try:
            async with asyncio.timeout(within), self._open(method, path, body) as sent:
                content = await sent.read()
        except TimeoutError:
            raise ConnectionFailed(f"the server at {self.place} gave no answer within {within} s") from None
        return parse(content, self.place)

    async def lines(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """Send a body and yield the lines of the answer as they arrive, blank ones left out. Raises as `get`.

        Closing the iterator closes the connection, and with it the generation behind it.
        """
        async with self._open("POST", path, body) as sent:
            rest = b""
            # Not httpx's aiter_lines: it also breaks at U+2028 and U+0085, which JSON allows inside a string.
            async for chunk in sent.pieces():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield line
                if len(rest) > LINE_LIMIT:
                    raise BadReply(f"the server at {self.place} sent a line that is too long")
            if rest.strip():
                yield rest

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
                    raise self.refusal(sent.status, sent.headers, said(await sent.read()))
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
        """Return the error for a status that is not 2xx: `explain`'s, else the usual one.

        A server may repeat the key that it refuses; the error does not.
        """
        text = self._redacted(text)
        explained = self._explain(status, text) if self._explain else None
        return explained or refusal(status, headers, text, self.place)

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._sender.close()


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
