"""A step as a pipeline of its own: fed by data, or by the steps before it as they are written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from promptkit.engine.pipeline import Input, Pipeline, Step
from promptkit.engine.scope import STEPS, result_of
from promptkit.engine.steps import INDEX
from promptkit.errors import InputError, nearest


def find_step(pipeline: Pipeline, name: str) -> Step:
    """Return the step of that name. Raises InputError with the nearest one."""
    if name not in pipeline.steps:
        raise InputError(f"`{pipeline.name}` has no step `{name}`", hint=nearest(name, pipeline.steps))
    return pipeline.steps[name]


def one_step(pipeline: Pipeline, name: str, given: Collection[str]) -> Pipeline:
    """Return the pipeline that is one step, fed by data that gives the names in `given`.

    What the step reads is an input. Where the data gives an item of its `for_each` the step runs on that one; where
    it gives a prompt's input and not what the step's `with` makes it of, it is taken as it is. Raises InputError for an
    unknown step.
    """
    step = find_step(pipeline, name)
    free: set[str] = set()
    if step.for_each is not None and _items(step).isdisjoint(given):
        free = {name for value in step.for_each.lists.values() for name in value.names}
    else:
        step = replace(step, for_each=None, when=None if step.when_by_item else step.when)
    known = {*given, *(name for name, each in pipeline.inputs.items() if each.has_default), *_items(step)}
    taken = [each for each, argument in step.arguments.items() if each in given and not argument.names <= known]
    arguments = {each: argument for each, argument in step.arguments.items() if each not in taken}
    step = replace(step, arguments=arguments, filled=(*step.filled, *taken), needs=frozenset())
    reads = {*step.filled, *free, *_read(step)} - (_items(step) if step.for_each else set()) - {STEPS, INDEX}
    return replace(
        pipeline,
        inputs=dict(_inputs(pipeline, step, sorted(reads))),
        steps={name: step},
        edges=(),
        output=result_of(name),
        output_keys=None,
        cases=(),
    )


def up_to_step(pipeline: Pipeline, name: str, before: Pipeline) -> Pipeline:
    """Return the pipeline of a step and of the steps that it needs, these as `before` has them.

    Raises InputError for an unknown step.
    """
    step = find_step(pipeline, name)
    wanted, waiting = {name}, [name]
    while waiting:
        current = waiting.pop()
        found = {edge.needs for edge in pipeline.edges if edge.step == current} - wanted
        wanted |= found
        waiting += found
    steps = {each: step if each == name else before.steps[each] for each in pipeline.steps if each in wanted}
    edges = tuple(edge for edge in pipeline.edges if edge.step in wanted and edge.needs in wanted)
    return replace(pipeline, steps=steps, edges=edges, output=result_of(name), output_keys=None, cases=())


def _items(step: Step) -> set[str]:
    return set(step.for_each.lists) if step.for_each is not None else set()


def _read(step: Step) -> Iterator[str]:
    """Yield the names that a step's expressions read."""
    for argument in step.arguments.values():
        yield from argument.names
    if step.when is not None:
        yield from step.when.names
    if step.repeat is not None:
        yield from step.repeat.start.names


def _inputs(pipeline: Pipeline, step: Step, names: Collection[str]) -> Iterator[tuple[str, Input]]:
    prompts: Mapping[str, object] = step.asking.inputs if step.asking is not None else {}
    for name in names:
        if name in pipeline.inputs:
            yield name, pipeline.inputs[name]
        elif step.asking is not None and name in prompts:
            spec = step.asking.inputs[name]
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
