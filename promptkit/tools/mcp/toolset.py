"""`mcp:SERVER` and `mcp:SERVER/TOOL`: the tools of an MCP server that `promptkit.yaml` names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promptkit.errors import InputError, MissingExtra, ToolFailed, nearest
from promptkit.project import McpServer, Project
from promptkit.storage.files import resolved
from promptkit.tools.base import Effect, Tool, Toolset

if TYPE_CHECKING:
    from promptkit.tools.mcp.connection import Connection
    from promptkit.tools.mcp.definitions import Definition

MAX_OFFERED: Final = 128
"""Tools of one server that a step may offer to a model: the limit of the OpenAI protocol."""
EFFECTS: Final[frozenset[Effect]] = frozenset({"network", "writes"})
"""Effects of every tool of an MCP server. What the server says of them is not trusted."""


class McpToolset(Toolset):
    """The tools of a server, or one of them. It connects when it is first asked for them."""

    def __init__(self, name: str, server: str, tool: str | None, project: Project) -> None:
        self.name = name
        self._server = server
        self._tool = tool
        self._settings = project.settings.mcp[server]
        self._root = project.root
        self._connection: Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> McpToolset:
        """Return the tools that `settings` name: `SERVER` or `SERVER/TOOL`. None: the name, after `mcp:`, names them.

        Raises InputError.
        """
        named = name if settings is None else settings
        if not isinstance(named, str):
            raise InputError("`mcp` takes the name of a server, or `SERVER/TOOL`")
        server, slash, tool = named.removeprefix("mcp:").partition("/")
        known = project.settings.mcp
        if server not in known:
            hint = (
                nearest(server, known) or f"name it in promptkit.yaml: `mcp: {{{server or 'NAME'}: {{command: […]}}}}`"
            )
            raise InputError(f"there is no MCP server `{server}` in promptkit.yaml", hint=hint)
        if slash and not tool:
            raise InputError(f"`{named}` names no tool", hint=f"`mcp:{server}` stands for all tools of the server")
        return cls(name, server, tool or None, project)

    async def tools(self) -> Mapping[str, Tool]:
        """Return the tools by the names that a model calls them by. Raises ToolFailed, and MissingExtra."""
        definitions = await (await self._connected()).definitions()
        assert self._connection is not None
        if self._tool is not None:
            if self._tool not in definitions:
                raise ToolFailed(
                    f"the MCP server `{self._server}` has no tool `{self._tool}` that can be used",
                    hint=nearest(self._tool, definitions),
                )
            chosen = [definitions[self._tool]]
        else:
            chosen = list(definitions.values())
        if len(chosen) > MAX_OFFERED:
            raise ToolFailed(
                f"the MCP server `{self._server}` has {len(chosen):,} tools, and a step offers at most {MAX_OFFERED}",
                hint=f"name those that it needs, such as `mcp:{self._server}/{chosen[0].tool}`",
            )
        source = server_identity(self._settings)
        files = local_files(self._settings, self._root)
        tools = [McpTool(self._server, found, self._connection, source, files) for found in chosen]
        return {tool.name: tool for tool in tools}

    async def close(self) -> None:
        """Give the connection back. The last toolset that uses it ends it."""
        connection, self._connection = self._connection, None
        if connection is not None and self._loop is asyncio.get_running_loop():
            from promptkit.tools.mcp.connection import release

            await release(connection)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know of the server: tools that were left out or have changed."""
        return () if self._connection is None else tuple(self._connection.notices)

    async def _connected(self) -> Connection:
        loop = asyncio.get_running_loop()
        if self._connection is None or self._loop is not loop:
            if find_spec("mcp") is None:
                raise MissingExtra(f"the tool `mcp:{self._server}`", "mcp")
            # In a thread, because the package takes the time of many answers to load.
            module = await asyncio.to_thread(import_module, "promptkit.tools.mcp.connection")
            if self._connection is None or self._loop is not loop:
                self._connection, self._loop = module.lease(self._server, self._settings, self._root), loop
        return self._connection


class McpTool(Tool):
    """A tool of an MCP server."""

    effects = EFFECTS

    def __init__(
        self,
        server: str,
        definition: Definition,
        connection: Connection,
        source: Mapping[str, Any],
        files: tuple[Path, ...],
    ) -> None:
        self.name = definition.name
        self.description = definition.description
        self.parameters = definition.parameters
        self._server = server
        self._tool = definition.tool
        self._digest = definition.digest
        self._connection = connection
        self._source = source
        self._files = files

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
        return {**self._source, "tool": self._tool, "definition": self._digest}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the project that the server's command names."""
        return self._files


def server_identity(server: McpServer) -> dict[str, Any]:
    """Return what tells a server from others, without values of its environment and headers."""
    return {"url": server.url} if server.url else {"command": list(server.command)}


def local_files(server: McpServer, root: Path) -> tuple[Path, ...]:
    """Return the files in the project that the command of a server names."""
    paths = (resolved(root / word) for word in server.command[1:] if not word.startswith("-"))
    return tuple(path for path in paths if path.is_file() and path.is_relative_to(resolved(root)))
