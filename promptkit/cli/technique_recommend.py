"""`promptkit techniques recommend`: what suits a task, or a step and its data, and can run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli.options import Asking, Json, Model, complete_target
from promptkit.errors import InputError

if TYPE_CHECKING:
    from promptkit.engine import Pipeline
    from promptkit.evaluation import Situation
    from promptkit.project import Project
    from promptkit.runtimes import Model as RunningModel


def recommend(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="A pipeline or a prompt.", autocompletion=complete_target),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="The task; left out: the step's.")] = None,
    step: Annotated[str | None, typer.Option("--step", metavar="STEP", help="A step of the pipeline.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="Rows, to see what they are like.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="N", help="The most requests for one row.", min=1)
    ] = None,
    depth: Annotated[
        float | None, typer.Option("--depth", metavar="N", help="The most requests that wait for each other.", min=1)
    ] = None,
    flags: Annotated[
        list[str] | None, typer.Option("--flag", metavar="FLAG", help="What the input is like; repeatable.")
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
    wanted = Wanted(task=task, step=step, data=data, budget=budget, depth=depth, flags=tuple(flags or ()))
    run_to_end(recommend_for(wanted, pipeline, project, asking, json=json))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    task: str | None
    step: str | None
    data: Path | None
    budget: float | None
    depth: float | None
    flags: tuple[str, ...]


async def recommend_for(
    wanted: Wanted, pipeline: Pipeline | None, project: Project, asking: Asking, *, json: bool
) -> None:
    """Print what is recommended on the model that would answer. Raises InputError where the task cannot be told."""
    from promptkit.evaluation import recommend as rank
    from promptkit.reports import Progress, emit, json_text, note, recommendation_record, recommendation_text
    from promptkit.runtimes import Models, default_reference

    named = pipeline.model if pipeline else None
    reference, why = default_reference(asking.model, named, project.settings.model)
    progress = Progress()
    with progress.showing():
        async with Models(reference, why=why, progress=progress.fetching, notice=progress.notice) as models:
            model = await (await models.get()).model()
    situation = _of_step(wanted, pipeline, model) if pipeline else _of_task(wanted, model)
    found = rank(situation, project)
    size = f" ({situation.size:g}B parameters)" if situation.size else ""
    note(f"{found.title} on {model.reference}{size}, which can: {', '.join(sorted(model.capabilities))}")
    emit(json_text(recommendation_record(found)) if json else recommendation_text(found))


def _of_task(wanted: Wanted, model: RunningModel) -> Situation:
    from promptkit.evaluation import Situation, billions, read_flags, with_roles
    from promptkit.techniques import Hand

    assert wanted.task is not None, "without a pipeline there is a task"
    hand = with_roles(Hand(capabilities=model.capabilities), wanted.task)
    return Situation(
        task=wanted.task,
        hand=hand,
        size=billions(model),
        budget=wanted.budget,
        depth=wanted.depth,
        flags=read_flags(wanted.flags),
    )


def _of_step(wanted: Wanted, pipeline: Pipeline, model: RunningModel) -> Situation:
    from promptkit import engine
    from promptkit.evaluation import (
        Situation,
        billions,
        flags_of,
        from_rows,
        hand_of,
        likely_task,
        read_evidence,
        read_flags,
    )
    from promptkit.reports import note

    step = engine.asking_step(pipeline, wanted.step)
    assert step.asking is not None, "a step that is named here asks"
    rows = engine.read_step_rows(pipeline, step, wanted.data) if wanted.data else None
    likely = likely_task(step)
    if wanted.task is None:
        if likely is None:
            raise InputError(
                f"neither the answer nor the inputs of step `{step.name}` say what its task is",
                hint="name it by --task",
            )
        note(f"task: {likely[0]}, since {likely[1]}; --task names another")
    evidence = [
        each
        for each in read_evidence(pipeline.project)
        if (each.pipeline, each.step, each.model.digest) == (pipeline.name, step.name, model.digest)
    ]
    return Situation(
        task=wanted.task or (likely[0] if likely else ""),
        hand=hand_of(step, model),
        decide=step.asking.decide,
        size=billions(model),
        budget=wanted.budget,
        depth=wanted.depth,
        flags={**(flags_of(rows) if rows else {}), **read_flags(wanted.flags)},
        extra=from_rows(rows) if rows else (),
        evidence=evidence,
    )
