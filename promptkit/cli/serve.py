"""`promptkit serve`: pipelines for other programs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from promptkit.api.session import ModelOptions
from promptkit.cli.options import Model, NoCache, Sets, Strict, StrictOn, Timeout, complete_target
from promptkit.cli.session import run_to_end
from promptkit.cli.try_ import FileWatcher
from promptkit.errors import InputError, Interrupted, MissingExtra
from promptkit.project import LIBRARY
from promptkit.reports.output import emit, note
from promptkit.server.http.access import AccessLog
from promptkit.server.http.catalog import Catalog
from promptkit.server.http.options import TOKEN_VARIABLE, HttpOptions, checked_token
from promptkit.server.http.server import serve as serve_http
from promptkit.storage.files import read_text

app = typer.Typer(add_completion=False, rich_markup_mode=None)

SKILL = LIBRARY / "templates" / "agents" / "SKILL.md"


@app.command()
def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET", help="Pipelines or prompts; default: all of the project.", autocompletion=complete_target
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Address to listen on (default 127.0.0.1).")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port (default 8000); 0 takes a free one."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help=f"File of the bearer token; or set {TOKEN_VARIABLE}."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", metavar="ORIGIN", help="Let web pages of an origin use the server; repeatable."),
    ] = None,
    max_body: Annotated[
        int, typer.Option("--max-body", metavar="BYTES", min=1, help="Largest body of a request (default 1 MiB).")
    ] = 1 << 20,
    max_requests: Annotated[
        int, typer.Option("--max-requests", metavar="N", min=1, help="Requests that run at once (default 64).")
    ] = 64,
    max_waiting: Annotated[
        int,
        typer.Option(
            "--max-waiting", metavar="N", min=0, help="Requests that wait (default 256); more get status 429."
        ),
    ] = 256,
    read_timeout: Annotated[
        float,
        typer.Option("--read-timeout", metavar="SECONDS", help="Time for headers, and for the body (default 20)."),
    ] = 20.0,
    deadline: Annotated[
        float,
        typer.Option("--deadline", metavar="SECONDS", help="Time for a request, its wait included (default 600)."),
    ] = 600.0,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", help="Time for running requests after a signal (default 30).")
    ] = 30.0,
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep each run in the store.")] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Read files again when they change.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write no line for a request.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write the lines of requests as JSON.")] = False,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Serve MCP to agents, on standard input and output or on --port.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="The project's folder (default: the working folder).")
    ] = None,
    skill: Annotated[
        bool, typer.Option("--skill", help="Print a skill file that tells an agent how to use promptkit.")
    ] = False,
    model: Model = None,
    sets: Sets = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    strict_on: StrictOn = None,
    timeout: Timeout = None,
) -> None:
    """Serve pipelines over HTTP: as models of the OpenAI protocol, and as JSON endpoints.

    Only this machine reaches the server unless --host says otherwise, which needs a token. SIGTERM and ctrl-C finish
    the running requests first. With --mcp it serves MCP instead: the tools are the pipelines, and `check`, `render`,
    `run`, `eval` and `runs compare`.
    """
    if skill:
        emit(SKILL.read_text("utf-8").rstrip())
        return
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"there is no folder `{folder}`")
        os.chdir(folder)
    asking = ModelOptions(
        model=model,
        sets=tuple(sets or ()),
        no_cache=no_cache,
        strict=strict,
        strict_on=tuple(strict_on or ()),
        timeout=timeout,
    )
    token = read_token(token_file)
    if mcp:
        serve_mcp(tuple(targets or ()), asking, port=port, token=token)
        return
    options = HttpOptions(
        host=host,
        port=8000 if port is None else port,
        token=token,
        origins=tuple(origin.rstrip("/") for origin in cors or ()),
        max_body=max_body,
        max_requests=max_requests,
        max_waiting=max_waiting,
        read_timeout=read_timeout,
        deadline=deadline,
        grace=grace,
    )
    log = AccessLog(quiet=quiet, json=json)
    watch = changes if reload else None
    run_to_end(serve_http(tuple(targets or ()), asking, options, log=log, keep_runs=keep_runs, watch=watch))


def serve_mcp(targets: tuple[str, ...], asking: ModelOptions, *, port: int | None, token: str | None) -> None:
    """Serve the project over MCP: over HTTP on a `port` until a signal, else on standard input and output.

    Raises MissingExtra without the package `mcp`.
    """
    if find_spec("mcp") is None:
        raise MissingExtra("`promptkit serve --mcp`", "mcp")
    if port is not None:
        from promptkit.server.mcp.http import serve_http as serve_mcp_http

        run_to_end(serve_mcp_http(targets, asking, port=port, token=token))
        return
    from promptkit.server.mcp.stdio import serve_stdio

    if sys.stdin is None:
        raise InputError("standard input is closed", hint="--port PORT serves over HTTP")
    if sys.stdin.isatty():
        note("waiting for an MCP client on standard input; `promptkit serve --skill` shows how clients start it")
    # Not `run_to_end`: the server itself keeps stdout for the protocol, from all that prints.
    try:
        asyncio.run(serve_stdio(targets, asking))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Interrupted("interrupted") from None


def read_token(file: Path | None) -> str | None:
    """Return the token that clients must send: of the file, else of the environment; None without one."""
    if file is not None:
        return checked_token(read_text(file), str(file))
    given = os.environ.get(TOKEN_VARIABLE)
    return None if given is None else checked_token(given, TOKEN_VARIABLE)


def changes(catalog: Catalog) -> AsyncIterator[object]:
    """Yield after each change, from now on, of a file that the served pipelines are made of."""
    return FileWatcher(catalog.files).follow()
