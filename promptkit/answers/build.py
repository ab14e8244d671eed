"""From a file's `answer:` to an answer type, and from the type to the instruction that a model reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType, quoted
from promptkit.answers.json_value import Json
from promptkit.answers.labels import Boolean, Choice, Label, Labels
from promptkit.answers.lists import JsonList, ListOf, read_flag
from promptkit.answers.number import Number
from promptkit.answers.spans import Spans
from promptkit.answers.text import Code, Text
from promptkit.errors import InputError, nearest
from promptkit.project import LIBRARY, Project
from promptkit.prompts.expressions import evaluate
from promptkit.prompts.template_loader import render_file

_ITEM_TYPES = ("text", "label", "number", "boolean", "json")


def build_answer_type(spec: Any, *, scope: Mapping[str, Any] | None = None) -> AnswerType:
    """Return the answer type of a spec: a name, or a mapping of one name to its options.

    With a `scope`, expressions in the spec are evaluated in it first. Raises InputError with all that is wrong.
    """
    if scope is not None:
        spec = evaluate(spec, scope)
    name, options = _split(spec)
    return _MAKERS[name](options)


def check_answer_type(spec: Any) -> list[str]:
    """Return what is wrong with a spec that may still hold expressions, without their values."""
    try:
        name, options = _split(spec)
        if not _holds_expression(options):
            _MAKERS[name](options)
            return []
    except InputError as error:
        return [f"{problem.message}" + (f"; {problem.hint}" if problem.hint else "") for problem in error.problems]
    return list(_unknown_keys(name, options))


def _split(spec: Any) -> tuple[str, Any]:
    """Return the type's name and its options. Raises InputError."""
    if isinstance(spec, Mapping) and len(spec) == 1:
        name, options = next(iter(spec.items()))
    elif isinstance(spec, str):
        name, options = spec, None
    else:
        raise InputError(f"an answer type is a name, or one name with its options, not {quoted(str(spec))}")
    if name not in _MAKERS:
        raise InputError(f"no answer type `{name}`", hint=nearest(str(name), _MAKERS))
    return name, options


def _text(options: Any) -> AnswerType:
    _refuse_options("text", options)
    return Text()


def _boolean(options: Any) -> AnswerType:
    _refuse_options("boolean", options)
    return Boolean()


def _number(options: Any) -> AnswerType:
    given = _options("number", options)
    return Number(given.get("min"), given.get("max"), given.get("decimals"))


def _code(options: Any) -> AnswerType:
    return Code() if options is None else Code(options)


def _spans(options: Any) -> AnswerType:
    given = _options("spans", options)
    return Spans(given.get("classes"), given.get("text"))


def _list(options: Any) -> AnswerType:
    given = _options("list", options)
    inner = given.get("of", "text")
    of = build_answer_type(inner)
    by_lines = read_flag("lines", given.get("lines", False))
    if by_lines and "separator" in given:
        raise InputError("list: either `separator` or `lines`, not both")
    if isinstance(of, Json):
        if by_lines or "separator" in given:
            raise InputError("list: records are written as one JSON array, without `separator` and `lines`")
        return JsonList(of, unique=given.get("unique", False), most=given.get("max"))
    return ListOf(of, separator=given.get("separator"), unique=given.get("unique", False), most=given.get("max"))


_MAKERS: dict[str, Callable[[Any], AnswerType]] = {
    "text": _text,
    "label": Label,
    "labels": Labels,
    "choice": Choice,
    "number": _number,
    "boolean": _boolean,
    "list": _list,
    "json": Json,
    "code": _code,
    "spans": _spans,
}
_KEYS: dict[str, frozenset[str]] = {
    "number": frozenset({"min", "max", "decimals"}),
    "list": frozenset({"separator", "lines", "of", "unique", "max"}),
    "spans": frozenset({"classes", "text"}),
}


def _refuse_options(name: str, options: Any) -> None:
    if options not in (None, {}):
        raise InputError(f"{name} takes no options, such as {quoted(str(options))}")


def _options(name: str, options: Any) -> Mapping[str, Any]:
    """Return the options of a type as a mapping with known keys. Raises InputError."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise InputError(f"{name} takes {', '.join(sorted(_KEYS[name]))}, not {quoted(str(options))}")
    faults = list(_unknown_keys(name, options))
    if faults:
        raise InputError("\n".join(faults))
    return options


def _unknown_keys(name: str, options: Any) -> Iterator[str]:
    """Yield what can be said of options without the values of their expressions."""
    if name not in _KEYS or not isinstance(options, Mapping):
        return
    for key in options:
        if key not in _KEYS[name]:
            hint = nearest(str(key), _KEYS[name])
            yield f"{name}: unknown key `{key}`" + (f"; {hint}" if hint else "")
    if name == "list" and "of" in options:
        yield from _item_faults(options["of"])


def _item_faults(spec: Any) -> Iterator[str]:
    faults = check_answer_type(spec)
    name = next(iter(spec), None) if isinstance(spec, Mapping) else spec
    if name in _MAKERS and name not in _ITEM_TYPES:
        faults = [f"list: its items cannot be `{name}`; known: {', '.join(_ITEM_TYPES)}"]
    yield from faults


def _holds_expression(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_expression, value.values()))
    if isinstance(value, list):
        return any(map(_holds_expression, value))
    return isinstance(value, str) and "{{" in value


def instruction(answer_type: AnswerType, *, project: Project | None = None) -> str:
    """Return how the answer is to be written: the section output_format of a prompt that has none ('' for text)."""
    values = {"name": answer_type.name, "form": answer_type.form, **answer_type.description()}
    return _render_template(answer_type.name, values, project)


def repair_message(answer_type: AnswerType, problem: str, *, project: Project | None = None) -> str:
    """Return what to say to a model whose reply could not be read, or failed a guard."""
    values = {"problem": problem, "instruction": instruction(answer_type, project=project)}
    return _render_template("repair", values, project)


def content_free_inputs(*, project: Project | None = None) -> tuple[str, ...]:
    """Return the inputs that say nothing, on which contextual calibration measures the model's bias; one is empty."""
    return (*_render_template("content_free", {}, project).splitlines(), "")


def _render_template(name: str, values: Mapping[str, Any], project: Project | None) -> str:
    return render_file(_template_file(name, project), values)


def _template_file(name: str, project: Project | None) -> Path:
    own = project.find_template("answers", name) if project else None
    return own or LIBRARY / "templates" / "answers" / f"{name}.j2"
