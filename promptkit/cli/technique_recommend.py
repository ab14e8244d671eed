"""`promptkit techniques recommend`: what suits a task, or a step and its data, and can run here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli.options import Asking, Json, Model, complete_target
from promptkit.cli.technique_prepare import Limit
from promptkit.errors import InputError

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.evaluation.choosing import Situation
    from promptkit.project import Project
    from promptkit.runtimes import Model as RunningModel


def recommend(
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="A pipeline or a prompt.", autocompletion=complete_target),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="The task; left out: the step's.")] = None,
    step: Annotated[str | None, typer.Option("--step", metavar="STEP", help="A step of the pipeline.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="Rows, to see what they are like.")
    ] = None,
    limit: Limit = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="N", help="The most requests for one row.", min=1)
    ] = None,
    depth: Annotated[
        float | None, typer.Option("--depth", metavar="N", help="The most requests that wait for each other.", min=1)
    ] = None,
    flags: Annotated[
        list[str] | None,
        typer.Option("--flag", metavar="FLAG", help="What the input is like, as numbers or noise; repeatable."),
    ] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Recommend techniques for a task, or for a step and its data; each reason is computed, and no model is asked."""
    from promptkit.cli.session import find_project, load, run_to_end
    from promptkit.project import Project

    asking = Asking(model=model)
    if target is None and (step or data):
        raise InputError("a step and its data are those of a pipeline", hint="name it before the options")
    if target is None and task is None:
        raise InputError("name a task or a pipeline", hint="promptkit techniques recommend --task math")
    pipeline = load(target, find_project(target), asking) if target else None
    project = pipeline.project if pipeline else Project.find(Path.cwd())
    wanted = Wanted(task=task, step=step, data=data, limit=limit, budget=budget, depth=depth, flags=tuple(flags or ()))
    run_to_end(recommend_for(wanted, pipeline, project, asking, json=json))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    task: str | None
    step: str | None
    data: Path | None
    limit: int | None
    budget: float | None
    depth: float | None
    flags: tuple[str, ...]


async def recommend_for(
    wanted: Wanted, pipeline: Pipeline | None, project: Project, asking: Asking, *, json: bool
) -> None:
    """Print what is recommended on the model that would answer. Raises InputError where the task cannot be told."""
    from promptkit import engine
    from promptkit.evaluation.choosing import recommend as rank
    from promptkit.reports import (
        emit,
        emit_folded,
        json_text,
        note,
        paragraph,
        recommendation_record,
        recommendation_text,
        terminal_width,
    )

    step = engine.asking_step(pipeline, wanted.step) if pipeline else None
    asked = _asked(wanted, pipeline, step)
    model = await _model(pipeline, step, project, asking)
    situation = _on_model(asked, model, pipeline, step)
    found = rank(situation, project)
    size = f" ({situation.size:g}B parameters)" if situation.size else ""
    can = paragraph(", ".join(sorted(model.capabilities)), first="  ", rest="  ")
    note("\n".join([f"{found.title} on {model.reference}{size}, which can:", *can]))
    if json:
        emit(json_text(recommendation_record(found)))
    else:
        emit_folded(recommendation_text(found, width=terminal_width()))


async def _model(pipeline: Pipeline | None, step: Step | None, project: Project, asking: Asking) -> RunningModel:
    """Return the model that would answer a step; without one, a step that names none."""
    from promptkit.engine import default_model
    from promptkit.reports import Progress
    from promptkit.runtimes import Models

    reference, why, base = default_model(project, pipeline, asking.model)
    progress = Progress()
    with progress.showing():
        async with Models(
            reference,
            why=why,
            timeout=project.settings.timeout,
            progress=progress.fetching,
            notice=progress.notice,
            base=base,
        ) as models:
            return await (await models.get(step.model if step else None)).model()


def _asked(wanted: Wanted, pipeline: Pipeline | None, step: Step | None) -> Situation:
    """Return what a recommendation is for, before a model is opened: nothing is at hand yet. Raises InputError."""
    from promptkit import engine
    from promptkit.evaluation.choosing import Situation, costing_of, find_task, flags_of, from_rows, read_flags
    from promptkit.techniques import Hand

    rows = None
    if pipeline and step and wanted.data:
        rows = engine.read_step_rows(pipeline, step, wanted.data, limit=wanted.limit)
    task, _ = find_task(wanted.task if wanted.task is not None else _likely_task(step))
    return Situation(
        task=task,
        hand=Hand(capabilities=()),
        **(costing_of(step, rows) if step else {}),
        budget=wanted.budget,
        depth=wanted.depth,
        flags={**(flags_of(rows) if rows else {}), **read_flags(wanted.flags)},
        extra=from_rows(rows) if rows else (),
    )


def _likely_task(step: Step | None) -> str:
    """Return the task that a step says, and say so. Raises InputError where it says none."""
    from promptkit.evaluation.choosing import likely_task, tasks
    from promptkit.reports import note

    assert step is not None, "without a pipeline there is a task"
    likely = likely_task(step)
    if likely is None:
        message = f"neither the answer nor the inputs of step `{step.name}` say what its task is"
        raise InputError(message, hint=f"name it by --task: {', '.join(tasks())}")
    note(f"task: {likely[0]}, since {likely[1]}; --task names another")
    return likely[0]


def _on_model(asked: Situation, model: RunningModel, pipeline: Pipeline | None, step: Step | None) -> Situation:
    """Return what a recommendation is for with what is at hand on a model, and what was measured on it here."""
    from promptkit.evaluation.choosing import billions, files_hash, hand_of, read_evidence, with_roles
    from promptkit.techniques import Hand

    if pipeline is None or step is None:
        hand = with_roles(Hand(capabilities=model.capabilities), asked.task)
        return replace(asked, hand=hand, size=billions(model))
    here = (pipeline.name, step.name, files_hash(pipeline, step), model.digest)
    evidence = [
        each
        for each in read_evidence(pipeline.project)
        if (each.pipeline, each.step, each.files, each.model.digest) == here
    ]
    return replace(asked, hand=hand_of(pipeline, step, model), size=billions(model), evidence=evidence)
