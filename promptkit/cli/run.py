"""`promptkit run`: the main job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.cli.options import Asking, Json, Model, NoCache, Record, Sets, Strict, Target, Values
from promptkit.errors import InputError

if TYPE_CHECKING:
    from promptkit.cli.session import Session
    from promptkit.engine import Pipeline, Result
    from promptkit.reports import Progress

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    target: Target,
    values: Values = None,
    rows: Annotated[Path | None, typer.Option("--input", metavar="FILE", help="Inputs; a run for each row.")] = None,
    model: Model = None,
    sets: Sets = None,
    trace: Annotated[bool, typer.Option("--trace", help="Show each call with its messages and reply.")] = False,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
) -> None:
    """Run a pipeline or a prompt and print its answer.

    Without values the examples of its inputs are used.
    """
    from promptkit.cli.session import find_project, load, run_to_end
    from promptkit.cli.values import read_texts

    if rows and values:
        raise InputError("inputs come from NAME=VALUE or from --input, not from both")
    asking = Asking(model=model, sets=tuple(sets or ()), record=record, no_cache=no_cache, strict=strict)
    pipeline = load(target, find_project(target), asking)
    texts = read_texts(values or ())
    if rows:
        from promptkit.cli.rows import run_rows

        return run_to_end(run_rows(pipeline, rows, asking, json=json, trace=trace))
    run_to_end(run_once(pipeline, texts, asking, json=json, trace=trace))


async def run_once(
    pipeline: Pipeline, texts: Mapping[str, str], asking: Asking, *, json: bool = False, trace: bool = False
) -> None:
    """Run a target once and print its answer. Raises what ended the run."""
    from promptkit import engine
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
    for line in next_lines(pipeline):
        note(line)


def show_result(result: Result, session: Session, progress: Progress, *, trace: bool) -> None:
    """Show the trace where it is wanted, what the run came to, and which model answered."""
    from promptkit.reports import calls_text, note, seconds_text, tokens_text, trace_text

    for message in result.notices:
        progress.notice(message)
    if trace:
        note(trace_text(result.trace))
    totals = result.totals
    spent = [calls_text(totals.calls, totals.cached), tokens_text(totals.tokens_in, totals.tokens_out)]
    note(f"{' · '.join(spent)} · {seconds_text(totals.seconds)}")
    for model in model_records(result, session):
        note(f"answered by {model['reference']} (named by {model['why']})")


def model_records(result: Result, session: Session) -> list[dict[str, Any]]:
    """Return each model that answered with why it was chosen, the default first."""
    records = [
        {"reference": model.reference, "digest": model.digest, "why": session.models.why(named)}
        for named, model in result.answered.items()
    ]
    return records or [{"reference": session.reference, "digest": None, "why": session.models.why()}]


def json_line(result: Result, session: Session, *, indent: int | None = None) -> str:
    """Return the run as the documented JSON object."""
    from promptkit.reports import json_text

    models = model_records(result, session)
    error = {"error": str(result.error)} if result.error else {}
    record = {"run": result.run, "target": result.target, "model": models[0], **result.record(), **error}
    if len(models) > 1:
        record["models"] = models
    return json_text(record, indent=indent)


def next_lines(pipeline: Pipeline) -> Sequence[str]:
    """Return the lines that a person would type next."""
    name = pipeline.name
    return (
        "next:",
        f"  promptkit run {name} --trace              # every message and reply",
        f"  promptkit try {name} --watch              # edit its prompts, see what the model says",
    )
