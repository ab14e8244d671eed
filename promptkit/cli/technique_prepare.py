"""`promptkit techniques prepare`: examples, or whatever else a technique needs, made once from rows of data."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import join
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.api.session import ModelOptions, Session, load, open_session
from promptkit.cli.options import Json, Model, Record, Strict, Target, Timeout
from promptkit.errors import InputError, PromptkitError, place

if TYPE_CHECKING:
    from promptkit.engine.preparation import Preparation, PreparedStep
    from promptkit.engine.step_rows import StepRows


def complete_technique(incomplete: str) -> list[str]:
    """Return the names of techniques to prepare that begin so; none if the project is broken."""
    from promptkit.project import Project
    from promptkit.techniques.description import find_all

    try:
        every, _ = find_all(Project.find(Path.cwd()))
    except PromptkitError:
        return []
    return [technique.name for technique in every if technique.prepare and technique.name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(metavar="NAME", help="A technique to prepare.", autocompletion=complete_technique)]
Step = Annotated[str | None, typer.Option("--step", metavar="STEP", help="The step; needed where several ask a model.")]
Data = Annotated[Path, typer.Option("--data", metavar="FILE", help="Rows: .jsonl, .json, .csv, .tsv, .yaml or .txt.")]
Expect = Annotated[
    str | None, typer.Option("--expect", metavar="FIELD", help="The rows' field that holds the expected answer.")
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N rows.")]


def prepare(
    name: Name,
    target: Target,
    data: Data,
    step: Step = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PARAMETER=VALUE", help="A parameter of the preparation; repeatable."),
    ] = None,
    expect: Expect = None,
    limit: Limit = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="calls=N", help="Make at most N requests, including cached ones.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier preparation.")] = False,
    model: Model = None,
    json: Json = False,
    record: Record = None,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Prepare a technique for a step: make its examples, or whatever else it needs, from rows of data.

    They are written to PIPELINE.STEP.NAME.yaml beside the pipeline, to be read and edited; the step then uses them. An
    existing file is overwritten only with --force. Answers are kept, so the same command resumes.
    """
    from promptkit.cli.session import refuse_shipped, run_to_end
    from promptkit.engine.preparation import plan_preparation, read_parameters
    from promptkit.engine.step_rows import find_prompt_step, read_step_rows

    most = read_budget(budget)
    asking = ModelOptions(model=model, record=record, strict=strict, timeout=timeout)
    pipeline = load(target, sets=asking.sets)
    refuse_shipped(pipeline, "nothing can be prepared beside it", "prepare it there")
    plan = plan_preparation(
        name, pipeline, find_prompt_step(pipeline, step), read_parameters(sets or ()), overwrite=force
    )
    rows = read_step_rows(pipeline, plan.step, data, expect=expect, labelled=plan.labelled, limit=limit)
    given = {"--expect": expect, "--limit": limit, "--model": model}
    command = join(
        ["promptkit", "techniques", "prepare", name, target, "--step", plan.step.name, "--data", str(data)]
        + [part for text in sets or () for part in ("--set", text)]
        + [part for option, value in given.items() if value is not None for part in (option, str(value))]
    )
    prepared = run_to_end(prepare_step(plan, rows, asking, command=command, budget=most, json=json))
    if not json:
        show_next(plan, prepared, target)


_CALLS = re.compile("0*[1-9][0-9]{0,17}")


def read_budget(text: str | None) -> int | None:
    """Return the number of requests of `calls=N`, None where there is no budget. Raises InputError."""
    if text is None:
        return None
    key, _, number = text.partition("=")
    if key.strip() != "calls" or not _CALLS.fullmatch(number.strip()):
        raise InputError(f"`--budget {text}` is not a budget", hint="--budget calls=100")
    return int(number)


async def prepare_step(
    plan: Preparation, rows: StepRows, asking: ModelOptions, *, command: str, budget: int | None, json: bool
) -> PreparedStep:
    """Prepare, write the artifact, print its path and return it. Raises what ended the preparation."""
    from promptkit.cli.results import show_models, spent_text
    from promptkit.engine.preparation import prepare as engine_prepare
    from promptkit.engine.preparation import write_artifact
    from promptkit.reports.output import emit, note
    from promptkit.reports.progress import Progress
    from promptkit.reports.techniques import prepared_text
    from promptkit.reports.text import json_text

    progress, started = Progress(), monotonic()
    async with open_session(plan.pipeline, asking, progress) as session:
        with progress.showing():
            prepared = await engine_prepare(
                plan,
                rows,
                models=session.models,
                settings=session.settings,
                on_event=progress.listener(),
                budget=budget,
            )
        write_artifact(prepared.artifact, plan.file, command)
        note(f"{prepared_text(prepared)} · {spent_text([prepared.totals], monotonic() - started)}")
        show_models(session.models_of(prepared), prepared.totals, progress)
        emit(json_text(json_record(plan, prepared, rows, session)) if json else str(place(plan.file)))
    return prepared


def json_record(plan: Preparation, prepared: PreparedStep, rows: StepRows, session: Session) -> dict[str, Any]:
    """Return a preparation as the documented JSON object."""
    artifact, totals = prepared.artifact, prepared.totals
    return {
        "technique": artifact.technique,
        "pipeline": artifact.pipeline,
        "step": artifact.step,
        "file": str(plan.file),
        "model": session.models_of(prepared)[0].record(),
        "parameters": artifact.parameters,
        "data": {"file": str(rows.file), "rows": len(rows.rows), "hash": rows.hash, "expect": rows.expect or None},
        "items": len(artifact.items),
        "uncertain": len(artifact.uncertain),
        "unfilled": prepared.unfilled,
        "calls": totals.calls,
        "cached": totals.cached,
        "tokens_in": totals.tokens_in,
        "tokens_out": totals.tokens_out,
        "seconds": totals.seconds,
    }


def show_next(plan: Preparation, prepared: PreparedStep, target: str) -> None:
    """Suggest the next commands: fill in empty items, else use the technique and compare it."""
    from promptkit.engine.preparation import uses_technique
    from promptkit.reports.output import note
    from promptkit.reports.text import counted
    from promptkit.techniques.needs import ROWS

    name, step = plan.technique.name, plan.step.name
    if ROWS in plan.technique.needs and not prepared.artifact.items:
        note(f"the step `{step}` cannot use it: no row gave an item; `uncertain` in the file lists those left out")
        return
    used = uses_technique(plan.pipeline.steps[step], name)
    run = join(["promptkit", "run", target, *([] if used else ["--set", f"{step}.technique={name}"])])
    note("next:")
    if prepared.unfilled:
        unfilled = f"{prepared.unfilled} of {counted(len(prepared.artifact.items), 'item')}"
        note(f"  fill in {place(plan.file)}    # {unfilled} without thoughts or without an output")
        note(f"  {run}    # then")
        return
    if not used:
        note(f"  technique: {name}    # in the step `{step}`, to use it from now on")
    note(f"  {run}")
    compared = ["promptkit", "techniques", "compare", target, "--step", step, "--techniques", f"vanilla,{name}"]
    note(f"  {join(compared)} --data FILE    # rows that the preparation has not seen")
