"""Kinds of tools for tests: one with settings and a file, one with an effect, and a source like an MCP server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from promptkit.errors import InputError, ToolFailed
from promptkit.project import Project
from promptkit.tools.base import ClientOf, Effect, Tool, Toolset
from promptkit.tools.registry import KINDS, ShippedKind

WORD = {
    "type": "object",
    "properties": {"word": {"type": "string"}, "limit": {"type": "integer", "default": 3}},
    "required": ["word"],
    "additionalProperties": False,
}


class FileTool(Tool):
    """Returns the word, its settings and what its file holds."""

    description = "Look a word up."
    parameters: Mapping[str, Any] = WORD

    def __init__(self, name: str, settings: Any, file: Path, client_of: ClientOf | None = None) -> None:
        self.name = name
        self._settings = settings
        self._file = file
        self._client_of = client_of

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> FileTool:
        file = folder / (settings["file"] if isinstance(settings, Mapping) else settings)
        if not file.is_file():
            raise InputError(f"there is no file `{file.name}`", hint="name a file")
        return cls(name, settings, file)

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        return {**arguments, "content": self._file.read_text(), "bound": self._client_of is not None}

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"settings": self._settings}

    @property
    def files(self) -> tuple[Path, ...]:
        return (self._file,)

    def bound(self, client_of: ClientOf) -> FileTool:
        return FileTool(self.name, self._settings, self._file, client_of)


class NewsTool(Tool):
    """Uses the network."""

    description = "Read the news."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    effects: frozenset[Effect] = frozenset({"network"})

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> NewsTool:
        return cls(name)

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        return "no news"


class ServerTool(Tool):
    """A tool of the server."""

    parameters: Mapping[str, Any] = WORD
    effects: frozenset[Effect] = frozenset({"network", "writes"})

    def __init__(self, server: str, name: str) -> None:
        self.name = f"{server}_{name}"
        self.description = f"{name.capitalize()}."
        self._permission = f"mcp:{server}/{name}"

    @property
    def permission_names(self) -> tuple[str, ...]:
        return (self._permission.partition("/")[0], self._permission)

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        return {"called": self.name, **arguments}


class Server(Toolset):
    """A source of two tools. `log` has what was done to all of them."""

    log: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.name = name
        self._server = name.removeprefix("mcp:")

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> Server:
        return cls(name)

    async def tools(self) -> Mapping[str, Tool]:
        self.log.append(f"asked {self.name} {id(self)}")
        if self._server == "dead":
            raise ToolFailed("the MCP server `dead` does not answer")
        return {tool.name: tool for tool in (ServerTool(self._server, "read"), ServerTool(self._server, "write"))}

    @property
    def notices(self) -> tuple[str, ...]:
        return ("a line of the server",)

    async def close(self) -> None:
        self.log.append(f"closed {self.name} {id(self)}")


@contextmanager
def kinds_for_tests() -> Iterator[list[str]]:
    """Put these in the place of `search`, `news` and `mcp`. Yields what is done to servers."""
    places = {"search": FileTool, "news": NewsTool, "mcp": Server}
    kinds = {
        name: ShippedKind(f"{__name__}:{kind.__name__}", "a kind", f"{{{name}: …}}", name != "news")
        for name, kind in places.items()
    }
    Server.log.clear()
    with patch.dict(KINDS, kinds):
        yield Server.log
