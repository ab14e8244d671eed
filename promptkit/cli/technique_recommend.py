"""`promptkit techniques recommend`: techniques that suit a task, or a step and its data, and can run here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.api.session import ModelOptions, load
from promptkit.cli.options import Json, Model, complete_target
from promptkit.cli.technique_prepare import Limit
from promptkit.errors import InputError

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.evaluation.recommendation.recommend import StepProfile
    from promptkit.project import Project
    from promptkit.runtimes.base import Model as RunningModel


def recommend(
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="A pipeline or a prompt.", autocompletion=complete_target),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="The task; default: the step's.")] = None,
    step: Annotated[str | None, typer.Option("--step", metavar="STEP", help="A step of the pipeline.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="Rows, in which properties are detected.")
    ] = None,
    limit: Limit = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="N", help="The most requests for one row.", min=1)
    ] = None,
    depth: Annotated[
        float | None,
        typer.Option("--depth", metavar="N", help="The most requests that may wait for each other.", min=1),
    ] = None,
    flags: Annotated[
        list[str] | None,
        typer.Option("--flag", metavar="FLAG", help="A property of the input, such as numbers or noise; repeatable."),
    ] = None,
    model: Model = None,
    json: Json = False,
) -> None:
    """Recommend techniques for a task, or for a step and its data; each reason is computed, and no model is asked."""
    from promptkit.cli.session import run_to_end
    from promptkit.project import Project

    asking = ModelOptions(model=model)
    if target is None and (step or data):
        raise InputError("a step and its data are those of a pipeline", hint="name it before the options")
    if target is None and task is None:
        raise InputError("name a task or a pipeline", hint="promptkit techniques recommend --task math")
    pipeline = load(target, sets=asking.sets) if target else None
    project = pipeline.project if pipeline else Project.find(Path.cwd())
    options = RecommendOptions(
        task=task, step=step, data=data, limit=limit, budget=budget, depth=depth, flags=tuple(flags or ())
    )
    run_to_end(print_recommendation(options, pipeline, project, asking, json=json))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendOptions:
    """The options of the command line."""

    task: str | None
    step: str | None
    data: Path | None
    limit: int | None
    budget: float | None
    depth: float | None
    flags: tuple[str, ...]


async def print_recommendation(
    options: RecommendOptions, pipeline: Pipeline | None, project: Project, asking: ModelOptions, *, json: bool
) -> None:
    """Print the recommendation for the model that would answer. Raises InputError if the task is not known."""
    from promptkit.engine.step_rows import find_prompt_step
    from promptkit.evaluation.recommendation.recommend import recommend as rank
    from promptkit.reports.layout import paragraph
    from promptkit.reports.output import emit, emit_folded, note, terminal_width
    from promptkit.reports.techniques import recommendation_record, recommendation_text
    from promptkit.reports.text import json_text

    step = find_prompt_step(pipeline, options.step) if pipeline else None
    profile = _profile(options, pipeline, step)
    model = await _model(pipeline, step, project, asking)
    profile = _profile_on_model(profile, model, pipeline, step)
    found = rank(profile, project)
    size = f" ({profile.size:g}B parameters)" if profile.size else ""
    can = paragraph(", ".join(sorted(model.capabilities)), first="  ", rest="  ")
    note("\n".join([f"{found.title} on {model.reference}{size}, which can:", *can]))
    if json:
        emit(json_text(recommendation_record(found)))
    else:
        emit_folded(recommendation_text(found, width=terminal_width()))


async def _model(pipeline: Pipeline | None, step: Step | None, project: Project, asking: ModelOptions) -> RunningModel:
    """Return the model that would answer a step, or the default one without a step."""
    from promptkit.engine.pipeline import default_model
    from promptkit.reports.progress import Progress
    from promptkit.runtimes.models import Models

    reference, why, base = default_model(project, pipeline, asking.model)
    progress = Progress()
    with progress.showing():
        async with Models(
            reference,
            why=why,
            timeout=project.settings.timeout,
            progress=progress.fetching,
            notice=progress.notice,
            offer=progress.offer,
            base=base,
        ) as models:
            return await (await models.get(step.model if step else None)).model()


def _profile(options: RecommendOptions, pipeline: Pipeline | None, step: Step | None) -> StepProfile:
    """Return the step's profile before a model is opened: nothing is available yet. Raises InputError."""
    from promptkit.engine.step_rows import read_step_rows
    from promptkit.evaluation.recommendation.recommend import StepProfile, find_task
    from promptkit.evaluation.recommendation.step_profile import cost_inputs, data_flags, needs_met_by_rows, parse_flags
    from promptkit.techniques.needs import Available

    rows = None
    if pipeline and step and options.data:
        rows = read_step_rows(pipeline, step, options.data, limit=options.limit)
    task, _ = find_task(options.task if options.task is not None else _likely_task(step))
    return StepProfile(
        task=task,
        available=Available(capabilities=()),
        **(cost_inputs(step, rows) if step else {}),
        budget=options.budget,
        depth=options.depth,
        flags={**(data_flags(rows) if rows else {}), **parse_flags(options.flags)},
        met_by_data=needs_met_by_rows(rows) if rows else (),
    )


def _likely_task(step: Step | None) -> str:
    """Return the likely task of a step, and print why. Raises InputError without one."""
    from promptkit.evaluation.recommendation.recommend import tasks
    from promptkit.evaluation.recommendation.step_profile import likely_task
    from promptkit.reports.output import note

    assert step is not None, "without a pipeline there is a task"
    likely = likely_task(step)
    if likely is None:
        message = f"neither the answer nor the inputs of step `{step.name}` show its task"
        raise InputError(message, hint=f"name it by --task: {', '.join(tasks())}")
    note(f"task: {likely[0]}, since {likely[1]}; --task names another")
    return likely[0]


def _profile_on_model(
    profile: StepProfile, model: RunningModel, pipeline: Pipeline | None, step: Step | None
) -> StepProfile:
    """Return the profile with what is available on a model, and with what was measured on it in this project."""
    from promptkit.evaluation.recommendation.evidence import files_hash, measured_on, read_evidence
    from promptkit.evaluation.recommendation.recommend import with_task_inputs
    from promptkit.evaluation.recommendation.step_profile import available_for, thinks_by_itself
    from promptkit.runtimes.model_size import billions
    from promptkit.techniques.needs import Available

    profile = replace(profile, size=billions(model), thinks=thinks_by_itself(step, model))
    if pipeline is None or step is None:
        available = with_task_inputs(Available(capabilities=model.capabilities), profile.task)
        return replace(profile, available=available, evidence=measured_on(model, profile.task))
    here = (pipeline.name, step.name, files_hash(pipeline, step), model.digest)
    evidence = [*measured_on(model, profile.task)] + [
        evidence
        for evidence in read_evidence(pipeline.project)
        if (evidence.pipeline, evidence.step, evidence.files, evidence.model.digest) == here
    ]
    return replace(profile, available=available_for(pipeline, step, model), evidence=evidence)
