"""What the prompt of one step is given in a run, worked out from what the step sees."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from promptkit.engine.pipeline import Loop, Pipeline, Step
from promptkit.engine.scope import STEPS, Items
from promptkit.engine.steps import INDEX, PREVIOUS, ROUND
from promptkit.errors import InputError
from promptkit.storage import plain


def step_inputs(pipeline: Pipeline, step: Step, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the values that a run gives the inputs of a step's prompt, as plain data: one mapping, or one an item.

    `scope` holds the pipeline's inputs and the results of the steps before; the result of a step that was not run is
    null. Inputs that are left to their defaults are not in it. In a `repeat` it is those of the first round. Where
    `when` does not hold, or a result is lacking, there are none. Raises InputError for an expression that does not
    work out.
    """
    assert step.asking is not None, "only a step that asks has a prompt"
    absent = {name for name in pipeline.steps if scope.get(name) is None}
    seen = _scope(pipeline, scope, absent)
    if step.when is not None and not step.when_by_item and step.when.evaluate(seen, absent) is not True:
        return []
    items = [{}] if step.for_each is None else _items(step.for_each, seen, absent)
    found = (_of_item(step, {**seen, **item}, absent | _nulls(item)) for item in items)
    return [values for values in found if values is not None]


def _scope(pipeline: Pipeline, given: Mapping[str, Any], absent: Collection[str]) -> dict[str, Any]:
    """Return all that a step sees, results of a `for_each` with the items that they are of."""
    scope = {name: each.default for name, each in pipeline.inputs.items() if each.has_default}
    statuses = {name: {"status": "skipped" if name in absent else "done"} for name in pipeline.steps}
    scope |= {STEPS: statuses, **dict.fromkeys(pipeline.steps), **given}
    for name, step in pipeline.steps.items():
        results = given.get(name)
        if step.for_each is not None and isinstance(results, list) and not isinstance(results, Items):
            items = _items(step.for_each, scope, absent)
            if len(items) == len(results):
                named = [{key: value for key, value in item.items() if key != INDEX} for item in items]
                alone = step.for_each.is_single
                scope[name] = Items(results, [next(iter(item.values())) for item in named] if alone else named)
    return scope


def _nulls(item: Mapping[str, Any]) -> set[str]:
    return {name for name, value in item.items() if value is None}


def _items(loop: Loop, scope: Mapping[str, Any], absent: Collection[str]) -> list[dict[str, Any]]:
    """Return the names of each item with their values; none where a list is lacking."""
    lists = {name: value.evaluate(scope, absent) for name, value in loop.lists.items()}
    if any(values is None for values in lists.values()):
        return []
    if any(not isinstance(values, list | tuple) for values in lists.values()):
        raise InputError("`for_each` must be a list")
    if len({len(values) for values in lists.values()}) > 1:
        raise InputError("the lists of `for_each` are of unequal length")
    rows = zip(*lists.values(), strict=True)
    return [{**dict(zip(lists, row, strict=True)), INDEX: number} for number, row in enumerate(rows)]


def _of_item(step: Step, scope: dict[str, Any], absent: Collection[str]) -> dict[str, Any] | None:
    """Return the inputs for one item; None where it is not asked."""
    if step.repeat is not None:
        scope = {**scope, PREVIOUS: step.repeat.start.evaluate(scope, absent), ROUND: 1}
    if step.when_by_item and step.when is not None and step.when.evaluate(scope, absent) is not True:
        return None
    values = {name: argument.evaluate(scope, absent) for name, argument in step.arguments.items()}
    if any(values[name] is None and argument.names & set(absent) for name, argument in step.arguments.items()):
        return None
    for name in step.filled:
        if name in absent:
            return None
        if name not in scope:
            raise InputError(f"step `{step.name}`: nothing gives the input `{name}`")
        values[name] = scope[name]
    return {name: plain(value) for name, value in values.items()}
