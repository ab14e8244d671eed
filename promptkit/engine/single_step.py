"""One step of a pipeline by itself, fed by rows of data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from promptkit.engine.pipeline import Input, Pipeline, Step
from promptkit.engine.results import Trace
from promptkit.engine.scope import INDEX, STEPS, result_of
from promptkit.engine.session import ClientProvider, OnEvent, RunSettings, Session
from promptkit.engine.step_reader import add_role_inputs
from promptkit.engine.step_rows import StepRow
from promptkit.engine.step_run import ExecutionContext, step_context
from promptkit.engine.step_settings import artifact_files
from promptkit.errors import InputError, nearest
from promptkit.runtimes.base import Model
from promptkit.techniques.context import StepContext
from promptkit.techniques.spec import check_spec as check_technique


def find_step(pipeline: Pipeline, name: str) -> Step:
    """Return the step of that name. Raises InputError with the nearest name."""
    if name not in pipeline.steps:
        raise InputError(f"`{pipeline.name}` has no step `{name}`", hint=nearest(name, pipeline.steps))
    return pipeline.steps[name]


def single_step_pipeline(pipeline: Pipeline, name: str, given: Collection[str]) -> Pipeline:
    """Return one step as a pipeline, fed by data with the fields `given`.

    Everything the step reads becomes an input. Where the data gives an item of its `for_each`, the step runs on that
    item. Where the data gives an input of the prompt, but not the names that the step's `with` computes it from, the
    input is taken from the data. Raises InputError for an unknown step.
    """
    step = find_step(pipeline, name)
    free: set[str] = set()
    if step.for_each is not None and _item_names(step).isdisjoint(given):
        free = {name for value in step.for_each.lists.values() for name in value.names}
    else:
        step = replace(step, for_each=None, when=None if step.when_by_item else step.when)
    known = {*given, *(name for name, spec in pipeline.inputs.items() if spec.has_default), *_item_names(step)}
    taken = [key for key, argument in step.arguments.items() if key in given and not argument.names <= known]
    arguments = {key: argument for key, argument in step.arguments.items() if key not in taken}
    step = replace(step, arguments=arguments, filled=(*step.filled, *taken), needs=frozenset())
    reads = {*step.filled, *free, *_names_read(step)} - (_item_names(step) if step.for_each else set()) - {STEPS, INDEX}
    return replace(
        pipeline,
        inputs=dict(_step_inputs(pipeline, step, sorted(reads))),
        steps={name: step},
        edges=(),
        output=result_of(name),
        output_keys=None,
        cases=(),
    )


def pipeline_up_to(pipeline: Pipeline, name: str, before: Pipeline) -> Pipeline:
    """Return the pipeline of a step and of the steps that it needs, the latter as `before` has them.

    Raises InputError for an unknown step.
    """
    step = find_step(pipeline, name)
    needed, waiting = {name}, [name]
    while waiting:
        current = waiting.pop()
        found = {edge.needs for edge in pipeline.edges if edge.step == current} - needed
        needed |= found
        waiting += found
    steps = {key: step if key == name else before.steps[key] for key in pipeline.steps if key in needed}
    edges = tuple(edge for edge in pipeline.edges if edge.step in needed and edge.needs in needed)
    return replace(pipeline, steps=steps, edges=edges, output=result_of(name), output_keys=None, cases=())


def _item_names(step: Step) -> set[str]:
    return set(step.for_each.lists) if step.for_each is not None else set()


def _names_read(step: Step) -> Iterator[str]:
    """Yield the names that a step's expressions read."""
    for argument in step.arguments.values():
        yield from argument.names
    if step.when is not None:
        yield from step.when.names
    if step.repeat is not None:
        yield from step.repeat.start.names


def _step_inputs(pipeline: Pipeline, step: Step, names: Collection[str]) -> Iterator[tuple[str, Input]]:
    prompts: Mapping[str, object] = step.prompt_call.inputs if step.prompt_call is not None else {}
    for name in names:
        if name in pipeline.inputs:
            yield name, pipeline.inputs[name]
        elif step.prompt_call is not None and name in prompts:
            spec = step.prompt_call.inputs[name]
            yield (
                name,
                Input(
                    name=name,
                    type=spec.type or "json",
                    about=spec.about,
                    default=spec.default,
                    has_default=spec.has_default,
                    choices=tuple(spec.choices),
                ),
            )
        else:
            yield name, Input(name=name, type="json")


class SingleStep:
    """A step that is run by itself. Make it inside the event loop. `answered` are the models that were opened."""

    def __init__(
        self,
        pipeline: Pipeline,
        step: Step,
        *,
        models: ClientProvider,
        settings: RunSettings | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self.step = step
        self._session = Session(pipeline.project, models, settings or RunSettings(), on_event)

    @property
    def answered(self) -> Mapping[str | None, Model]:
        return self._session.answered

    @property
    def notices(self) -> tuple[str, ...]:
        return self._session.notices

    async def model(self) -> Model:
        """Open the step's model and return it. Raises the errors of a missing model."""
        return await (await self._session.client(self.step.model)).model()

    async def context(self, row: StepRow, trace: Trace) -> StepContext:
        """Return the technique's context for one row. Calls are added to `trace`. Raises InputError."""
        here = ExecutionContext(row.scope, frozenset(), trace, self._session.settings.sample)
        filled = {name: row.scope[name] for name in self.step.filled if name in row.scope}
        return await step_context(
            self.step,
            self._session,
            path=self.step.name,
            model=self.step.model,
            values={**filled, **row.inputs},
            here=here,
        )


def with_technique(pipeline: Pipeline, step: Step, spec: Any) -> Step:
    """Return the step with the technique `spec`. Raises InputError with everything that is wrong with it.

    Paths in `spec` are relative to the pipeline's file.
    """
    call, folder = step.prompt_call, pipeline.file.parent
    assert call is not None, "only a step that asks has a technique"
    prompt = call.prompt
    if prompt.file is None:
        prompt = add_role_inputs(prompt, spec, {*pipeline.inputs, *step.arguments}, pipeline.project)
    added = [name for name in prompt.inputs if name not in call.inputs and name in pipeline.inputs]
    typed = {name: replace(prompt.inputs[name], type=pipeline.inputs[name].type) for name in added}
    inputs = {**call.inputs, **typed}
    problems = check_technique(spec, pipeline.project, inputs, folder)
    if problems:
        raise InputError(problems)
    call = replace(
        call,
        prompt=prompt,
        inputs=inputs,
        technique=spec,
        technique_folder=folder,
        artifacts=artifact_files(spec, pipeline.project, folder / call.home),
    )
    return replace(step, prompt_call=call, filled=(*step.filled, *added))
