"""The input values of a run, and of one step of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.engine.pipeline import ForEach, Input, Pipeline, Step
from promptkit.engine.scope import INDEX, PREVIOUS, ROUND, STEPS, ItemResults
from promptkit.engine.table_inputs import TABLE_FORMS, is_table, table_rows
from promptkit.errors import InputError, Problem, nearest
from promptkit.prompts.conversation import messages_fault
from promptkit.storage.models import Problems
from promptkit.storage.strict_json import parse_json, plain
from promptkit.storage.yaml import load


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledInputs:
    """A value for each input. `examples` names the inputs whose value comes from `example:`, for a note."""

    values: Mapping[str, Any]
    examples: tuple[str, ...] = ()


def fill_inputs(
    pipeline: Pipeline,
    given: Mapping[str, Any] | None = None,
    *,
    texts: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> FilledInputs:
    """Return the inputs of a run. `given` are values; `texts` are `NAME=VALUE` texts, read by the input's type.

    Without either, the examples are used. A table, in whatever form, becomes a list of mappings; a value may name a
    .csv file in `folder`. Raises InputError for unknown and missing inputs and for values of another type.
    """
    given, texts = given or {}, texts or {}
    problems = Problems()
    values: dict[str, Any] = {}
    for name in (*given, *texts):
        if name not in pipeline.inputs:
            problems.add(Problem(f"`{pipeline.name}` has no input `{name}`", hint=nearest(name, pipeline.inputs)))
    from_examples: list[str] = []
    for name, spec in pipeline.inputs.items():
        if name in given:
            with problems.gather():
                values[name] = _given_value(spec, given[name], folder)
        elif name in texts:
            with problems.gather():
                values[name] = read_text_value(spec, texts[name], folder=folder)
        elif spec.has_example and not (given or texts):
            values[name] = _with_rows(spec, spec.example)
            from_examples.append(name)
        elif spec.has_default:
            values[name] = _with_rows(spec, spec.default)
        else:
            about = f" ({spec.about})" if spec.about else ""
            problems.add(Problem(f"the input `{name}`{about} is missing", hint=f"{name}=VALUE, {name}=@FILE"))
    problems.check()
    return FilledInputs(values=values, examples=tuple(from_examples))


def _given_value(spec: Input, value: Any, folder: Path | None) -> Any:
    """Return a value that was given for an input. Raises InputError for one of another type."""
    if spec.has_default and value == spec.default:
        return _with_rows(spec, value)
    if spec.type == "table":
        value = _table(spec, value, folder)
    if wrong := wrong_value(spec, value):
        raise InputError(Problem(f"the input `{spec.name}` {wrong}"))
    return value


def _with_rows(spec: Input, value: Any) -> Any:
    """Return a value of a file, a table as a list of mappings. A null default leaves the input out."""
    return table_rows(value) if spec.type == "table" and value is not None else value


def _table(spec: Input, value: Any, folder: Path | None) -> Any:
    try:
        return table_rows(value, folder=folder)
    except ValueError as error:
        raise InputError(Problem(f"the input `{spec.name}` is not a table: {error}", hint=TABLE_FORMS)) from None


def read_text_value(spec: Input, text: str, *, folder: Path | None = None) -> Any:
    """Parse the text of an input by its type; a table may be a .csv file in `folder`. Raises InputError."""
    value: Any = text
    if spec.type == "table":
        value = _table(spec, text, folder)
    elif spec.type in ("number", "boolean", "list", "messages"):
        value = load(text, file=f"{spec.name}=").value
    elif spec.type == "json":
        try:
            value = parse_json(text)
        except ValueError as error:
            raise InputError(Problem(f"the input `{spec.name}` must be JSON: {error}")) from None
    if wrong := wrong_value(spec, value):
        raise InputError(Problem(f"the input `{spec.name}` {wrong}"))
    return value


def wrong_value(spec: Input, value: Any) -> str | None:
    """Return the reason why a value does not suit an input, None where it does."""
    if spec.choices and value not in spec.choices:
        return f"must be one of {', '.join(map(str, spec.choices))}, not `{value}`"
    if spec.type == "messages":
        return messages_fault(value)
    if not _has_type(spec.type, value):
        return f"must be a {spec.type}, not {_kind_of_value(value)}"
    return None


def _has_type(kind: str, value: Any) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "list":
            return isinstance(value, list | tuple)
        case "table":
            return is_table(value)
    return True


def _kind_of_value(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), type(value).__name__)


def step_inputs(pipeline: Pipeline, step: Step, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the inputs that a step's prompt gets in a run, as plain data: one mapping, or one for each item.

    `scope` holds the pipeline's inputs and the results of earlier steps; a step that did not run has null. Inputs left
    to their defaults are not included. With `repeat`, these are the inputs of the first round. Empty where `when` does
    not hold or a result is missing. Raises InputError for an expression that fails.
    """
    assert step.prompt_call is not None, "only a step that asks has a prompt"
    absent = {name for name in pipeline.steps if scope.get(name) is None}
    seen = _step_scope(pipeline, scope, absent)
    if step.when is not None and not step.when_by_item and step.when.evaluate(seen, absent) is not True:
        return []
    items = [{}] if step.for_each is None else _loop_items(step.for_each, seen, absent)
    found = (_item_inputs(step, {**seen, **item}, absent | _null_names(item)) for item in items)
    return [values for values in found if values is not None]


def _step_scope(pipeline: Pipeline, given: Mapping[str, Any], absent: Collection[str]) -> dict[str, Any]:
    """Return the scope of a step. Results of a `for_each` get their items."""
    scope = {name: spec.default for name, spec in pipeline.inputs.items() if spec.has_default}
    statuses: dict[str, Any] = {
        name: {"status": "skipped" if name in absent else "done", "tool_calls": []} for name in pipeline.steps
    }
    scope |= {STEPS: statuses, **dict.fromkeys(pipeline.steps), **given}
    for name, step in pipeline.steps.items():
        results = given.get(name)
        if step.for_each is not None and isinstance(results, list) and not isinstance(results, ItemResults):
            items = _loop_items(step.for_each, scope, absent)
            if len(items) == len(results):
                named = [{key: value for key, value in item.items() if key != INDEX} for item in items]
                alone = step.for_each.is_single
                scope[name] = ItemResults(results, [next(iter(item.values())) for item in named] if alone else named)
    return scope


def _null_names(item: Mapping[str, Any]) -> set[str]:
    return {name for name, value in item.items() if value is None}


def _loop_items(loop: ForEach, scope: Mapping[str, Any], absent: Collection[str]) -> list[dict[str, Any]]:
    """Return the names of each item with their values; none where a list is missing."""
    lists = {name: value.evaluate(scope, absent) for name, value in loop.lists.items()}
    if any(values is None for values in lists.values()):
        return []
    if any(not isinstance(values, list | tuple) for values in lists.values()):
        raise InputError("`for_each` must be a list")
    if len({len(values) for values in lists.values()}) > 1:
        raise InputError("the lists of `for_each` are of unequal length")
    rows = zip(*lists.values(), strict=True)
    return [{**dict(zip(lists, row, strict=True)), INDEX: number} for number, row in enumerate(rows)]


def _item_inputs(step: Step, scope: dict[str, Any], absent: Collection[str]) -> dict[str, Any] | None:
    """Return the inputs for one item; None where the step is skipped for it."""
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
