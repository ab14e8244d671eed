"""Tools without a model: those of a target or a server listed, and one of them called."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.api.session import find_project, load
from promptkit.engine.dependencies import tools_of
from promptkit.engine.pipeline import Pipeline, StepTool
from promptkit.engine.tool_settings import MCP, PipelineTools, ToolReader
from promptkit.engine.toolsets import open_tools, sharing_toolsets
from promptkit.errors import InputError, MissingExtra, ToolFailed, nearest
from promptkit.project import Project
from promptkit.reports.progress import Progress
from promptkit.runtimes.models import Models
from promptkit.storage.yaml import load as load_yaml
from promptkit.tools.arguments import argument_fault, typed_arguments
from promptkit.tools.base import Tool
from promptkit.tools.permissions import EFFECTS, refusal
from promptkit.tools.registry import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTool:
    """A tool as it is listed. `entry` is its name in `tools:`, `steps` are those that may call it.

    `problem` is why a server's tools are not known.
    """

    entry: str
    name: str = ""
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    effects: tuple[str, ...] = ()
    allowed: bool = True
    steps: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledTool:
    """A call of a tool, with its result."""

    tool: str
    arguments: Mapping[str, Any]
    result: Any


def kind_records() -> list[dict[str, Any]]:
    """Return the shipped kinds, as the documented JSON objects."""
    return [{"kind": name, "about": kind.about, "form": kind.form} for name, kind in KINDS.items()]


def named_sources(project: Project) -> dict[str, list[str]]:
    """Return the MCP servers and the feeds that `promptkit.yaml` names."""
    settings = project.settings
    return {"servers": [f"{MCP}{name}" for name in settings.mcp], "feeds": list(settings.feeds)}


async def list_tools(target: str, progress: Progress | None = None) -> list[ListedTool]:
    """Return the tools of a pipeline or prompt, or of one entry as a step's `tools:` has it (`mcp:SERVER`).

    Connects to the servers that it names. Raises InputError.
    """
    project = find_project(target)
    if _is_entry(target, project):
        found = _find(target, PipelineTools(reader=ToolReader(project)), {}, project.root)
        planned = [_Planned(found.name, found, frozenset(EFFECTS))]
    else:
        try:
            pipeline = load(target)
        except InputError as error:
            if target not in project.settings.mcp or project.find_pipeline(target) or project.find_prompt(target):
                raise
            raise InputError(error.problems[0].message, hint=f"promptkit tools list {MCP}{target}") from None
        project, planned = pipeline.project, list(_planned(pipeline))
    listed: list[ListedTool] = []
    async with sharing_toolsets():
        for tool in planned:
            listed += await _opened(tool, project, _notice_of(progress))
    return listed


async def call_tool(
    name: str,
    texts: Mapping[str, str],
    *,
    target: str | None = None,
    allow: Sequence[str] = (),
    progress: Progress | None = None,
) -> CalledTool:
    """Call a tool and return its result.

    `name` is a tool of the pipeline `target`, or an entry as a step's `tools:` has it: `calculator`, `mcp:SERVER/TOOL`,
    `FILE.py:FUNCTION`, `{sql: FILE}`. `texts` are its arguments, read by its schema. A tool with effects must be in the
    target's `allow` or in `allow`. Raises InputError, and ToolFailed.
    """
    pipeline = None if target is None else load(target)
    project = pipeline.project if pipeline else Project.find(Path.cwd())
    tools = PipelineTools(
        reader=ToolReader(project),
        declared=pipeline.tools if pipeline else {},
        names=pipeline.tools.keys() if pipeline else (),
        allow=frozenset(allow) | (pipeline.allow if pipeline else frozenset()),
    )
    folder = pipeline.file.parent if pipeline else Path.cwd()
    named = _find(name, tools, _entries(pipeline) if pipeline else {}, folder)
    if named.name.startswith(MCP) and "/" not in named.name:
        raise InputError(f"`{named.name}` has several tools", hint=f"promptkit tools list {named.name} shows them")
    if refused := tools.refused(named):
        raise InputError(refused[0], hint=_allow_option(named))
    async with Models(base=project.root, notice=progress.notice if progress else None) as models, sharing_toolsets():
        opened = await open_tools(
            {named.name: named.tool},
            root=project.root,
            allow=tools.allow,
            client_of=models.get,
            notice=_notice_of(progress),
        )
        tool = next(iter(opened.values()))
        if why := refusal(tool, tools.allow):
            raise InputError(why, hint=_allow_option(named))
        arguments = typed_arguments(tool.parameters, _values(tool, texts))
        if fault := argument_fault(tool.parameters, arguments):
            raise InputError(f"arguments of `{name}`: {fault}", hint=_usage(name, tool))
        return CalledTool(tool=tool.name, arguments=arguments, result=await tool.call(arguments))


def _is_entry(text: str, project: Project) -> bool:
    """Tell an entry of a step's `tools:` from the name or path of a target, which goes before a kind of that name."""
    return text.startswith("{") or ":" in text or (text in KINDS and project.find_pipeline(text) is None)


