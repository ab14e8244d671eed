"""`promptkit runs`: what the store of the project holds."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from promptkit.cli.options import Json
from promptkit.cli.run_compare import compare
from promptkit.cli.run_errors import errors
from promptkit.cli.run_export import export
from promptkit.cli.run_repair import repair
from promptkit.cli.run_show import show

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, show, compare and export runs, group what fails, and repair the store.",
)


@app.command("list")
def list_(
    kind: Annotated[
        Literal["run", "batch", "eval", "tune"] | None,
        typer.Option("--kind", metavar="KIND", help="run, batch, eval or tune."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="NAME", help="Only those of a target or a suite.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="How many (20).")] = 20,
    json: Json = False,
) -> None:
    """List the latest runs, newest first: what was run, how it ended, and what it said.

    Of an evaluation that is the first metric of its first variant.
    """
    from promptkit.cli.run_find import open_kept, refuse_target
    from promptkit.reports import emit, json_text, note, run_record, runs_text, terminal_width

    with open_kept() as kept:
        runs = [run for run in kept.store.runs(kind=kind, target=target, limit=limit) if kept.lists(run)]
        if target is not None and not runs:
            refuse_target(kept, target, kind)
    if json:
        emit(json_text([run_record(run) for run in runs]))
    elif runs:
        emit(runs_text(runs, width=terminal_width()))
    else:
        note("there are no runs here yet")


app.command()(show)
app.command()(compare)
app.command()(errors)
app.command()(export)
app.command()(repair)
