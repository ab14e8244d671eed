"""`promptkit serve --mcp`: the project's pipelines and verbs as tools of an MCP server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from pydantic import ValidationError

from promptkit.api.session import ModelOptions
from promptkit.errors import InputError, Problem, PromptkitError, UnexpectedError, catching_unexpected, nearest
from promptkit.project import LIBRARY, Project
from promptkit.reports.output import note
from promptkit.server.mcp.pipelines import (
    description_of,
    offered_pipelines,
    result_schema,
    run_pipeline,
)
from promptkit.server.mcp.progress import ReportedProgress
from promptkit.server.mcp.results import bounded_object, bounded_text
from promptkit.server.mcp.verbs import VERBS, Call, Outcome
from promptkit.server.pipelines import ServedPipelines
from promptkit.server.schemas import input_schema
from promptkit.storage.models import schema_error_text

CANCEL_SECONDS: Final = 10.0
"""Time for a cancelled run to end."""
INSTRUCTIONS: Final = LIBRARY / "templates" / "agents" / "instructions.md"

logging.getLogger("mcp").addHandler(logging.NullHandler())

Context = ServerRequestContext[Any, Any]


class ProjectServer:
    """The tools of the project in the working folder. Files are read again at each request, so an edit counts at once.

    `targets` are the pipelines that are offered; without any, all of the project. Raises InputError for those that do
    not load.
    """

    def __init__(self, targets: Sequence[str], options: ModelOptions) -> None:
        self._targets = targets
        self._options = options
        for name, error in self._pipelines().broken.items():
            if targets:
                raise error
            note(f"`{name}` is not offered: {error}")

    def _pipelines(self) -> ServedPipelines:
        return offered_pipelines(self._targets, self._options.sets, VERBS)

    def protocol(self) -> Server[Any]:
        """Return the server of the package, which speaks the protocol."""
        return Server(
            "promptkit",
            version=version("promptkit"),
            instructions=INSTRUCTIONS.read_text("utf-8"),
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def _list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        tools = [
            types.Tool(name=name, description=verb.description, input_schema=verb.parameters)
            for name, verb in VERBS.items()
        ]
        for name, pipeline in self._pipelines().loaded.items():
            tools.append(
                types.Tool(
                    name=name,
                    description=description_of(pipeline),
                    input_schema=input_schema(pipeline),
                    output_schema=result_schema(pipeline),
                )
            )
        return types.ListToolsResult(tools=tools)

    async def _call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        root = Path.cwd()
        progress = ReportedProgress(context.session.report_progress)
        try:
            with catching_unexpected():
                project = Project.find(root)
                root = project.root
                call = Call(project=project, options=self._options, progress=progress)
                async with progress.reported():
                    outcome = await _to_end(self._outcome(params.name, params.arguments or {}, call))
        except PromptkitError as error:
            if isinstance(error, UnexpectedError):
                note(error.traceback)
            outcome = Outcome(text=f"error: {error}", value={"error": str(error)}, failed=True)
        texts = [outcome.text, *(["\n".join(progress.notices)] if progress.notices else [])]
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=bounded_text(text, root)) for text in texts],
            structured_content=bounded_object(outcome.value, root),
            is_error=outcome.failed,
        )

    async def _outcome(self, name: str, arguments: Mapping[str, Any], call: Call) -> Outcome:
        if name in VERBS:
            verb = VERBS[name]
            try:
                read = verb.arguments.model_validate(arguments)
            except ValidationError as error:
                raise InputError(map(_argument_problem, error.errors(include_url=False))) from None
            return await verb.function(read, call)
        pipelines = self._pipelines()
        if name in pipelines.loaded:
            return await run_pipeline(pipelines.loaded[name], arguments, call)
        if name in pipelines.broken:
            raise pipelines.broken[name]
        raise InputError(f"there is no tool `{name}`", hint=nearest(name, [*VERBS, *pipelines.loaded]))


async def _to_end(work: Awaitable[Outcome]) -> Outcome:
    """Return the result of a call, in a task of its own.

    Where the client cancels, the package would cancel each step of the cleaning up as well.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task], timeout=CANCEL_SECONDS)
        raise


def _argument_problem(detail: Any) -> Problem:
    where = ".".join(map(str, detail["loc"]))
    if detail["type"] == "missing":
        return Problem(f"the argument `{where}` is missing")
    if detail["type"] == "extra_forbidden":
        return Problem(f"there is no argument `{where}`")
    return Problem(f"the argument `{where}` {schema_error_text(detail)}")
