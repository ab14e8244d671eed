"""A connection to an MCP server, which any number of tasks of one event loop use, until it is closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import mcp_types as types
from mcp.client.client import Client
from mcp.client.session import ClientSession, IncomingMessage
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from promptkit.errors import ToolFailed, first_error
from promptkit.project import McpServer
from promptkit.runtimes.function_calls import is_too_deep
from promptkit.storage.files import without_paths
from promptkit.tools.mcp.definitions import Definition, lock_of, read_definitions
from promptkit.tools.mcp.http import HttpConnection
from promptkit.tools.mcp.results import failure_text, result_value
from promptkit.tools.mcp.screen import ScreenedStream, ServerFault
from promptkit.tools.mcp.secrets import Secrets
from promptkit.tools.mcp.stdio import ChildProcess

MAX_LISTED: Final = 2_000
"""Tools of a server that are read."""
MAX_PAGES: Final = 100
MAX_STARTS: Final = 4
"""Starts of a server that ends, without an answer in between."""
CLOSE_SECONDS: Final = 8.0

_Result = types.CallToolResult | types.InputRequiredResult
_RESULTS: TypeAdapter[_Result] = TypeAdapter(_Result)

# What the package logs is in our errors, or not about the person's project.
logging.getLogger("mcp").addHandler(logging.NullHandler())
logging.getLogger("client").addHandler(logging.NullHandler())


class Link:
    """One connection of the package's client, which lives in a task of its own.

    `screen` has the bounds of what the server sends. Entering and leaving the client must happen in one task, whoever
    uses it.
    """

    def __init__(self, transport: ChildProcess | HttpConnection, connection: Connection) -> None:
        self._transport = transport
        self._connection = connection
        self._closing = asyncio.Event()
        self._ready: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        self._fault: str | None = None
        self.screen: ScreenedStream | None = None

    async def session(self) -> ClientSession:
        """Return the session as soon as the server has answered. Raises ServerFault."""
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        """End the connection, and the process of the server."""
        self._closing.set()
        if not self._ready.done():
            self._task.cancel()
        await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()  # it may have reached nobody

    @property
    def ended(self) -> bool:
        """True where nothing can be sent any longer."""
        return self._task.done() or (self.screen is not None and self.screen.ended)

    @property
    def fault(self) -> str | None:
        """The reason for which the connection is of no use, as a predicate."""
        return (self.screen and self.screen.fault) or self._transport.fault or self._fault

    @property
    def log(self) -> str:
        """The last line that the server wrote to stderr."""
        return next((line for line in reversed(self._transport.log.splitlines()) if line.strip()), "")

    async def _run(self) -> None:
        transport = self._transport
        try:
            async with Client(
                _ScreenedTransport(transport, self),
                cache=None,
                message_handler=self._heard,
                client_info=types.Implementation(name="promptkit", version=version("promptkit")),
            ) as client:
                self._ready.set_result(client.session)
                watcher = asyncio.create_task(_subscribe(client))
                try:
                    await self._closing.wait()
                finally:
                    watcher.cancel()
        except Exception as error:
            fault = self._fault_of(first_error(error))
            if self._ready.done():
                self._fault = str(fault)
            else:
                self._ready.set_exception(fault)
        finally:
            if not self._ready.done():
                self._ready.cancel()

    def _fault_of(self, error: BaseException) -> ServerFault:
        if isinstance(error, ServerFault):
            return error
        if self.fault:
            return ServerFault(self.fault)
        if isinstance(error, ValidationError):
            return ServerFault("does not follow the protocol")
        return ServerFault(f"cannot be used: {self._connection.secrets.quote(str(error) or type(error).__name__)}")

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.tools_changed()

    def tools_changed(self) -> None:
        """Take note of a server that says that its tools have changed."""
        self._connection.notices[
            f"the MCP server `{self._connection.name}` has changed its tools: those of its first listing are used"
        ] = None


async def _subscribe(client: Client) -> None:
    """Ask a server that speaks a version since 2026-07-28 to say when its tools change; older ones do so unasked."""
    if client.protocol_version in MODERN_PROTOCOL_VERSIONS and _announces_changes(client.server_capabilities):
        with suppress(MCPError, SubscriptionLost, TimeoutError):
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    pass  # the session hands each one to its message handler


def _announces_changes(capabilities: types.ServerCapabilities) -> bool:
    return capabilities.tools is not None and bool(capabilities.tools.list_changed)


class _ScreenedTransport:
    """A transport whose messages are screened."""

    def __init__(self, transport: ChildProcess | HttpConnection, link: Link) -> None:
        self._entered = transport.streams()
        self._link = link

    async def __aenter__(self) -> Any:
        reading, writing = await self._entered.__aenter__()
        self._link.screen = ScreenedStream(reading)
        return self._link.screen, writing

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._entered.__aexit__(*error)


class Connection:
    """A server as it was first listed. `notices` are what a person should know of it.

    A server that has ended is started again by the next call; an answer that takes longer than the server's `timeout`
    is not waited for. All failures are ToolFailed.
    """

    def __init__(self, name: str, server: McpServer, folder: Path) -> None:
        self.name = name
        self._server = server
        self._folder = folder
        self.notices: dict[str, None] = {}
        self.secrets = Secrets(name, [*server.env.values(), *server.headers.values()])
        self._link: Link | None = None
        self._lock = asyncio.Lock()
        self._starts = 0
        self._definitions: Mapping[str, Definition] | None = None
        self._refused: ToolFailed | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def is_here(self) -> bool:
        """True in the event loop in which it was made."""
        return self._loop is asyncio.get_running_loop()

    async def definitions(self) -> Mapping[str, Definition]:
        """Return the server's tools by their names there, as they were first listed in this session."""
        await self._open()
        assert self._definitions is not None
        return self._definitions

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """Call a tool of the server and return its result as JSON."""
        session = await self._open()
        link = self._link
        assert link is not None and link.screen is not None
        link.screen.begin()
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=dict(arguments)))
        try:
            async with asyncio.timeout(self._server.timeout):
                # The session's own `call_tool` would match the result with patterns that the server gave.
                result = await session.send_request(request, _RESULTS)
        except TimeoutError:
            raise self._failure(f"did not answer the call of `{tool}` within {self._server.timeout:g} s") from None
        except ValueError:  # of another shape, or nested deeper than the package writes
            raise self._failure(f"answered the call of `{tool}` with what is not the result of a tool") from None
        except MCPError as error:
            if not link.ended and error.code != types.CONNECTION_CLOSED:
                raise self._failure(f"refused the call of `{tool}`: {self.secrets.quote(error.message)}") from None
            raise await self._end(link, f"the call of `{tool}`", error) from None
        self._starts = 1
        if isinstance(result, types.InputRequiredResult):
            raise self._failure(f"asked for input in the call of `{tool}`, which a tool does not get")
        if result.is_error:
            raise ToolFailed(self.secrets.clean(failure_text(result)))
        value = result_value(result)
        if is_too_deep(value):
            raise self._failure(f"answered the call of `{tool}` with data that is nested too deep")
        return self.secrets.clean(value)

    async def close(self) -> None:
        """End the connection for good. Safe to call twice."""
        self._closed = True
        if self._link is not None:
            await self._link.close()

    async def _open(self) -> ClientSession:
        async with self._lock:
            if self._closed:
                raise self._failure("is no longer used: its session has ended")
            if self._link is not None and not self._link.ended:
                return await self._link.session()
            if self._refused is not None:
                raise self._refused
            try:
                return await self._start()
            except ToolFailed as error:
                self._refused = error
                raise

    async def _start(self) -> ClientSession:
        """Connect and read the listing; a later one is only compared with the first."""
        if self._link is not None:
            await self._link.close()
        if self._starts == MAX_STARTS:
            raise self._failure(f"has ended {MAX_STARTS} times without an answer")
        self._starts += 1
        link = self._link = Link(self._transport(), self)
        done = False
        try:
            async with asyncio.timeout(self._server.timeout):
                session = await link.session()
                listed = await self._list(session)
            self._take(listed, link)
            done = True
        except TimeoutError:
            raise self._failure(f"did not answer within {self._server.timeout:g} s") from None
        except ServerFault as fault:
            await link.close()
            raise self._failure(str(fault), link.log) from None
        except ValueError:
            raise self._failure("listed its tools in a way that does not follow the protocol") from None
        except MCPError as error:
            if link.ended or error.code == types.CONNECTION_CLOSED:
                raise await self._end(link, "listing its tools", error) from None
            raise self._failure(f"did not list its tools: {self.secrets.quote(error.message)}") from None
        finally:
            if not done:
                await link.close()
        return session

    def _take(self, listed: Iterable[types.Tool], link: Link) -> None:
        """Keep the first listing. Raises ToolFailed for one that does not fit the `lock`."""
        found = read_definitions(self.name, listed, self._notice if self._definitions is None else _ignored)
        if self._definitions is None:
            self._check_lock(found)
            self._definitions = found
        elif found != self._definitions:
            link.tools_changed()

    def _check_lock(self, found: Mapping[str, Definition]) -> None:
        locked, lock = self._server.lock, lock_of(found)
        if locked not in (None, lock):
            raise ToolFailed(
                f"the tools of the MCP server `{self.name}` do not match its `lock`: their digest is `{lock}`",
                hint=f"look at them without the lock: promptkit tools list mcp:{self.name}; then write `lock: {lock}`",
            )

    async def _list(self, session: ClientSession) -> list[types.Tool]:
        tools: list[types.Tool] = []
        cursor = None
        for _ in range(MAX_PAGES):
            page = await session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
            tools += page.tools
            if len(tools) > MAX_LISTED:
                raise ServerFault(f"lists more than {MAX_LISTED:,} tools")
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise ServerFault(f"lists its tools on more than {MAX_PAGES} pages")

    def _transport(self) -> ChildProcess | HttpConnection:
        server = self._server
        if server.url:
            return HttpConnection(server.url, self.secrets.filled(server.headers), server.timeout)
        return ChildProcess(server.command, self.secrets.filled(server.env), self._folder)

    async def _end(self, link: Link, during: str, error: MCPError) -> ToolFailed:
        """Close a connection that has ended, and return why it has."""
        await link.close()
        fault = link.fault or f"ended the connection ({self.secrets.quote(error.message)})"
        return self._failure(f"{fault}, during {during}", link.log)

    def _failure(self, predicate: str, log: str = "") -> ToolFailed:
        last_line = f": {self.secrets.quote(without_paths(log, self._folder))}" if log else ""
        return ToolFailed(f"the MCP server `{self.name}` {predicate}{last_line}")

    def _notice(self, text: str) -> None:
        self.notices[text] = None


def _ignored(_: str) -> None:
    """Say nothing: the first listing has been reported."""
