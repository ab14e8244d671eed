"""A technique's own right traces as its demonstrations: programs that the model wrote and that ended right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from promptkit.engine.inputs import step_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.techniques.calls import CallSpec, read_call
from promptkit.techniques.spec import configure, parse_spec
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator, partition_valid, step_nodes
from promptkit.tuning.search.steps import Objectives
from promptkit.tuning.search_space.bootstrap import (
    GENERATION_SHARE,
    LEAST_GENERATION_CALLS,
    evaluate_within,
    right_results,
)
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from promptkit.tuning.search_space.examples import demonstration_places

LEAST_TRACES, MOST_TRACES = 2, 4
SHOWN: Final = {"input", "output"}
"""The fields of a demonstration that a trace gives: the text of the input section, and the reply."""


async def add_own_traces(
    objectives: Objectives, parameters: Sequence[Parameter], *, calls: int
) -> tuple[Parameter, ...]:
    """Return parameters with further choices: techniques that show what the model itself wrote under them.

    Only a technique whose call hides the step's examples and shows demonstrations of its own gets one, if it ends right
    on at least two of the rows set aside. A tenth of the search's `calls` at most is spent on it. Raises the errors of
    `Evaluator.evaluate`.
    """
    share = int(GENERATION_SHARE * calls)
    project = objectives.whole.split.suite.project
    showing = [
        (parameter, choice, call)
        for parameter in parameters
        if parameter.kind == "technique"
        for choice in parameter.choices[1:]
        if (call := demonstrating_call(choice.changes[parameter.name], project)) is not None
    ]
    if share < LEAST_GENERATION_CALLS or not showing:
        return tuple(parameters)
    added: dict[str, list[Choice]] = {}
    for parameter, choice, call in showing:
        objective = objectives.steps.get(parameter.step, objectives.whole)
        evaluator, split = objective.estimates.evaluator, objective.split
        demos = await own_traces(evaluator, split, parameter, choice, call, most_calls=share // len(showing))
        if len(demos) >= LEAST_TRACES:
            added.setdefault(parameter.name, []).append(_with_demos(parameter, choice, call, demos))
    return tuple(
        replace(parameter, choices=(*parameter.choices, *added.get(parameter.name, ()))) for parameter in parameters
    )


def demonstrating_call(spec: Any, project: Project) -> CallSpec | None:
    """Return the call of a technique that shows demonstrations in place of the step's examples, None without one."""
    chosen = configure(spec, project)
    calls = map(read_call, chosen.technique.call_files)
    return next(
        (
            call
            for call in calls
            if call.demos and not call.keeps("examples") and all(demo.keys() == SHOWN for demo in call.demos)
            if call.name not in chosen.demos
        ),
        None,
    )


async def own_traces(
    evaluator: Evaluator,
    split: DataSplit,
    parameter: Parameter,
    choice: Choice,
    call: CallSpec,
    *,
    most_calls: int,
) -> list[dict[str, Any]]:
    """Return demonstrations of a call from the rows set aside that end right under a technique, at most one per row.

    Rows that nearly repeat a scored one would give away its answer, and are left out. About `most_calls` calls at most
    are counted. Raises the errors of `Evaluator.evaluate`.
    """
    candidate = Candidate().with_choice(parameter.name, choice)
    if not partition_valid(evaluator, [candidate])[0]:
        return []
    pipeline = evaluator.variant(candidate).pipeline
    step = pipeline.steps[parameter.step]
    if step.repeat is not None:
        return []
    apart = set(demonstration_places(split))
    pool = [row for row in split.demo_pool if row in apart]
    await evaluate_within(evaluator, candidate, pool, most_calls)
    found: list[dict[str, Any]] = []
    for row, result in right_results(evaluator, pool, candidate):
        scope = {**evaluator.rows[row].inputs[0], **result.steps}
        nodes = step_nodes(evaluator.trace(result), step.name)
        found += list(_demonstrations(pipeline, step, scope, nodes, call.name))[:1]
        if len(found) == MOST_TRACES:
            break
    return found


def _demonstrations(
    pipeline: Pipeline, step: Step, scope: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], call: str
) -> Iterator[dict[str, Any]]:
    """Yield the input and the reply of each node whose call was made once and ended by itself."""
    assert step.prompt_call is not None, "only a step that asks has a technique"
    try:
        given = step_inputs(pipeline, step, scope)
    except InputError:
        return
    for values, node in zip(given, nodes, strict=False):
        made = [record for record in node["calls"] if record["call"] == call]
        if len(made) == 1 and made[0]["finish"] == "stop" and made[0]["reply"].strip():
            text = step.prompt_call.prompt.sections(values, only=("input",)).get("input")
            if text is not None:
                yield {"input": text, "output": f"{made[0]['begun']}{made[0]['reply']}".strip()}


def _with_demos(parameter: Parameter, choice: Choice, call: CallSpec, demos: Sequence[Mapping[str, Any]]) -> Choice:
    """Return the choice of a technique with demonstrations for one of its calls."""
    name, settings = parse_spec(choice.changes[parameter.name])
    settings["demos"] = {**settings.get("demos", {}), call.name: [dict(demo) for demo in demos]}
    what = "programs" if call.product == "code" else "replies"
    return replace(
        choice,
        name=f"{choice.name}, {len(demos)} of its own {what}",
        changes={**choice.changes, parameter.name: {name: settings}},
        about=f"{choice.about}; shows {what} that the model wrote and that ended right",
    )
