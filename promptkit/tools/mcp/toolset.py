"""`mcp:SERVER`: the tools of an MCP server that `promptkit.yaml` names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promptkit.errors import InputError, MissingExtra, nearest
from promptkit.project import McpServer, Project
from promptkit.storage.files import resolved
from promptkit.tools.base import Effect, Tool, Toolset

if TYPE_CHECKING:
    from promptkit.tools.mcp.connection import Connection
    from promptkit.tools.mcp.definitions import Definition

EFFECTS: Final[frozenset[Effect]] = frozenset({"network", "writes"})
"""Effects of every tool of an MCP server. What the server says of them is not trusted."""


class McpToolset(Toolset):
    """The tools of a server. It connects when it is first asked for them, and serves one event loop at a time."""

    effects = EFFECTS
    extra = "mcp"

    def __init__(self, name: str, server: str, project: Project) -> None:
        self.name = name
        self._server = server
        self._settings = project.settings.mcp[server]
        self._root = project.root
        self._connection: Connection | None = None

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> McpToolset:
        """Return the tools of the server that `settings` name, or that the name does, after `mcp:`. Raises InputError.

        `folder` is not used: servers are those of `promptkit.yaml`.
        """
        server = name.removeprefix("mcp:") if settings is None else settings
        if not isinstance(server, str):
            raise InputError("`mcp` takes the name of a server in promptkit.yaml")
        known = project.settings.mcp
        if server not in known:
            hint = nearest(server, known) or "`mcp: {NAME: {command: […]}}` in promptkit.yaml names one"
            raise InputError(f"there is no MCP server `{server}` in promptkit.yaml", hint=hint)
        return cls(name, server, project)

    async def tools(self) -> Mapping[str, Tool]:
        """Return the tools by the names that a model calls them by. Raises ToolFailed, and MissingExtra."""
        connection = await self._connected()
        definitions = await connection.definitions()
        tools = [McpTool(self, self._server, found, connection) for found in definitions.values()]
        return {tool.name: tool for tool in tools}

    async def close(self) -> None:
        """End the connection, and the process of the server. Tools that were returned cannot be called any longer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @property
    def notices(self) -> tuple[str, ...]:
        """Lines on tools that were left out or have changed."""
        return () if self._connection is None else tuple(self._connection.notices)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The command or address, and the `lock`, if any: changed tools are not known before the server is asked."""
        return {**server_identity(self._settings), **({"lock": lock} if (lock := self._settings.lock) else {})}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the project that the server's command names."""
        return local_files(self._settings, self._root)

    async def _connected(self) -> Connection:
        if self._connection is None or not self._connection.is_here:
            if find_spec("mcp") is None:
                raise MissingExtra(f"the tool `mcp:{self._server}`", "mcp")
            # In a thread, because the package takes a second to load.
            module = await asyncio.to_thread(import_module, "promptkit.tools.mcp.connection")
            if self._connection is None or not self._connection.is_here:
                self._connection = module.Connection(self._server, self._settings, self._root)
        return self._connection


class McpTool(Tool):
    """A tool of an MCP server."""

    effects = EFFECTS

    def __init__(self, source: McpToolset, server: str, definition: Definition, connection: Connection) -> None:
        self.name = definition.name
        self.description = definition.description
        self.parameters = definition.parameters
        self._server = server
        self._tool = definition.tool
        self._digest = definition.digest
        self._connection = connection
        self._source = source

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """Return the structured content of the result, else its text. Raises ToolFailed."""
        return await self._connection.call(self._tool, arguments)

    @property
    def permission_names(self) -> tuple[str, ...]:
        """`mcp:SERVER` and `mcp:SERVER/TOOL`."""
        return (f"mcp:{self._server}", f"mcp:{self._server}/{self._tool}")

    @property
    def identity(self) -> Mapping[str, Any]:
        """The server, and a digest of the definition: another definition is another tool."""
        return {**self._source.identity, "tool": self._tool, "definition": self._digest}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the project that the server's command names."""
        return self._source.files


def server_identity(server: McpServer) -> dict[str, Any]:
    """Return the settings that tell a server from others, without values of its environment and headers."""
    return {"url": server.url} if server.url else {"command": list(server.command)}


def local_files(server: McpServer, root: Path) -> tuple[Path, ...]:
    """Return the files in the project that the command of a server names."""
    paths = (resolved(root / word) for word in server.command[1:] if not word.startswith("-"))
    return tuple(path for path in paths if path.is_file() and path.is_relative_to(resolved(root)))
