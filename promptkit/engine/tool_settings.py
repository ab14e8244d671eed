"""Tools as files name them: declared by a pipeline, or listed by a step."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from promptkit.engine.pipeline import StepTool
from promptkit.engine.spec import ToolSpec
from promptkit.errors import InputError, Problem, nearest
from promptkit.project import Project
from promptkit.storage.models import schema_error_text
from promptkit.tools.base import Tool, Toolset
from promptkit.tools.functions import find_tool
from promptkit.tools.permissions import EFFECTS, permission_hint, refusal, toolset_refusal
from promptkit.tools.registry import KINDS, build_tool

MCP: Final = "mcp:"
"""The beginning of an entry for an MCP server, `mcp:SERVER`, or for one of its tools, `mcp:SERVER/TOOL`."""
FORMS: Final = "`FILE.py:FUNCTION`, a shipped kind such as `calculator`, `{sql: FILE}` or `mcp:SERVER`"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FUNCTION_KEYS: Final = tuple(ToolSpec.model_fields)


class ToolReader:
    """Builds the tools that the files of one target name, each once. Runs none of them and opens no connection."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._built: dict[tuple[Path, str, str], StepTool] = {}
        self._toolsets: dict[str, Tool | Toolset] = {}

    def read(self, value: Any, folder: Path, name: str | None = None) -> StepTool:
        """Return the tool that a file in `folder` describes. `name` is the one that it is declared under.

        Raises InputError, without a place, for what is not a tool and for settings that do not fit.
        """
        key = folder, json.dumps(value, sort_keys=True, default=str), name or ""
        if key not in self._built:
            self._built[key] = self._read(value, folder, name)
        return self._built[key]

    def _read(self, value: Any, folder: Path, name: str | None) -> StepTool:
        if isinstance(value, str):
            return self._named(value, folder, name)
        if not isinstance(value, Mapping):
            raise InputError(f"must be {FORMS}")
        kind = next((key for key in value if key in KINDS), None)
        if kind is not None:
            if len(value) > 1:
                keys = ", ".join(f"`{key}`" for key in value)
                raise InputError(f"a tool is one kind, and this has {keys}", hint=f"write `{{{kind}: SETTINGS}}`")
            settings = value[kind]
            if kind == "mcp" and isinstance(settings, str):
                return self._toolset(settings)
            return self._shipped(kind, settings, folder, name)
        return self._function(value, folder, name)

    def _named(self, text: str, folder: Path, name: str | None) -> StepTool:
        if text.startswith(MCP):
            return self._toolset(text.removeprefix(MCP))
        if text in KINDS:
            return self._shipped(text, None, folder, name)
        if ":" in text:
            return self._function({"function": text}, folder, name)
        raise InputError(f"`{text}` is not a tool", hint=nearest(text, KINDS) if name is None else f"a tool is {FORMS}")

    def _toolset(self, reference: str) -> StepTool:
        """Return the toolset of `SERVER` or `SERVER/TOOL`. The name of a part of it is the part's."""
        server, slash, tool = reference.partition("/")
        if not server or (slash and not tool):
            raise InputError(f"`{MCP}{reference}` must be `{MCP}SERVER` or `{MCP}SERVER/TOOL`")
        if server not in self._toolsets:  # All of its tools: those of one server have one connection.
            toolset = build_tool("mcp", f"{MCP}{server}", server, self._project.root, self._project)
            self._toolsets[server] = toolset
        return StepTool(f"{MCP}{reference}", self._toolsets[server])

    def _shipped(self, kind: str, settings: Any, folder: Path, name: str | None) -> StepTool:
        shipped = KINDS[kind]
        if settings is None and shipped.needs_settings:
            raise InputError(f"`{kind}` needs settings", hint=f"write `{shipped.form}`")
        tool = build_tool(kind, name or kind, settings, folder, self._project)
        return StepTool(tool.name, tool)

    def _function(self, value: Mapping[str, Any], folder: Path, name: str | None) -> StepTool:
        try:
            spec = ToolSpec.model_validate(value)
        except ValidationError as error:
            details = error.errors(include_url=False)
            unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
            raise InputError(_function_problem(detail) for detail in unknown or details) from None
        name = name or spec.function.rpartition(":")[2] or spec.function
        tool = find_tool(name, spec.function, folder, self._project)
        tool = tool.reading(spec.reads, spec.environment, folder, self._project)
        return StepTool(name, tool.with_effects(spec.effects))


def _function_problem(detail: Any) -> Problem:
    path = [str(key) for key in detail["loc"]]
    if detail["type"] == "extra_forbidden":
        return Problem(f"unknown key `{path[-1]}`", hint=nearest(path[-1], [*KINDS, *_FUNCTION_KEYS]))
    if detail["type"] == "missing":
        return Problem(f"`{path[-1]}` is missing", hint=f"a tool is {FORMS}")
    return Problem(f"`{path[0]}`: {schema_error_text(detail)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineTools:
    """The tools that the steps of a pipeline may name, and its `allow`.

    `declared` are those of its `tools:` that could be read, `names` all names there.
    """

    reader: ToolReader
    declared: Mapping[str, StepTool] = field(default_factory=dict)
    names: Collection[str] = ()
    allow: frozenset[str] = frozenset()

    def find(self, entry: Any, folder: Path) -> StepTool | None:
        """Return the tool of a step's entry. None for a declared one that could not be read, which is reported there.

        Raises InputError without a place.
        """
        if isinstance(entry, str):
            if entry in self.declared:
                return self.declared[entry]
            if entry in self.names:
                return None
            if entry not in KINDS and ":" not in entry:
                is_file = entry.endswith(".py")
                hint = f"a function of it is `{entry}:FUNCTION`" if is_file else nearest(entry, [*self.names, *KINDS])
                raise InputError(f"unknown tool `{entry}`", hint=hint)
        return self.reader.read(entry, folder)

    def refused(self, found: StepTool) -> tuple[str, str] | None:
        """Return the reason why a tool may not be called here, and the line that allows it; None where it may."""
        tool = found.tool
        if isinstance(tool, Tool):
            why, name = refusal(tool, self.allow), tool.permission_names[-1]
        else:
            why, name = toolset_refusal(tool, found.name, self.allow), found.name
        return None if why is None else (why, permission_hint(name, self.allow))


def declared_name_fault(name: str) -> str | None:
    """Return the problem of a name that a pipeline declares a tool under, and that models write; None without one."""
    if name in EFFECTS:
        return f"`{name}` is an effect in `allow`: take another name"
    if _NAME.fullmatch(name):
        return None
    return f"`{name}` is not a name of a tool: it has letters, digits, `_` and `-`, at most 64"


def allowed_names(allow: Collection[str], declared: Mapping[str, StepTool]) -> frozenset[str]:
    """Return the entries of `allow:`, with a declared MCP server by its own name."""
    return frozenset(declared[name].name if name in declared else name for name in allow)


def unknown_permission(entry: str, known: Collection[str], project: Project) -> Problem | None:
    """Return the problem of an entry of `allow:` that names neither an effect nor a tool; None without one.

    `known` are the names of the pipeline's tools. The problem has no place.
    """
    servers = [f"{MCP}{name}" for name in project.settings.mcp]
    names = [*EFFECTS, *known, *KINDS, *servers]
    if entry in names or entry.partition("/")[0] in servers:
        return None
    return Problem(f"`allow`: `{entry}` is neither an effect nor a tool of the pipeline", hint=nearest(entry, names))
