"""`promptkit run`: the main job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli.options import Asking, Json, Model, NoCache, Record, Sets, Strict, Target, Timeout, Values
from promptkit.errors import InputError

if TYPE_CHECKING:
    from promptkit.engine import Pipeline

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    target: Target,
    values: Values = None,
    rows: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="Inputs, one answer for each row.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="With --input: its columns and the answers, .csv or .jsonl."),
    ] = None,
    model: Model = None,
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run; nothing is asked.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Show each call with its messages and reply.")] = False,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Run a pipeline or a prompt and print its answer.

    Without values the examples of its inputs are used.
    """
    from promptkit.cli.session import find_project, load, run_to_end
    from promptkit.cli.values import read_texts

    if rows and values:
        raise InputError("inputs come from NAME=VALUE or from --input, not from both")
    if out is not None and rows is None:
        raise InputError("--out is for the rows of --input", hint="--input FILE")
    asking = Asking(
        model=model, sets=tuple(sets or ()), record=record, no_cache=no_cache, strict=strict, timeout=timeout
    )
    pipeline = load(target, find_project(target), asking)
    texts = read_texts(values or ())
    if dry_run:
        from promptkit.cli.dry_run import show_dry_run

        return show_dry_run(pipeline, texts, rows=rows, model=model, json=json)
    if rows:
        from promptkit.cli.rows import run_rows

        return run_to_end(run_rows(pipeline, rows, asking, out=out, json=json, trace=trace))
    run_to_end(run_once(pipeline, texts, asking, json=json, trace=trace))
    if not json:
        show_next(target, values or (), asking, traced=trace)


async def run_once(
    pipeline: Pipeline, texts: Mapping[str, str], asking: Asking, *, json: bool = False, trace: bool = False
) -> None:
    """Run a target once and print its answer. Raises what ended the run."""
    from promptkit import engine
    from promptkit.cli.results import json_line, show_result
    from promptkit.cli.session import open_session
    from promptkit.reports import Progress, emit, note, shown

    filled = engine.fill(pipeline, texts=texts)
    if filled.examples:
        note(f"no values given: the example of {', '.join(filled.examples)} is used")
    progress = Progress()
    async with open_session(pipeline, asking, progress) as session:
        with progress.showing():
            result = await engine.run(
                pipeline,
                filled.values,
                models=session.models,
                settings=session.settings,
                on_event=progress.listener(),
                store=session.store,
            )
        show_result(result, session, progress, trace=trace)
        if json:
            emit(json_line(result, session, indent=2))
    if result.error:
        raise result.error
    if not json:
        emit(shown(result.output))


def show_next(target: str, values: Sequence[str], asking: Asking, *, traced: bool) -> None:
    """Show what a person would type next, with what was typed that decides the answer."""
    from shlex import join

    from promptkit.reports import note

    if any(value.endswith("=-") for value in values):
        return  # What came on stdin is gone.
    note("next:")
    options = [["--model", asking.model]] if asking.model else []
    typed = join(sum([*options, *(["--set", each] for each in asking.sets)], [target, *values]))
    if not traced:
        note(f"  promptkit run {typed} --trace    # every message and reply")
    note(f"  promptkit try {typed} --watch    # edit its prompts, see what the model says")
