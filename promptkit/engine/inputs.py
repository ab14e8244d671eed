"""The inputs of a run: given values, text from the command line, defaults and examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptkit.errors import InputError, Problem, nearest
from promptkit.storage import Problems, load, parse_json

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Input, Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A value for each input, and the names of those that come from `example:`, to be said."""

    values: Mapping[str, Any]
    examples: tuple[str, ...] = ()


def fill(
    pipeline: Pipeline, given: Mapping[str, Any] | None = None, *, texts: Mapping[str, str] | None = None
) -> Filled:
    """Return the inputs of a run. `given` are values, `texts` what was typed (`NAME=VALUE`), read by the input's type.

    With neither, the examples are used. Raises InputError for unknown and missing inputs and values of another type.
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
            values[name] = given[name]
        elif name in texts:
            with problems.gather():
                values[name] = read_text_value(spec, texts[name])
        elif spec.has_example and not (given or texts):
            values[name] = spec.example
            from_examples.append(name)
        elif spec.has_default:
            values[name] = spec.default
        else:
            about = f" ({spec.about})" if spec.about else ""
            problems.add(Problem(f"the input `{name}`{about} is missing", hint=f"{name}=VALUE, {name}=@FILE"))
        is_default = spec.has_default and values.get(name) == spec.default
        if name in given and not is_default and (wrong := wrong_value(spec, values[name])):
            problems.add(Problem(f"the input `{name}` {wrong}"))
    problems.check()
    return Filled(values=values, examples=tuple(from_examples))


def read_text_value(spec: Input, text: str) -> Any:
    """Return what was typed for an input, read by its type. Raises InputError."""
    value: Any = text
    if spec.type in ("number", "boolean", "list", "table"):
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
    """Say what is wrong with a value for an input, None where nothing is."""
    if spec.choices and value not in spec.choices:
        return f"must be one of {', '.join(map(str, spec.choices))}, not `{value}`"
    if not _fits(spec.type, value):
        return f"must be a {spec.type}, not {_kind(value)}"
    return None


def _fits(kind: str, value: Any) -> bool:
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
            return isinstance(value, list | tuple) and all(isinstance(row, Mapping) for row in value)
    return True


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), type(value).__name__)
