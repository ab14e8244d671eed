"""Names and values in a pipeline. Expressions are compiled once, when the file is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

from promptkit.answers.base import AnswerType
from promptkit.answers.build import build_answer_type as build_answer
from promptkit.errors import InputError, Problem, nearest
from promptkit.prompts.expressions import Expression
from promptkit.prompts.prompt import Example
from promptkit.prompts.sandbox import GLOBALS
from promptkit.prompts.template_loader import pack
from promptkit.storage.models import Problems

STEPS = "steps"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEYWORDS = frozenset({"and", "else", "false", "if", "import", "in", "is", "none", "not", "or", "true"})

Scope = Mapping[str, Any]
Key = str | int
Locate = Callable[[Sequence[Key]], Problem]


class ItemResults(list[Any]):
    """The results of a `for_each`, one for each item, in order; `pairs` is the list of [item, result]."""

    __slots__ = ("_items",)

    def __init__(self, results: Collection[Any], items: Collection[Any]) -> None:
        super().__init__(results)
        self._items = items

    @property
    def pairs(self) -> list[list[Any]]:
        return [[item, result] for item, result in zip(self._items, self, strict=True)]


@dataclass(frozen=True, slots=True)
class CompiledValue:
    """A YAML value whose every string is an expression or a text, compiled.

    `names` are its free variables, `statuses` the steps that it reads as `steps.NAME`.
    """

    names: frozenset[str]
    statuses: frozenset[str]
    evaluate: Callable[[Scope, Collection[str]], Any]
    """Take a scope and the names in it that have no result: a part that fails for want of one of them is null.

    Raises InputError at the part's place.
    """
    attributes: frozenset[tuple[str, str]] = frozenset()
    """What a compiled string reads as `NAME.ATTRIBUTE`."""


Inspect = Callable[[CompiledValue, Problem], None]


def constant(value: Any) -> CompiledValue:
    """Return a value without expressions."""
    return CompiledValue(frozenset(), frozenset(), lambda scope, absent: value)


def result_of(step: str) -> CompiledValue:
    """Return the value that is a step's result."""
    return CompiledValue(frozenset({step}), frozenset(), lambda scope, absent: scope[step])


def compile_value(value: Any, locate: Locate, *, bare: bool = False, inspect: Inspect | None = None) -> CompiledValue:
    """Compile a YAML value; with `bare`, a string is one expression with or without braces.

    `locate` gives the place of a part by its path; `inspect` gets each compiled string with its place. Raises
    InputError with everything that is wrong.
    """
    if isinstance(value, str):
        return _compile_text(value, locate, bare=bare, inspect=inspect)
    if not isinstance(value, Mapping | list):
        return constant(value)
    problems = Problems()
    parts: dict[Key, CompiledValue] = {}
    for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
        with problems.gather():
            parts[key] = compile_value(part, _under(locate, key), inspect=inspect)
    problems.check()
    names = frozenset[str]().union(*(part.names for part in parts.values()))
    statuses = frozenset[str]().union(*(part.statuses for part in parts.values()))
    if isinstance(value, Mapping):
        return CompiledValue(
            names,
            statuses,
            lambda scope, absent: {key: part.evaluate(scope, absent) for key, part in parts.items()},
        )
    listed = list(parts.values())
    return CompiledValue(names, statuses, lambda scope, absent: [part.evaluate(scope, absent) for part in listed])


def _compile_text(text: str, locate: Locate, *, bare: bool, inspect: Inspect | None) -> CompiledValue:
    if not bare and "{" not in text:
        return constant(text)
    try:
        expression = Expression.parse(text, bare=bare)
    except InputError as error:
        raise with_place(error, locate(())) from None
    names = expression.names - GLOBALS - {STEPS}

    def evaluate(scope: Scope, absent: Collection[str]) -> Any:
        try:
            return expression.evaluate(scope)
        except InputError as error:
            if names.isdisjoint(absent):
                raise with_place(error, locate(())) from None
            return None

    value = CompiledValue(names, read_statuses(text, bare=bare), evaluate, read_attributes(text, bare=bare))
    if inspect:
        inspect(value, locate(()))
    return value


