"""Names and values in a pipeline. Expressions are compiled once, when the file is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

from jinja2 import Environment, TemplateSyntaxError, nodes

from promptkit.answers.base import AnswerType
from promptkit.answers.build import build_answer_type as build_answer
from promptkit.errors import InputError, Problem, nearest
from promptkit.project import Project
from promptkit.prompts.expressions import Expression
from promptkit.prompts.prompt import Example
from promptkit.prompts.sandbox import GLOBALS
from promptkit.prompts.template_loader import pack
from promptkit.storage.models import Problems

STEPS, INDEX, PREVIOUS, ROUND, RESULT = "steps", "index", "previous", "round", "result"
"""Names that expressions have beside inputs and steps."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEYWORDS = frozenset({"and", "else", "false", "if", "import", "in", "is", "none", "not", "or", "true"})

Scope = Mapping[str, Any]
Key = str | int


class Located(Protocol):
    """Anything that can place a problem: a document, a prompt's front matter, the `--set` options of a step."""

    def problem(self, path: Sequence[Key], message: str, hint: str | None = None) -> Problem: ...


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a YAML file, from which the problems with a value and its parts get theirs."""

    source: Located
    path: tuple[Key, ...] = ()

    def below(self, *keys: Key) -> Location:
        """Return the location of a part of the value."""
        return Location(self.source, (*self.path, *keys))

    def problem(self, path: Sequence[Key], message: str, hint: str | None = None) -> Problem:
        """Return a problem with the part of the value at `path`."""
        return self.source.problem((*self.path, *path), message, hint)


class ItemResults(list[Any]):
    """The results of a `for_each`, one for each item, in order. `pairs` is the list of [item, result]."""

    __slots__ = ("_items",)

    def __init__(self, results: Collection[Any], items: Collection[Any]) -> None:
        super().__init__(results)
        self._items = items

    @property
    def pairs(self) -> list[list[Any]]:
        return [[item, result] for item, result in zip(self._items, self, strict=True)]


class Unplaced:
    """A source of values that are in no file."""

    def problem(self, path: Sequence[Key], message: str, hint: str | None = None) -> Problem:
        """Return a problem without a place."""
        return Problem(message, hint=hint)


@dataclass(frozen=True, slots=True)
class CompiledText:
    """A string with an expression. `place` is a Problem without a message.

    `names` are its free variables, `statuses` the steps that it reads as `steps.NAME`, `attributes` the pairs that it
    reads as `NAME.ATTRIBUTE`.
    """

    names: frozenset[str]
    statuses: frozenset[str]
    attributes: frozenset[tuple[str, str]]
    place: Problem


@dataclass(frozen=True, slots=True)
class CompiledValue:
    """A YAML value, its strings compiled. `names`, `statuses` and `texts` cover all its strings with an expression."""

    names: frozenset[str]
    statuses: frozenset[str]
    evaluate: Callable[[Scope, Collection[str]], Any]
    """Takes a scope, and its names that have no result. A part that fails because of such a name is null.

    Raises InputError at the part's place.
    """
    texts: tuple[CompiledText, ...] = ()
    is_text: bool = False

    @property
    def attributes(self) -> frozenset[tuple[str, str]]:
        """The pairs that a single string reads as `NAME.ATTRIBUTE`; none for a list or a mapping."""
        return self.texts[0].attributes if self.is_text else frozenset()


def constant(value: Any) -> CompiledValue:
    """Return a value without expressions."""
    return CompiledValue(frozenset(), frozenset(), lambda scope, absent: value)


def result_of(step: str) -> CompiledValue:
    """Return the value that is a step's result."""
    return CompiledValue(frozenset({step}), frozenset(), lambda scope, absent: scope[step])


def compile_value(value: Any, location: Location, problems: Problems, *, bare: bool = False) -> CompiledValue:
    """Compile a YAML value. With `bare`, a string is one expression, with or without braces.

    Broken expressions are reported in `problems` and evaluate to null.
    """
    if isinstance(value, str):
        return _compile_text(value, location, problems, bare=bare)
    if not isinstance(value, Mapping | list):
        return constant(value)
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    parts: dict[Key, CompiledValue] = {key: compile_value(part, location.below(key), problems) for key, part in items}
    names = frozenset[str]().union(*(part.names for part in parts.values()))
    statuses = frozenset[str]().union(*(part.statuses for part in parts.values()))
    texts = tuple(text for part in parts.values() for text in part.texts)
    if isinstance(value, Mapping):
        return CompiledValue(
            names,
            statuses,
            lambda scope, absent: {key: part.evaluate(scope, absent) for key, part in parts.items()},
            texts,
        )
    listed = list(parts.values())
    return CompiledValue(
        names, statuses, lambda scope, absent: [part.evaluate(scope, absent) for part in listed], texts
    )


def _compile_text(text: str, location: Location, problems: Problems, *, bare: bool) -> CompiledValue:
    if not bare and "{" not in text:
        return constant(text)
    place = location.problem((), "")
    try:
        expression = Expression.parse(text, bare=bare)
    except InputError as error:
        problems.add(with_place(error, place).problems)
        return constant(None)
    names = expression.names - GLOBALS - {STEPS}

    def evaluate(scope: Scope, absent: Collection[str]) -> Any:
        try:
            return expression.evaluate(scope)
        except InputError as error:
            if names.isdisjoint(absent):
                raise with_place(error, place) from None
            return None

    statuses = read_statuses(text, bare=bare)
    compiled = CompiledText(names, statuses, read_attributes(text, bare=bare), place)
    return CompiledValue(names, statuses, evaluate, (compiled,), is_text=True)


