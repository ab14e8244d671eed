"""From `answer:` of a file to an answer type, and from the type to the instruction that a model reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType, quoted
from promptkit.answers.boolean import Boolean
from promptkit.answers.choice import Choice
from promptkit.answers.code import Code
from promptkit.answers.constraints.forms import Writing
from promptkit.answers.json_value import Json
from promptkit.answers.labels import Label, Labels
from promptkit.answers.lists import JsonList, ListOf, read_flag
from promptkit.answers.number import Number
from promptkit.answers.spans import Spans
from promptkit.answers.text import Text
from promptkit.errors import InputError, nearest
from promptkit.project import LIBRARY, Project
from promptkit.project_code.entry_points import check_subclass, load_entry_point, load_entry_points
from promptkit.project_code.reference import guarded
from promptkit.prompts.template_loader import render_file

ENTRY_POINT_GROUP = "promptkit.answer_types"

_ITEM_TYPES = ("text", "label", "number", "boolean", "json")


def build_answer_type(spec: Any, project: Project | None = None) -> AnswerType:
    """Return the answer type of a spec: a name, or a mapping of one name to its options.

    Without a `project` only shipped types are known. Raises InputError with everything that is wrong.
    """
    name, options = _split(spec)
    maker = _MAKERS.get(name)
    if maker is not None:
        return maker(options)
    installed = installed_answer_type(name, project) if project else None
    if installed is None:
        raise InputError(f"no answer type `{name}`", hint=nearest(name, answer_type_names(project)))
    return _make_installed(installed, name, options)


def check_answer_type(spec: Any, project: Project | None = None) -> list[str]:
    """Return the problems of a spec that may hold expressions, whose values are not known yet."""
    try:
        name, options = _split(spec)
        if not _holds_expression(options):
            build_answer_type(spec, project)
            return []
        if name not in _MAKERS and not (project and installed_answer_type(name, project)):
            raise InputError(f"no answer type `{name}`", hint=nearest(name, answer_type_names(project)))
    except InputError as error:
        return [f"{problem.message}" + (f"; {problem.hint}" if problem.hint else "") for problem in error.problems]
    return list(_unknown_keys(name, options))


def answer_type_names(project: Project | None = None) -> list[str]:
    """Return the names of the shipped answer types and of those of installed packages."""
    installed = load_entry_points(ENTRY_POINT_GROUP, project.root) if project else {}
    return sorted({*_MAKERS, *installed})


def installed_answer_type(name: str, project: Project) -> type[AnswerType] | None:
    """Return the answer type of that name from an installed package's entry point, None where there is none.

    Raises InputError where it cannot be loaded or is not an answer type of that name.
    """
    return None if name in _MAKERS else _load_answer_type(name, project.root)


@lru_cache(maxsize=200)
def _load_answer_type(name: str, root: Path) -> type[AnswerType] | None:
    entry = load_entry_points(ENTRY_POINT_GROUP, root).get(name)
    return load_entry_point(entry, "answer type", lambda found: _checked(found, name)) if entry else None


def _checked(found: Any, name: str) -> type[AnswerType]:
    """Return a package's answer type. Raises TypeError for one of another name, or without an instruction."""
    kind: type[AnswerType] = check_subclass(found, AnswerType)  # type: ignore[type-abstract]
    if getattr(kind, "name", None) != name:
        raise TypeError(f'`{kind.__name__}` must have `name = "{name}"`')
    if not (template := template_beside(kind)).is_file():
        raise TypeError(f"there is no {template}, the template of its instruction")
    return kind


def _make_installed(kind: type[AnswerType], name: str, options: Any) -> AnswerType:
    """Return a package's answer type with these options. Raises InputError for any exception of its code."""
    with guarded(lambda raised: InputError(f"answer type `{name}` {raised}"), passing=(InputError,)):
        return kind(options)  # type: ignore[call-arg]


def _split(spec: Any) -> tuple[str, Any]:
    """Return the name of a spec and its options. Raises InputError."""
    if isinstance(spec, Mapping) and len(spec) == 1:
        name, options = next(iter(spec.items()))
        return str(name), options
    if isinstance(spec, str):
        return spec, None
    raise InputError(f"an answer type is a name, or one name with its options, not {quoted(str(spec))}")


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
    """Yield the problems of options that do not depend on the values of expressions."""
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


def instruction(answer_type: AnswerType, writing: Writing = "plain", *, project: Project | None = None) -> str:
    """Return the words on how to write an answer, for the section `output_format`; empty for text."""
    return "\n".join(filter(None, (_words(answer_type, writing, project), json_instruction(writing, project=project))))


def thoughts_instruction(*, project: Project | None = None) -> str:
    """Return the words that keep a prompt's own `output_format` from the thoughts before the answer."""
    return _render_template("thoughts", _shipped("thoughts"), {}, project)


def description(answer_type: AnswerType, *, project: Project | None = None) -> str:
    """Return the words on what an answer of a type is, without an order to write it; empty for text."""
    return _words(answer_type, "object", project)


def _words(answer_type: AnswerType, writing: Writing, project: Project | None) -> str:
    values = {"name": answer_type.name, "writing": writing, **answer_type.description()}
    shipped = _shipped(answer_type.name)
    otherwise = shipped if shipped.is_file() else template_beside(type(answer_type))
    return _render_template(answer_type.name, otherwise, values, project).strip()


def json_instruction(writing: Writing, *, project: Project | None = None) -> str:
    """Return the words that ask for an answer in JSON, whatever its type; empty for plain writing."""
    if writing == "plain":
        return ""
    return _render_template("form", _shipped("form"), {}, project)


def repair_message(
    answer_type: AnswerType, problem: str, writing: Writing = "plain", *, project: Project | None = None
) -> str:
    """Return the message to a model whose answer could not be read or failed a guard."""
    return _repair_message(problem, instruction(answer_type, writing, project=project), project)


def aside_repair_message(problem: str, *, project: Project | None = None) -> str:
    """Return the message to a model whose reply a technique could not read."""
    return _repair_message(problem, "", project, is_aside=True)


def _repair_message(problem: str, instructed: str, project: Project | None, *, is_aside: bool = False) -> str:
    values = {"problem": problem, "instruction": instructed, "is_aside": is_aside}
    return _render_template("repair", _shipped("repair"), values, project)


def template_beside(answer_type: type[AnswerType]) -> Path:
    """Return the template of an installed type's instruction: `NAME.j2` beside its Python file."""
    return Path(inspect.getfile(answer_type)).with_name(f"{answer_type.name}.j2")


def _shipped(name: str) -> Path:
    return LIBRARY / "templates" / "answers" / f"{name}.j2"


def _render_template(name: str, otherwise: Path, values: Mapping[str, Any], project: Project | None) -> str:
    """Render the project's own template of that name, or the one at `otherwise`."""
    overriding = project.find_template("answers", name) if project else None
    return render_file(overriding or otherwise, values)
