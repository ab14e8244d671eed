"""`promptkit tools`: list tools, and call one without a model."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from promptkit.api.tools import call_tool, kind_records, list_tools, named_sources
from promptkit.cli.inputs import read_texts
from promptkit.cli.options import Json, complete_target
from promptkit.cli.session import run_to_end
from promptkit.errors import Interrupted, PromptkitError
from promptkit.project import Project
from promptkit.reports.output import emit, emit_folded
from promptkit.reports.progress import Progress
from promptkit.reports.text import display_text, json_text, visible
from promptkit.reports.tools import kinds_text, tools_text
from promptkit.tools.permissions import EFFECTS
from promptkit.tools.registry import KINDS

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List the tools that models and steps may call, and call one.",
)

EXIT_FAILED = 3
T = TypeVar("T")


def _servers() -> list[str]:
    try:
        return [f"mcp:{name}" for name in Project.find(Path.cwd()).settings.mcp]
    except PromptkitError:
        return []


def complete_listed(incomplete: str) -> list[str]:
    """Complete the name of a target, or of an MCP server. Completion never fails."""
    return [*complete_target(incomplete), *(name for name in _servers() if name.startswith(incomplete))]


def complete_tool(incomplete: str) -> list[str]:
    """Complete the name of a shipped kind, or of an MCP server."""
    kinds = [name for name, kind in KINDS.items() if not kind.needs_settings]
    return [name for name in (*kinds, *(f"{server}/" for server in _servers())) if name.startswith(incomplete)]


def complete_allowed(incomplete: str) -> list[str]:
    """Complete an effect, or the name of an MCP server."""
    return [name for name in (*EFFECTS, *_servers()) if name.startswith(incomplete)]


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until ctrl-C. Raises Interrupted."""
    try:
        return run_to_end(work)
    except Interrupted:
        raise Interrupted("interrupted") from None


@app.command("list")
def list_(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET", help="A pipeline, or mcp:SERVER; default: the kinds.", autocompletion=complete_listed
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the shipped kinds of tools with the project's MCP servers and feeds, or the tools of a target or a server.

    Connects to the MCP servers of a target.
    """
    if target is None:
        sources = named_sources(Project.find(Path.cwd()))
        emit(json_text({"kinds": kind_records(), **sources})) if json else emit_folded(
            kinds_text(kind_records(), sources)
        )
        return
    tools = _run(list_tools(target, Progress()))
    records = [asdict(tool) for tool in tools]
    emit(json_text(records)) if json else emit_folded(tools_text(records))
    if any(tool.problem is not None for tool in tools):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def call(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="calculator, mcp:SERVER/TOOL, FILE.py:FUNCTION, '{sql: FILE}', or a name in the target.",
            autocompletion=complete_tool,
        ),
    ],
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Arguments; KEY=- reads stdin, KEY=@FILE a file."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="TARGET", help="The pipeline with the tool.", autocompletion=complete_target),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="NAME",
            help="Allow an effect, a tool or a server for this call; repeatable.",
            autocompletion=complete_allowed,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Call a tool and print its result. Values are read by the types of its parameters."""
    arguments = read_texts(values or (), noun="argument")
    done = _run(call_tool(name, arguments, target=target, allow=allow or (), progress=Progress()))
    emit(json_text(asdict(done)) if json else visible(display_text(done.result)))
