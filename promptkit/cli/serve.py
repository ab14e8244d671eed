"""`promptkit serve`: pipelines for other programs."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from promptkit.api.session import ModelOptions
from promptkit.cli.options import Model, NoCache, Timeout, complete_target
from promptkit.cli.session import run_to_end
from promptkit.errors import InputError, Interrupted, MissingExtra
from promptkit.project import LIBRARY
from promptkit.reports.output import emit, note

app = typer.Typer(add_completion=False, rich_markup_mode=None)

TOKEN_VARIABLE = "PROMPTKIT_SERVE_TOKEN"
SKILL = LIBRARY / "templates" / "agents" / "SKILL.md"


@app.command()
def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET", help="Pipelines or prompts; default: all of the project.", autocompletion=complete_target
        ),
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Be an MCP server over standard input and output, for coding agents.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="The project's folder (default: the working folder).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=1, max=65535, help="With --mcp: over HTTP on this port instead."),
    ] = None,
    skill: Annotated[
        bool, typer.Option("--skill", help="With --mcp: print a skill file that tells an agent how to use it.")
    ] = False,
    model: Model = None,
    no_cache: NoCache = False,
    timeout: Timeout = None,
) -> None:
    """Serve pipelines to other programs.

    With --mcp the project's pipelines, `check`, `render`, `run`, `eval` and `runs compare` are tools of an MCP server.
    """
    if not mcp:
        raise InputError("`promptkit serve` needs `--mcp`")
    serve_mcp(
        tuple(targets or ()),
        ModelOptions(model=model, no_cache=no_cache, timeout=timeout),
        folder=folder,
        port=port,
        skill=skill,
    )


def serve_mcp(
    targets: tuple[str, ...], options: ModelOptions, *, folder: Path | None, port: int | None, skill: bool
) -> None:
    """Serve the project of a folder over MCP; with `skill` only print the skill file.

    Over standard input and output until the client leaves, or over HTTP on a `port` until a signal. Raises InputError
    for a folder that is not there, and MissingExtra.
    """
    if skill:
        emit(SKILL.read_text("utf-8").rstrip())
        return
    if find_spec("mcp") is None:
        raise MissingExtra("`promptkit serve --mcp`", "mcp")
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"there is no folder `{folder}`")
        os.chdir(folder)
    if port is not None:
        from promptkit.server.mcp.http import serve_http

        run_to_end(serve_http(targets, options, port=port, token=os.environ.get(TOKEN_VARIABLE) or None))
        return
    from promptkit.server.mcp.stdio import serve_stdio

    if sys.stdin.isatty():
        note("waiting for an MCP client on standard input; `promptkit serve --mcp --skill` shows how clients start it")
    # Not `run_to_end`: the server itself keeps stdout for the protocol, from all that prints.
    try:
        asyncio.run(serve_stdio(targets, options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Interrupted("interrupted") from None