def with_place(error: InputError, place: Problem) -> InputError:
    """Return the error with `place` for each of its problems that has none."""
    return InputError(
        problem if problem.file else replace(problem, file=place.file, line=place.line, column=place.column)
        for problem in error.problems
    )


def _under(locate: Locate, key: Key) -> Locate:
    return lambda path: locate((key, *path))


@cache
def _parser() -> Environment:
    return Environment()


def read_statuses(text: str, *, bare: bool = False) -> frozenset[str]:
    """Return the NAMEs that a text reads as `steps.NAME` or `steps["NAME"]`."""
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
    """Return what a text reads as `NAME.ATTRIBUTE`."""
    if "." not in text:
        return frozenset()
    try:
        tree = _parser().parse(text if "{{" in text or not bare else f"{{{{ {text} }}}}")
    except TemplateSyntaxError:
        return frozenset()
    found = tree.find_all(nodes.Getattr)
    return frozenset((read.node.name, read.attr) for read in found if isinstance(read.node, nodes.Name))


def missing_in_lists(value: CompiledValue, lists: Collection[str], place: Problem) -> list[Problem]:
    """Return what a value reads of the results of a `for_each` (`lists`), which are a list, that a list lacks."""
    return [
        Problem(
            f"{place.message}there is no `{attribute}` in `{name}`, the list of a `for_each`",
            place.file,
            place.line,
            place.column,
            nearest(attribute, ["pairs"]),
        )
        for name, attribute in sorted(value.attributes)
        if name in value.names and name in lists and not hasattr(ItemResults, attribute)
    ]


def _is_steps(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == STEPS


ScopePath = tuple[str, ...]

MAX_CACHED_TYPES = 1_000
_PATH = re.compile(r"\s*\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}\}\s*")


class RowAnswer:
    """An answer type with expressions, built once for all that give them the same values.

    `sources` say for each input of the prompt where in the scope it comes from: there an example's input stands
    instead of the row's.
    """

    def __init__(self, value: CompiledValue, sources: Mapping[str, ScopePath]) -> None:
        self._value = value
        self._sources = sources
        self._reads = (*sorted(value.names), STEPS)
        self._kept: dict[bytes, AnswerType] = {}

    def of_row(self, scope: Scope, absent: Collection[str] = ()) -> AnswerType:
        """Return the type of the row's answer. Raises InputError."""
        key = pack([scope.get(name, ...) for name in self._reads])
        found = None if key is None else self._kept.get(key)
        if found is None:
            found = build_answer(self._value.evaluate(scope, absent))
            if key is not None:
                if len(self._kept) >= MAX_CACHED_TYPES:
                    self._kept.clear()
                self._kept[key] = found
        return found

    def of_example(self, example: Example, scope: Scope, absent: Collection[str] = ()) -> AnswerType:
        """Return the type of an example's answer. Raises InputError."""
        own = dict(scope)
        for name, path in self._sources.items():
            if name in example.inputs:
                _set_path(own, path, example.inputs[name])
        return self.of_row(own, absent)

    def fixed(self, example: Example) -> AnswerType | None:
        """Return the type of an example's answer where it is the same for all rows."""
        try:
            return self.of_example(example, {})
        except InputError:
            return None


def path_of_argument(argument: Any) -> ScopePath | None:
    """Return where in the scope an argument comes from, where it is a name or a part of one: `{{ row.options }}`."""
    found = _PATH.fullmatch(argument) if isinstance(argument, str) else None
    return tuple(found.group(1).split(".")) if found else None


def _set_path(scope: dict[str, Any], path: ScopePath, value: Any) -> None:
    """Put a value at a path of a scope, whose parts are copied and not changed."""
    for key in path[:-1]:
        below = scope.get(key)
        scope[key] = dict(below) if isinstance(below, Mapping) else {}
        scope = scope[key]
    scope[path[-1]] = value
