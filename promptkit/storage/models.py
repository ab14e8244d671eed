"""Reads plain values into pydantic models, each error at its line and column."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from promptkit.errors import InputError, Problem, nearest
from promptkit.storage.yaml import Document, Key

Model = TypeVar("Model", bound=BaseModel)


class Problems:
    """Problems gathered from several parts, raised together."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, problem: Problem | Iterable[Problem]) -> None:
        """Add one problem, or several."""
        self.found.extend([problem] if isinstance(problem, Problem) else problem)

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Take the problems of an InputError raised inside, and go on after the block."""
        try:
            yield
        except InputError as error:
            self.add(error.problems)

    def check(self) -> None:
        """Raise InputError with all problems, in file order, each once."""
        unique = dict.fromkeys(self.found)
        if unique:
            raise InputError(
                sorted(unique, key=lambda problem: (problem.file or "", problem.line or 0, problem.column or 0))
            )


def read_model(document: Document, model: type[Model], *, at: Sequence[Key] = ()) -> Model:
    """Return the value at the path `at` as a `model`. Raises InputError with every problem at its place.

    An empty file counts as an empty mapping, so that one with nothing but comments is valid where all is optional.
    """
    value = document.get(at)
    try:
        return model.model_validate({} if value is None and not at else value)
    except ValidationError as error:
        problems = _problems(document, model, at, error)
    problems.check()
    raise AssertionError("pydantic found an error and named none")


def read_rest(document: Document, model: type[Model], problems: Problems, *, at: Sequence[Key] = ()) -> Model | None:
    """Return the valid keys of the value at the path `at` as a `model`; others go into `problems`.

    So one mistake does not hide another. None where too little is left.
    """
    value = document.get(at)
    value = {} if value is None and not at else value
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems.add(_problems(document, model, at, error).found)
        wrong = {str(detail["loc"][0]) for detail in error.errors(include_url=False) if detail["loc"]}
    if not isinstance(value, Mapping) or not wrong & value.keys():
        return None
    try:
        return model.model_validate({key: part for key, part in value.items() if key not in wrong})
    except ValidationError:
        return None


def _problems(document: Document, model: type[BaseModel], at: Sequence[Key], error: ValidationError) -> Problems:
    details = error.errors(include_url=False)
    problems = Problems()
    expected: dict[tuple[Key, ...], list[str]] = {}
    for detail in details:
        path = _existing(document, at, detail["loc"])
        if detail["type"] in _EXPECTED:
            # Each branch of a union reports an error; together they are one problem.
            expected.setdefault(path, []).append(_EXPECTED[detail["type"]])
        else:
            problems.add(_problem(document, model, at, path, detail))
    for path, kinds in expected.items():
        kinds_text = " or ".join(dict.fromkeys(kinds))
        problems.add(document.problem(path, f"{_name(path)}must be {kinds_text}, not {_shown(document.get(path))}"))
    return problems


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "empty",
}


def _problem(
    document: Document, model: type[BaseModel], at: Sequence[Key], path: tuple[Key, ...], detail: Mapping[str, Any]
) -> Problem:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden" and path:
        hint = nearest(str(path[-1]), _fields(model, path[len(at) : -1]))
        return document.problem(path, f"unknown key `{path[-1]}`", hint, key=True)
    if kind == "missing":
        return document.problem(path, f"`{detail['loc'][-1]}` is missing", key=True)
    if kind == "literal_error":
        hint = nearest(given, _quoted(context["expected"])) if isinstance(given, str) else None
        return document.problem(path, f"{_name(path)}must be {context['expected']}, not {_shown(given)}", hint)
    return document.problem(path, _name(path) + schema_error_text(detail))


def schema_error_text(detail: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors in promptkit's words, without the name of the value."""
    context = detail.get("ctx", {})
    if "error" in context:
        return str(context["error"])
    if detail["type"] == "too_short" and not detail["input"]:
        return "must not be empty"
    expected = _EXPECTED.get(detail["type"]) or context.get("expected")
    if expected is None:
        expected = detail["msg"].removeprefix("Input ").removeprefix("should ").removeprefix("be ")
    return f"must be {expected}, not {_shown(detail['input'])}"


def _name(path: Sequence[Key]) -> str:
    """Return the last key of a path as the beginning of a message."""
    return next((f"`{key}`: " for key in reversed(path) if isinstance(key, str)), "")


def _quoted(text: str) -> list[str]:
    """Return the words in single quotes."""
    return text.split("'")[1::2]


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text[:60]}`"


def _existing(document: Document, at: Sequence[Key], location: tuple[Key, ...]) -> tuple[Key, ...]:
    """Return the path of an error's location, without the names of union branches, which are not keys."""
    node, path = document.node(at), tuple(at)
    for key in location:
        if key in node.children:
            node, path = node.children[key], (*path, key)
    return path


def _fields(annotation: Any, path: Sequence[Key]) -> set[str]:
    """Return the keys that may stand at `path` below a value of type `annotation`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _fields(arguments[0], path)
    if origin in (Union, types.UnionType):
        return set().union(*(_fields(argument, path) for argument in arguments))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        known = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        if not path:
            return set(known)
        return _fields(known[str(path[0])], path[1:]) if path[0] in known else set()
    if path and arguments:
        return _fields(arguments[-1], path[1:])
    return set()