def _find(text: str, tools: PipelineTools, known: Mapping[str, StepTool], folder: Path) -> StepTool:
    if text in known:
        return known[text]
    entry = load_yaml(text, file="tool").value if text.startswith("{") else text
    try:
        found = tools.find(entry, folder)
    except InputError as error:
        if text not in KINDS and ":" not in text:
            raise InputError(f"there is no tool `{text}`", hint=nearest(text, [*known, *KINDS])) from error
        raise
    assert found is not None, "a target that was loaded declares no broken tool"
    return found


def _entries(pipeline: Pipeline) -> dict[str, StepTool]:
    """Return the tools that a pipeline declares, and those that its steps list themselves, by their entries."""
    found = dict(pipeline.tools)
    known = {named.name for named in found.values()}
    for step in pipeline.steps.values():
        for name, tool in tools_of(step).items():
            if name not in known:
                found.setdefault(name, StepTool(name, tool))
    return found


@dataclass(frozen=True, slots=True)
class _Planned:
    """A tool or a toolset to be listed, with the `allow` of its pipeline."""

    entry: str
    named: StepTool
    allow: frozenset[str]
    steps: tuple[str, ...] = ()


def _planned(pipeline: Pipeline, prefix: str = "") -> Iterator[_Planned]:
    """Yield the tools of a pipeline and of those within it, whose steps are `outer.inner`."""
    entries = _entries(pipeline)
    for entry, named in entries.items():
        users = tuple(f"{prefix}{step.name}" for step in pipeline.steps.values() if named.name in tools_of(step))
        yield _Planned(entry, named, pipeline.allow, users)
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            yield from _planned(step.pipeline, f"{prefix}{step.name}.")


async def _opened(planned: _Planned, project: Project, notice: Callable[[str], None]) -> list[ListedTool]:
    named = planned.named
    try:
        opened = await open_tools(
            {named.name: named.tool}, root=project.root, allow=EFFECTS, client_of=_no_client, notice=notice
        )
    except (ToolFailed, MissingExtra) as error:
        effects = tuple(sorted(named.tool.effects))
        return [ListedTool(entry=planned.entry, effects=effects, steps=planned.steps, problem=str(error))]
    return [
        ListedTool(
            entry=planned.entry,
            name=name,
            description=tool.description,
            parameters=tool.parameters,
            effects=tuple(sorted(tool.effects)),
            allowed=refusal(tool, planned.allow) is None,
            steps=planned.steps,
        )
        for name, tool in opened.items()
    ]


def _values(tool: Tool, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return texts with those of parameters that take any value read as JSON where they are JSON."""
    properties = tool.parameters.get("properties", {})
    found: dict[str, Any] = dict(texts)
    for name, text in texts.items():
        if not set(properties.get(name, {})) & {"type", "anyOf", "oneOf", "enum", "const", "$ref"}:
            try:
                found[name] = json.loads(text)
            except (ValueError, RecursionError):
                continue
    return found


def _usage(name: str, tool: Tool) -> str:
    required = tool.parameters.get("required", ())
    words = (f"{key}=…" if key in required else f"[{key}=…]" for key in tool.parameters.get("properties", {}))
    return " ".join(["promptkit tools call", name, *words])


def _allow_option(named: StepTool) -> str:
    name = named.tool.permission_names[-1] if isinstance(named.tool, Tool) else named.name
    return f"--allow {name} allows it for this call"


def _notice_of(progress: Progress | None) -> Callable[[str], None]:
    return progress.notice if progress is not None else lambda text: None


async def _no_client(reference: str) -> Any:
    raise ToolFailed(f"no model is opened to list tools: {reference}")
