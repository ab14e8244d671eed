"""`promptkit run`: run a target once, over the rows of a file, or show what would run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from shlex import join
from time import monotonic
from typing import Annotated, Any, TypeAlias

import typer

from promptkit.api.run import RunResult, run_target
from promptkit.api.session import ModelOptions, load, open_session
from promptkit.cli.better_model import suggest_better_model
from promptkit.cli.inputs import InputRow, extra_fields, note_near_columns, read_filled, read_texts
from promptkit.cli.options import Json, Model, NoCache, Record, Sets, Strict, StrictOn, Target, Timeout, Values
from promptkit.cli.results import answered_by, in_order, named_effects, show_models, show_result, spent_text
from promptkit.cli.session import keeping_partial_text, run_to_end
from promptkit.engine.dependencies import code_of, step_tool_uses
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.pipeline import Pipeline, Step, default_model
from promptkit.engine.results import Result, Totals
from promptkit.engine.run import Batch, Runner
from promptkit.errors import InputError, Problem, PromptkitError, UnexpectedError, place
from promptkit.reports.output import emit, note
from promptkit.reports.progress import Progress
from promptkit.reports.text import counted, json_text, one_line, row_text, visible, warning_texts
from promptkit.storage.files import check_destination, writing_text
from promptkit.techniques.spec import parse_spec

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    target: Target,
    values: Values = None,
    rows: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="A file of inputs; one answer for each row.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="With --input: write columns and answers, .csv or .jsonl."),
    ] = None,
    model: Model = None,
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run; no model is asked.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Show each call with its messages and reply.")] = False,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    strict_on: StrictOn = None,
    timeout: Timeout = None,
) -> None:
    """Run a pipeline or a prompt and print its answer.

    Without values the examples of its inputs are used.
    """
    if rows and values:
        raise InputError("inputs come from NAME=VALUE or from --input, not from both")
    if out is not None and rows is None:
        raise InputError("--out is for the rows of --input", hint="--input FILE")
    options = ModelOptions(
        model=model,
        sets=tuple(sets or ()),
        record=record,
        no_cache=no_cache,
        strict=strict,
        strict_on=tuple(strict_on or ()),
        timeout=timeout,
    )
    pipeline = load(target, sets=options.sets)
    texts = read_texts(values or ())
    if dry_run:
        return show_dry_run(pipeline, texts, rows=rows, model=model, json=json)
    if rows:
        return run_to_end(run_rows(pipeline, rows, options, out=out, json=json, trace=trace))
    run_to_end(run_once(pipeline, texts, options, json=json, trace=trace))
    if not json:
        show_next(target, values or (), options, traced=trace)


async def run_once(
    pipeline: Pipeline, texts: Mapping[str, str], options: ModelOptions, *, json: bool = False, trace: bool = False
) -> None:
    """Run a target once and print its answer. Raises what ended the run."""
    filled = fill_inputs(pipeline, texts=texts)
    if filled.examples:
        note(f"no values given: the example of {', '.join(filled.examples)} is used")
    progress = Progress()
    with keeping_partial_text(progress):
        result = await run_target(pipeline, filled.values, options, progress)
    show_result(result, progress, trace=trace)
    if json:
        emit(result.to_json())
    if result.error:
        raise result.error
    if not json:
        emit(str(result))
        suggest_better_model(answered_by(result.models, result.totals))


def show_next(target: str, values: Sequence[str], options: ModelOptions, *, traced: bool) -> None:
    """Print the commands to type next, with the arguments that decide the answer."""
    if any(value.endswith("=-") for value in values):
        return  # stdin cannot be read again
    note("next:")
    model = ["--model", options.model] if options.model else []
    typed = join([target, *values, *model, *(word for change in options.sets for word in ("--set", change))])
    if not traced:
        note(f"  promptkit run {typed} --trace    # every message and reply")
    note(f"  promptkit try {typed} --watch    # edit its prompts, see what the model says")


OUT_SUFFIXES = (".csv", ".jsonl")
"""Suffixes that `--out` takes."""
WriteRow: TypeAlias = "Callable[[InputRow, Result], None]"
"""Writes a row with its result."""


class RowsFailed(PromptkitError):
    """Some rows have no answer."""


async def run_rows(
    pipeline: Pipeline,
    path: Path,
    options: ModelOptions,
    *,
    out: Path | None = None,
    json: bool = False,
    trace: bool = False,
) -> None:
    """Run a target on each row of a file and print each answer in one line, or write all to `out`.

    Raises RowsFailed at the end.
    """
    if out is not None:
        check_out(out, path)
    rows = read_filled(pipeline, path)
    if not rows:
        note(f"{place(path)} has no rows")
    note_near_columns(pipeline, rows)
    progress = Progress()
    answered, started = None, monotonic()
    async with open_session(pipeline, options, progress) as session:
        runner = Runner(
            pipeline, models=session.models, settings=session.settings, on_event=progress.listener(steps=False)
        )

        async def answer(row: InputRow) -> tuple[InputRow, Result]:
            return row, await batch.run(row.number, row.values, row.fields)

        # On the way out, rows in work are cancelled, then the run is ended, then the store is closed.
        async with (
            Batch(runner, session.store, file=str(place(path)), rows=len(rows)) as batch,
            aclosing(in_order(answer, rows)) as results,
        ):
            with progress.showing(rows=len(rows)), writing(out, pipeline, rows) as write:
                async for row, result in results:
                    with progress.row():
                        write(row, result)
                        if json:
                            placed = {"number": row.number, "row": extra_fields(pipeline, row)}
                            emit(RunResult.of(result, session).to_json(indent=None, **placed))
                        elif out is None:
                            emit(row_text(result.output) if result.error is None else "")
                        if result.error:
                            defect = isinstance(result.error, UnexpectedError)
                            show = f"promptkit runs show {batch.number} --row {row.number} --json"
                            note(f"error: row {row.number}: {result.error}{f'; {show} has the traceback' * defect}")
                        if trace:
                            show_result(RunResult.of(result, session), progress, trace=trace)
                    answered = result if result.totals.calls else answered
            if rows:
                note(f"{counted(len(rows), 'row')} · {spent_text([batch.totals], monotonic() - started)}")
                note_warnings(batch.totals)
        if answered:
            show_models(session.models_of(answered), answered.totals, progress)
        if out is not None:
            note(f"written: {place(out)}")
    check_answered(batch)


def note_warnings(totals: Totals) -> None:
    """Print the number of answers of rows that were cut off, and their warnings, if there are some."""
    cut = [f"{totals.truncated} cut off"] if totals.truncated else []
    if texts := [*cut, *warning_texts(totals.warnings, totals.warned_by)]:
        note(", ".join(texts))


def check_answered(batch: Batch) -> None:
    """Raise RowsFailed where rows have no answer."""
    if batch.failed:
        message = f"{batch.failed} of {counted(batch.rows, 'row')} {'has' if batch.failed == 1 else 'have'} no answer"
        raise RowsFailed(
            message, hint=f"the same command asks only what is missing; promptkit runs show {batch.number}"
        )


def check_out(out: Path, rows: Path) -> None:
    """Raise InputError where `--out` has a wrong suffix or place, or is the file of the rows."""
    if out.suffix not in OUT_SUFFIXES:
        raise InputError(Problem("--out writes .csv or .jsonl, by its suffix", place(out)))
    check_destination(out, f"--out {out}")
    if out.exists() and rows.exists() and out.samefile(rows):
        raise InputError(Problem("--out would overwrite the rows of --input", place(out), hint="name another file"))


@contextmanager
def writing(out: Path | None, pipeline: Pipeline, rows: Iterable[InputRow]) -> Iterator[WriteRow]:
    """Open the file of answers and yield a function that adds a row; without a file it does nothing."""
    if out is None:
        yield lambda row, result: None
        return
    from promptkit.reports.batch import AnswerTable  # here, since it loads the evaluation floor

    table = AnswerTable((row.fields for row in rows), pipeline.output_keys, csv=out.suffix == ".csv")
    with writing_text(out) as add:
        add(table.head)

        def write(row: InputRow, result: Result) -> None:
            add(table.line(row.fields, result.output, None if result.error is None else str(result.error)))

        yield write


def show_dry_run(
    pipeline: Pipeline, texts: Mapping[str, str], *, rows: Path | None, model: str | None, json: bool
) -> None:
    """Print the model, the inputs, the steps and the Python files of a run. Raises InputError for wrong inputs."""
    record = dry_run_record(pipeline, texts, rows=rows, model=model)
    emit(json_text(record, indent=2) if json else visible("\n".join(_dry_run_lines(record))))


def dry_run_record(
    pipeline: Pipeline, texts: Mapping[str, str], *, rows: Path | None, model: str | None
) -> dict[str, Any]:
    """Return the plan of a run as the documented JSON object. Raises InputError for wrong inputs."""
    reference, why, _ = default_model(pipeline.project, pipeline, model)
    record: dict[str, Any] = {
        "target": pipeline.name,
        "file": place(pipeline.file),
        "model": {"reference": reference, "why": why},
    }
    if rows is None:
        filled = fill_inputs(pipeline, texts=texts)
        record |= {"inputs": dict(filled.values), "examples": list(filled.examples)}
    else:
        record |= {"rows": {"file": place(rows), "count": len(read_filled(pipeline, rows))}}
    return {
        **record,
        "steps": [_dry_run_step(step, pipeline) for step in pipeline.steps.values()],
        "code": [use.record() for use in code_of(pipeline, model=model)],
    }


def _dry_run_step(step: Step, pipeline: Pipeline) -> dict[str, Any]:
    record: dict[str, Any] = {"name": step.name}
    if step.prompt_call is not None:
        record["prompt"] = step.prompt_call.prompt.name if step.prompt_call.prompt.file else "(inline)"
        record["technique"] = parse_spec(step.prompt_call.technique)[0]
        if step.prompt_call.adapter is not None:
            record["adapter"] = step.prompt_call.adapter.name
    elif step.tool is not None:
        record["tool"] = step.tool.name
    elif step.pipeline is not None:
        record["pipeline"] = step.pipeline.name
    if step.model is not None:
        record["model"] = step.model
    if uses := step_tool_uses(step, pipeline):
        record["tools"] = [{"name": use.name, "effects": list(use.effects)} for use in uses]
    needs = {edge.needs: None for edge in pipeline.edges if edge.step == step.name}
    return record | {"after": list(needs)}


def _dry_run_lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"target  {record['target']} ({record['file']})"
    yield f"model   {record['model']['reference']} ({record['model']['why']})"
    if "rows" in record:
        yield f"inputs  {record['rows']['count']} rows of {record['rows']['file']}"
    for name, value in record.get("inputs", {}).items():
        yield f"input   {name}: {one_line(value)}{' (example)' if name in record['examples'] else ''}"
    for step in record["steps"]:
        kind = next(key for key in ("prompt", "tool", "pipeline") if key in step)
        parts = [f"{kind} {step[kind]}"]
        parts += [f"{key} {step[key]}" for key in ("technique", "adapter", "model") if key in step]
        if tools := [named_effects(tool["name"], tool["effects"]) for tool in step.get("tools", ())]:
            parts.append(f"tools {', '.join(tools)}")
        parts += [f"after {', '.join(step['after'])}"] if step["after"] else []
        yield f"step    {step['name']}: {', '.join(parts)}"
    for use in record["code"]:
        yield f"python  {use['file'] or use['module']}:{use['function']} ({use['named_by']})"
