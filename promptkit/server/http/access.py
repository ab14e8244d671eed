"""The guards before every request: token, Host, Origin; the headers of CORS; and the log line after it."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import urlsplit

from aiohttp import web

from promptkit.errors import UnexpectedError
from promptkit.reports.output import note
from promptkit.reports.text import json_text, seconds_text
from promptkit.server.http.errors import HttpError, as_http_error
from promptkit.server.http.options import HttpOptions

HEADERS = web.RequestKey("headers", dict[str, str])
"""The headers of the response to a request."""
MODEL = web.RequestKey("model", str)
"""The name of the pipeline that a request asks for."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths that need no token: what watches the server has none."""
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """Refuses requests that may not be made. `refuse` raises HttpError."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._token = options.token.encode() if options.token else None

    def refuse(self, request: web.Request) -> None:
        """Raise HttpError for a foreign Host or Origin, and for a missing or wrong token."""
        self._check_host(request)
        self._check_origin(request)
        if request.method != "OPTIONS" and request.path not in OPEN_PATHS:
            self._check_token(request)

    def _check_host(self, request: web.Request) -> None:
        """Refuse a Host that is not of this machine: the page of a site may have its name resolved to it."""
        if not self._options.is_loopback:
            return
        try:
            host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
        except ValueError:
            host = None
        if host not in _LOOPBACK_NAMES | {self._options.host}:
            raise HttpError(403, "the Host of the request is not this server", "wrong_host")

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        if origin is None or self.allows(origin):
            return
        if origin != f"http://{request.headers.get('Host', '')}":
            raise HttpError(403, "web pages of this origin may not use the server", "wrong_origin")

    def allows(self, origin: str) -> bool:
        """Tell whether CORS is on for an origin."""
        return origin in self._options.origins

    def _check_token(self, request: web.Request) -> None:
        if self._token is None:
            return
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if kind.lower() != "bearer" or not is_right:
            raise HttpError(401, "the bearer token is missing or wrong", "invalid_token")


def cors_headers(request: web.Request, guard: Guard) -> dict[str, str]:
    """Return the headers by which a browser lets a page of an allowed origin read the response."""
    origin = request.headers.get("Origin", "")
    if not guard.allows(origin):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Vary": "Origin",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Max-Age": "600",
    }


def error_response(error: HttpError) -> web.Response:
    """Return the response of an error."""
    return web.json_response(error.record(), status=error.status, headers=error.headers)


async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the response of a handler; an error of any kind becomes an object of the protocol."""
    try:
        return await handler(request)
    except HttpError as error:
        response = error_response(error)
        if error.status in (408, 413):
            response.force_close()  # the rest of the body is not read
        return response
    except web.HTTPException as error:
        return error_response(HttpError(error.status, f"{request.path}: {error.reason.lower()}", "http_error"))
    except Exception as error:
        return error_response(as_http_error(UnexpectedError(error)))


class AccessLog:
    """Writes a line a request to stderr: a person's, or JSON."""

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self._quiet = quiet
        self._json = json

    def write(self, request: web.Request, status: int, started: float) -> None:
        """Write the line of a request that began at `started`, in seconds of the monotonic clock."""
        if self._quiet:
            return
        seconds = monotonic() - started
        now = datetime.now(UTC).astimezone()
        path, model = request.url.raw_path, request.get(MODEL, "")
        if self._json:
            record = {
                "time": now.isoformat(timespec="milliseconds"),
                "client": request.remote,
                "method": request.method,
                "path": path,
                "model": model or None,
                "status": status,
                "seconds": round(seconds, 4),
            }
            note(json_text(record, indent=None))
        else:
            named = f" {model}" if model and model not in path else ""
            note(f"{now:%H:%M:%S} {request.method} {path}{named} {status} {seconds_text(seconds)}")