def with_place(error: InputError, place: Problem) -> InputError:
    """Return the error, with `place` for each of its problems that has none."""
    return InputError(
        problem if problem.file else replace(problem, file=place.file, line=place.line, column=place.column)
        for problem in error.problems
    )


@cache
def _parser() -> Environment:
    return Environment()


def read_statuses(text: str, *, bare: bool = False) -> frozenset[str]:
    """Return the step names that a text reads as `steps.NAME` or `steps["NAME"]`."""
    if STEPS not in text:
        return frozenset()
    try:
        tree = _parser().parse(text if "{{" in text or not bare else f"{{{{ {text} }}}}")
    except TemplateSyntaxError:
        return frozenset()
    found: set[str] = set()
    for attribute in tree.find_all(nodes.Getattr):
        if _is_steps(attribute.node):
            found.add(attribute.attr)
    for item in tree.find_all(nodes.Getitem):
        if _is_steps(item.node) and isinstance(item.arg, nodes.Const):
            found.add(str(item.arg.value))
    return frozenset(found)


def read_attributes(text: str, *, bare: bool = False) -> frozenset[tuple[str, str]]:
    """Return the pairs that a text reads as `NAME.ATTRIBUTE` or `NAME["ATTRIBUTE"]`."""
    if "." not in text and "[" not in text:
        return frozenset()
    try:
        tree = _parser().parse(text if "{{" in text or not bare else f"{{{{ {text} }}}}")
    except TemplateSyntaxError:
        return frozenset()
    reads: list[nodes.Getattr | nodes.Getitem] = [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]
    return frozenset(
        (read.node.name, attribute)
        for read in reads
        if isinstance(read.node, nodes.Name) and (attribute := _attribute(read)) is not None
    )


def _attribute(read: nodes.Getattr | nodes.Getitem) -> str | None:
    """Return the name of an attribute that is read by `.` or as a constant in brackets."""
    if isinstance(read, nodes.Getattr):
        return read.attr
    return read.arg.value if isinstance(read.arg, nodes.Const) and isinstance(read.arg.value, str) else None


def missing_in_lists(text: CompiledText, lists: Collection[str]) -> list[Problem]:
    """Return a problem for each attribute that a text reads of a `for_each` step (`lists`) and that a list lacks."""
    return [
        text_problem(
            text, f"there is no `{attribute}` in `{name}`, the list of a `for_each`", nearest(attribute, ["pairs"])
        )
        for name, attribute in sorted(text.attributes)
        if name in text.names and name in lists and not hasattr(ItemResults, attribute)
    ]


def text_problem(text: CompiledText, message: str, hint: str | None) -> Problem:
    """Return a problem with a compiled text. The place of a `--set` option is the start of its message."""
    return replace(text.place, message=f"{text.place.message}{message}", hint=hint)


def _is_steps(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == STEPS


ScopePath = tuple[str, ...]

MAX_CACHED_TYPES = 1_000
_PATH = re.compile(r"\s*\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}\}\s*")


class RowAnswer:
    """An answer type with expressions. Rows that give these the same values share one built type.

    `sources` maps each input of the prompt to the path in the scope that fills it. For an example, the example's input
    replaces the value at that path.
    """

    def __init__(self, value: CompiledValue, sources: Mapping[str, ScopePath], project: Project | None = None) -> None:
        self._value = value
        self._sources = sources
        self._project = project
        self._reads = (*sorted(value.names), STEPS)
        self._kept: dict[bytes, AnswerType] = {}

    def of_row(self, scope: Scope, absent: Collection[str] = ()) -> AnswerType:
        """Return the type of the row's answer. Raises InputError."""
        key = pack([scope.get(name, ...) for name in self._reads])
        found = None if key is None else self._kept.get(key)
        if found is None:
            found = build_answer(self._value.evaluate(scope, absent), self._project)
            if key is not None:
                if len(self._kept) >= MAX_CACHED_TYPES:
                    self._kept.clear()
                self._kept[key] = found
        return found

    def of_example(self, example: Example, scope: Scope, absent: Collection[str] = ()) -> AnswerType:
        """Return the type of an example's answer. Raises InputError."""
        example_scope = dict(scope)
        for name, path in self._sources.items():
            if name in example.inputs:
                _set_path(example_scope, path, example.inputs[name])
        return self.of_row(example_scope, absent)

    def fixed(self, example: Example) -> AnswerType | None:
        """Return the type of an example's answer where it is the same for all rows, else None."""
        try:
            return self.of_example(example, {})
        except InputError:
            return None


def path_of_argument(argument: Any) -> ScopePath | None:
    """Return the scope path of an argument that is a name or a part of one (`{{ row.options }}`), else None."""
    found = _PATH.fullmatch(argument) if isinstance(argument, str) else None
    return tuple(found.group(1).split(".")) if found else None


def _set_path(scope: dict[str, Any], path: ScopePath, value: Any) -> None:
    """Set the value at a path of a scope. The mappings on the way are copied, not changed."""
    for key in path[:-1]:
        below = scope.get(key)
        scope[key] = dict(below) if isinstance(below, Mapping) else {}
        scope = scope[key]
    scope[path[-1]] = value
