"""`promptkit.run` and `promptkit.render`: a target run once, or shown without asking a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Unpack

from promptkit.api.session import (
    ModelArguments,
    ModelOptions,
    Session,
    UsedModel,
    load,
    open_session,
    run_sync,
    showing,
)
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.render import Rendered
from promptkit.engine.render import render as render_pipeline
from promptkit.engine.results import Result, trace_record
from promptkit.engine.run import run as run_pipeline
from promptkit.errors import InputError
from promptkit.reports.progress import Progress
from promptkit.reports.text import display_text, json_text
from promptkit.reports.trace import rendered_text
from promptkit.storage.records import reading_record


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Result):
    """The result of a run: `output`, `steps`, `totals`, `trace`, and the `models` that answered, the default first.

    As text it is the output, as `promptkit run` prints it.
    """

    models: tuple[UsedModel, ...]

    @classmethod
    def of(cls, result: Result, session: Session) -> RunResult:
        """Return the result of a run in a session."""
        values = {field.name: getattr(result, field.name) for field in fields(Result)}
        return cls(**values, models=session.models_of(result))

    def to_dict(self, **placed: Any) -> dict[str, Any]:
        """Return the object that `promptkit run --json` prints; `placed` goes in after the run's number."""
        models = [model.record() for model in self.models]
        record = {"run": self.run, **placed, "target": self.target, "model": models[0], **self.record()}
        record |= {"error": str(self.error)} if self.error else {}
        record["trace"] = trace_record(self.trace)["parts"]
        return record | ({"models": models} if len(models) > 1 else {})

    def to_json(self, *, indent: int | None = 2, **placed: Any) -> str:
        """Return `to_dict` as JSON."""
        return json_text(self.to_dict(**placed), indent=indent)

    def __str__(self) -> str:
        return display_text(self.output)


@dataclass(frozen=True, slots=True)
class RenderResult:
    """The first request of each step that asks a model. As text it is what `promptkit render` prints."""

    steps: tuple[Rendered, ...]

    def __iter__(self) -> Iterator[Rendered]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `promptkit render --json` prints."""
        return {"steps": [step_record(step) for step in self.steps]}

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return `to_dict()` as JSON."""
        return json_text(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        return rendered_text(self.steps)


def run(
    target: str | Path | Pipeline,
    inputs: Mapping[str, Any] | None = None,
    *,
    check: bool = True,
    progress: Progress | None = None,
    **options: Unpack[ModelArguments],
) -> RunResult:
    """Run a pipeline or a prompt once, and keep the run in the project's store.

    `target` is a name, a path or what `load` returned; without `inputs` the examples of its inputs are used. `options`
    are those of `ModelArguments`: `model`, `sets`, `record`, `no_cache`, `strict`, `strict_on`, `timeout`. `progress`
    shows each step on stderr. Raises InputError before a model is asked, and the error that ended the run; with
    `check=False` that is in the result's `error`.
    """
    return run_sync("run", arun(target, inputs, check=check, progress=progress, **options))


async def arun(
    target: str | Path | Pipeline,
    inputs: Mapping[str, Any] | None = None,
    *,
    check: bool = True,
    progress: Progress | None = None,
    **options: Unpack[ModelArguments],
) -> RunResult:
    """Run a pipeline or a prompt once, as `run` does, in the event loop that runs."""
    given = ModelOptions(**options)
    pipeline = load_once(target, given)
    found = await run_target(pipeline, fill_inputs(pipeline, inputs).values, given, progress)
    if check and found.error:
        raise found.error
    return found


async def run_target(
    pipeline: Pipeline, values: Mapping[str, Any], options: ModelOptions, progress: Progress | None = None
) -> RunResult:
    """Run a target on the values of all its inputs. What ends the run is in the result."""
    async with open_session(pipeline, options, progress) as session:
        with showing(progress):
            result = await run_pipeline(
                pipeline,
                values,
                models=session.models,
                settings=session.settings,
                on_event=progress.listener() if progress else None,
                store=session.store,
            )
        return RunResult.of(result, session)


def render(
    target: str | Path | Pipeline,
    inputs: Mapping[str, Any] | None = None,
    *,
    step: str | None = None,
    **options: Unpack[ModelArguments],
) -> RenderResult:
    """Return the exact messages of each step's first request, or of `step`; no model is asked.

    `inputs` may also hold results of steps, by their names; what a later step needs besides comes from the last run, or
    from examples. Raises InputError.
    """
    given = ModelOptions(**options)
    pipeline = load_once(target, given)
    values = dict(inputs or {})
    results = {name: values.pop(name) for name in values.keys() & pipeline.steps.keys()}
    filled = fill_inputs(pipeline, values or None).values
    return run_sync("render", render_target(pipeline, filled, given, step=step, results=results))


async def render_target(
    pipeline: Pipeline,
    values: Mapping[str, Any],
    options: ModelOptions,
    progress: Progress | None = None,
    *,
    step: str | None = None,
    results: Mapping[str, Any] | None = None,
) -> RenderResult:
    """Return the first request of each step on the values of all inputs; `results` are given in place of steps'."""
    async with open_session(pipeline, options, progress) as session:
        steps = await render_pipeline(
            pipeline,
            values,
            models=session.models,
            step=step,
            typed=results,
            known=last_results(pipeline, session),
            settings=session.settings,
        )
    return RenderResult(tuple(steps))


def load_once(target: str | Path | Pipeline, options: ModelOptions) -> Pipeline:
    """Return a target that is named, or that was loaded before. Raises InputError, for `sets` of one loaded too."""
    if not isinstance(target, Pipeline):
        return load(target, sets=options.sets)
    if options.sets:
        raise InputError("`sets` changes a target when it is loaded", hint="promptkit.load(NAME, sets=[…])")
    return target


def last_results(pipeline: Pipeline, session: Session) -> dict[str, Any]:
    """Return the result of each step in the last run of the target that succeeded."""
    last = session.store.run("last", kind="run", target=pipeline.name, status="done")
    if last is not None:
        with session.store.damage.skipping(), reading_record(f"runs {last.number}, `record`"):
            steps = last.record.get("steps", {})
            return {name: step["value"] for name, step in steps.items() if "value" in step and name in pipeline.steps}
    return {}


def step_record(rendered: Rendered) -> dict[str, Any]:
    """Return a rendered step as the documented JSON object."""
    request = rendered.request
    constraint = {
        "grammar": request.grammar,
        "choice": list(request.choice) or None,
        "regex": request.regex,
        "schema": request.schema,
        "json_object": request.json_object or None,
    }
    return {
        "step": rendered.step,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "cue": request.begun,
        **{name: value for name, value in constraint.items() if value is not None},
        "options": {"max_tokens": request.max_tokens, "temperature": request.temperature, "stop": list(request.stop)},
        "text": rendered.text,
        "tokens": rendered.tokens,
        "assumed": dict(rendered.assumed),
    }
