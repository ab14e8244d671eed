"""The MCP server over streamable HTTP, for clients on this machine."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from hmac import compare_digest
from typing import Any, Final

import uvicorn

from promptkit.api.session import ModelOptions
from promptkit.errors import InputError
from promptkit.reports.output import note
from promptkit.server.mcp.server import ProjectServer

HOST: Final = "127.0.0.1"
PATH: Final = "/mcp"
GRACE_SECONDS: Final = 10

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


async def serve_http(targets: Sequence[str], options: ModelOptions, *, port: int, token: str | None) -> None:
    """Serve the project in the working folder on a port of this machine, until SIGTERM or ctrl-C.

    With a `token` only requests with `Authorization: Bearer TOKEN` are answered. Web pages cannot reach it: the package
    checks the headers `Host` and `Origin`. Raises InputError.
    """
    application = ProjectServer(targets, options).protocol().streamable_http_app(streamable_http_path=PATH, host=HOST)
    config = uvicorn.Config(
        application if token is None else with_token(application, token),
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    with bound_socket(port) as listening:
        note(f"MCP at http://{HOST}:{port}{PATH}{'' if token is None else ', with the token'}")
        await uvicorn.Server(config).serve(sockets=[listening])


def bound_socket(port: int) -> socket.socket:
    """Return a socket at a port of this machine. Raises InputError."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise InputError(f"port {port} cannot be used: {error.strerror}", hint="--port names another") from None


def with_token(application: Application, token: str) -> Application:
    """Return an application that answers requests without the token by status 401."""
    expected = f"Bearer {token}".encode()

    async def guarded(
        scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "http" and not compare_digest(given, expected):
            headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await application(scope, receive, send)

    return guarded
