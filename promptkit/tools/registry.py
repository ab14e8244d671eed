"""The kinds of tools that promptkit ships, by the names under which pipelines use them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from promptkit.project import Project
from promptkit.tools.base import Tool, Toolset

KINDS: Final[dict[str, str]] = {
    "calculator": "promptkit.tools.shipped.calculator:Calculator",
    "python": "promptkit.tools.shipped.python:PythonTool",
    "sql": "promptkit.tools.shipped.sql:SqlTool",
    "search": "promptkit.tools.shipped.search:SearchTool",
    "news": "promptkit.tools.shipped.news:NewsTool",
    "mcp": "promptkit.tools.mcp.toolset:McpToolset",
}
"""The class of each kind. It is imported when a target first uses the kind."""


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
    module, _, class_name = KINDS[kind].partition(":")
    shipped: ToolKind = getattr(import_module(module), class_name)
    return shipped.of(name, settings, folder, project)
