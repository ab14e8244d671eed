"""The kinds of tools that promptkit ships, by the names under which pipelines use them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from promptkit.project import Project
from promptkit.tools.base import Tool, Toolset


@dataclass(frozen=True, slots=True)
class ShippedKind:
    """A kind of tool: the place of its class, a line on it, and how a pipeline writes it.

    `form` shows settings where the kind needs some.
    """

    place: str
    about: str
    form: str
    needs_settings: bool = False


KINDS: Final[dict[str, ShippedKind]] = {
    "calculator": ShippedKind(
        "promptkit.tools.shipped.calculator:Calculator", "one expression of arithmetic", "calculator"
    ),
    "python": ShippedKind("promptkit.tools.shipped.python:PythonTool", "a Python program in the sandbox", "python"),
    "sql": ShippedKind(
        "promptkit.tools.shipped.sql:SqlTool", "read-only SQL over your tables", "{sql: data/sales.csv}", True
    ),
    "search": ShippedKind(
        "promptkit.tools.shipped.search:SearchTool", "search in your documents", "{search: handbook/}", True
    ),
    "news": ShippedKind("promptkit.tools.shipped.news:NewsTool", "items of the feeds in promptkit.yaml", "news"),
    "mcp": ShippedKind(
        "promptkit.tools.mcp.toolset:McpToolset", "the tools of an MCP server in promptkit.yaml", "mcp:SERVER", True
    ),
}
"""The shipped kinds. The class of a kind is imported when a target first uses it."""


class ToolKind(Protocol):
    """A class of tools that a pipeline can declare."""

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> Tool | Toolset:
        """Return the tool that a file in `folder` declares under a name.

        `settings` are a file, a list or a mapping; None where there are none. Raises InputError, without a place, for
        settings that do not fit or are missing.
        """


def build_tool(kind: str, name: str, settings: Any, folder: Path, project: Project) -> Tool | Toolset:
    """Return a tool of a shipped kind. Raises KeyError for an unknown kind, and InputError as `ToolKind.of` does."""
    module, _, class_name = KINDS[kind].place.partition(":")
    shipped: ToolKind = getattr(import_module(module), class_name)
    return shipped.of(name, settings, folder, project)
