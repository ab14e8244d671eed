"""The server: listening, and stopping without losing a request."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self

from aiohttp import web

from promptkit.api.session import ModelOptions
from promptkit.errors import InputError
from promptkit.reports.output import note
from promptkit.reports.text import counted
from promptkit.server.http.access import AccessLog
from promptkit.server.http.admission import Admission
from promptkit.server.http.app import Endpoints
from promptkit.server.http.catalog import Catalog
from promptkit.server.http.options import HttpOptions

BACKLOG = 1024
"""Connections that the system holds until they are accepted."""
BACKLOG_ROUNDS = 10
"""Rounds of the event loop in which waiting connections are accepted before the server closes."""
CLOSING_SECONDS = 5.0
"""Seconds for responses that are being written when the server closes."""
LINGERING_SECONDS = 2.0
"""Seconds in which the rest of a refused body is read, so that its client sees the response."""

# aiohttp would log the faults of clients, with tracebacks.
_protocol_log = logging.getLogger("promptkit.server.http")
_protocol_log.addHandler(logging.NullHandler())
_protocol_log.propagate = False


class HttpServer:
    """Serves a catalog over HTTP. As a context manager it listens; `stop` comes before its end, to end in order."""

    def __init__(self, catalog: Catalog, options: HttpOptions, log: AccessLog | None = None) -> None:
        self._options = options
        self._admission = Admission(options)
        endpoints = Endpoints(catalog, options, self._admission, log or AccessLog())
        self._runner = web.AppRunner(
            endpoints.application(),
            handler_cancellation=True,  # a run ends with its client
            keepalive_timeout=options.read_timeout,
            lingering_time=LINGERING_SECONDS,
            auto_decompress=False,
            shutdown_timeout=CLOSING_SECONDS,
            access_log=None,
            logger=_protocol_log,
        )

    @property
    def url(self) -> str:
        """The address of the server."""
        host, port = self._runner.addresses[0][:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> int:
        """Turn away new requests and wait for those that run. Returns how many had to be ended."""
        ended = await self._admission.drain()
        for _ in range(BACKLOG_ROUNDS):  # connections that the system has accepted get their refusal
            await asyncio.sleep(0)
        return ended

    def end(self) -> None:
        """End the running requests now."""
        self._admission.end()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._options.host, self._options.port, backlog=BACKLOG)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            why = error.strerror if isinstance(error, OSError) else str(error)
            where = f"{self._options.host}:{self._options.port}"
            raise InputError(f"cannot listen on {where}: {why}", hint="--port PORT") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


async def serve(
    targets: Sequence[str],
    model: ModelOptions,
    options: HttpOptions,
    *,
    log: AccessLog,
    keep_runs: bool = False,
    watch: Callable[[Catalog], AsyncIterator[object]] | None = None,
) -> None:
    """Serve pipelines until SIGTERM or ctrl-C; a second one ends the running requests at once.

    `watch` yields when files of the catalog have changed since it was called; the catalog is then read again. Raises
    InputError for wrong targets and an address that is taken.
    """
    async with Catalog(targets, model, keep_runs=keep_runs) as catalog:
        changes = watch(catalog) if watch else None
        await catalog.warm_up()
        async with HttpServer(catalog, options, log) as server, _stopping() as stopped, _reloading(catalog, changes):
            names = ", ".join(catalog.pipelines)
            note(f"serving {counted(len(catalog.pipelines), 'pipeline')} at {server.url}: {names}")
            note(f"OpenAI base URL: {server.url}/v1; ctrl-C stops")
            await stopped.wait()
            note("stopping; running requests are finished first")
            stopped.clear()
            ending = asyncio.create_task(_end_when(stopped, server))
            ended = await server.stop()
            ending.cancel()
            if ended:
                note(f"{counted(ended, 'request')} had to be ended")


async def _end_when(stopped: asyncio.Event, server: HttpServer) -> None:
    await stopped.wait()
    server.end()


@asynccontextmanager
async def _stopping() -> AsyncIterator[asyncio.Event]:
    """Yield an event that SIGTERM and ctrl-C set."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _reloading(catalog: Catalog, changes: AsyncIterator[object] | None) -> AsyncIterator[None]:
    """Read the catalog again after each change, while the block runs."""
    if changes is None:
        yield
        return
    task = asyncio.create_task(_reload_after_changes(catalog, changes))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _reload_after_changes(catalog: Catalog, changes: AsyncIterator[object]) -> None:
    async for _ in changes:
        try:
            catalog.reload()
        except InputError as error:
            note(f"not reloaded: {error}")
        else:
            note(f"reloaded {counted(len(catalog.pipelines), 'pipeline')}")
