"""The declaration of a project's technique, read from the syntax tree of its file without running that."""

from __future__ import annotations

import ast
import builtins
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from promptkit.errors import InputError, Problem, place
from promptkit.project_code.source import bound_names, constants_of, functions_of, literal_value, parse_source
from promptkit.techniques import parameters
from promptkit.techniques.context import Spec

DECORATOR = "technique"
_DECORATOR_ARGUMENTS = ("needs", "roles", "calls", "requests", "sampling")
_ANNOTATION_TYPES: Mapping[str, Any] = {
    **{name: kind for name, kind in vars(builtins).items() if isinstance(kind, type)},
    **{name: getattr(typing, name) for name in typing.__all__},
    **{name: kind for name, kind in vars(parameters).items() if not name.startswith("_")},
    "Sequence": Sequence,
    "Mapping": Mapping,
    "Spec": Spec,
}
"""The types that an annotation may name; a step's value is checked by them."""
_TYPE_MODULES = ("typing", "typing_extensions", "collections.abc", "promptkit.techniques")
"""The modules that these types are imported from; a type from elsewhere is not checked."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A technique as its file declares it. `arguments` are those of `@technique(…)`, without `prepare`.

    `function` and `prepare` have the parameters and the docstring of those in the file, but cannot be called.
    """

    arguments: Mapping[str, Any]
    function: Callable[..., Any]
    prepare: Callable[..., Any] | None


def read_declaration(name: str, file: Path) -> Declaration:
    """Read the technique `name` from a file without running it. Raises InputError with the line."""
    try:
        return _DeclarationReader(name, file).read()
    except RecursionError:
        raise InputError(Problem(f"technique `{name}` is nested too deeply to be read", place(file))) from None


def argument_line(name: str, file: Path, argument: str) -> int | None:
    """Return the line of an argument of `@technique(…)` in a file that `read_declaration` reads."""
    function = functions_of(parse_source(file)).get(name)
    decorators = function.decorator_list if function is not None else []
    calls = (call for decorator in decorators for call in _as_call(DECORATOR, decorator))
    keywords = (keyword for call in calls for keyword in call.keywords)
    return next((keyword.value.lineno for keyword in keywords if keyword.arg == argument), None)


class _DeclarationReader:
    def __init__(self, name: str, file: Path) -> None:
        self._name = name
        self._file = file
        try:
            self._tree = parse_source(file)
        except InputError as error:
            raise self._wrong(error.problems[0].message, error.problems[0].line) from None
        self._functions = functions_of(self._tree)
        self._constants = constants_of(self._tree)
        self._bound = bound_names(self._tree)
        imports = [node for node in ast.walk(self._tree) if isinstance(node, ast.ImportFrom)]
        known = {alias.asname or alias.name for node in imports if node.module in _TYPE_MODULES for alias in node.names}
        self._types = {
            name: kind for name, kind in _ANNOTATION_TYPES.items() if name in known or name not in self._bound
        }

    def read(self) -> Declaration:
        function = self._functions.get(self._name)
        decorators = function.decorator_list if function is not None else []
        decorator = next((call for expression in decorators for call in _as_call(DECORATOR, expression)), None)
        if function is None or decorator is None:
            raise self._wrong(f"there is no `@technique()` function named `{self._name}`")
        arguments: dict[str, Any] = {}
        prepare = None
        for keyword in decorator.keywords:
            if keyword.arg == "prepare":
                prepare = self._preparation(keyword.value)
            elif keyword.arg in _DECORATOR_ARGUMENTS:
                arguments[keyword.arg] = self._plain(keyword.value, f"`{keyword.arg}` of `@technique()`")
            else:
                raise self._wrong(f"`@technique()` does not take `{keyword.arg or '**'}`", keyword.value.lineno)
        return Declaration(arguments, self._stub(function, ("task",)), prepare)

    def _preparation(self, value: ast.expr) -> Callable[..., Any] | None:
        if isinstance(value, ast.Constant) and value.value is None:
            return None
        function = self._functions.get(value.id) if isinstance(value, ast.Name) else None
        if function is None:
            raise self._wrong("`prepare` of `@technique()` must name a function of this file", value.lineno)
        return self._stub(function, ("task", "rows"))

    def _stub(self, node: ast.FunctionDef | ast.AsyncFunctionDef, first: tuple[str, ...]) -> Callable[..., Any]:
        """Return a function of the shape of one in the file. Raises InputError where that is not a technique's."""
        shown = f"technique `{node.name}`"
        if not isinstance(node, ast.AsyncFunctionDef):
            raise self._wrong(f"{shown} must be an `async def`", node.lineno)
        given = node.args
        keyword_only = list(zip(given.kwonlyargs, given.kw_defaults, strict=True))
        positional = tuple(argument.arg for argument in (*given.posonlyargs, *given.args))
        if positional[: len(first)] != first:
            raise self._wrong(f"{shown} must take {' and '.join(first)} first", node.lineno)
        others = [*positional[len(first) :], *(argument.arg for argument in (given.vararg, given.kwarg) if argument)]
        others += [argument.arg for argument, value in keyword_only if value is None]
        if others:
            raise self._wrong(f"`{others[0]}` of {shown} must be keyword-only with a default", node.lineno)
        found = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in first]
        for argument, value in keyword_only:
            assert value is not None, "arguments without a default were refused"
            default = self._plain(value, f"the default of `{argument.arg}`")
            annotation = inspect.Parameter.empty if argument.annotation is None else self._type(argument.annotation)
            kind = inspect.Parameter.KEYWORD_ONLY
            found.append(inspect.Parameter(argument.arg, kind, default=default, annotation=annotation))

        async def stub(task: Any, *_: Any) -> Any:
            raise AssertionError("a declaration is not called")

        stub.__name__ = node.name
        stub.__doc__ = ast.get_docstring(node)
        stub.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]
        return stub

    def _plain(self, node: ast.expr, what: str) -> Any:
        try:
            return literal_value(node, self._constants)
        except ValueError as error:
            hint = "it is read without running the file"
            raise self._wrong(f"{what} must be a plain value: {error}", node.lineno, hint) from None

    def _type(self, node: ast.expr) -> Any:
        """Return the type that an annotation names, `Any` for one that is known only by running the file."""
        match node:
            case ast.Constant(value=None):
                return None
            case ast.Constant(value=str() as text):
                try:
                    return self._type(ast.parse(text, mode="eval").body)
                except (SyntaxError, ValueError):
                    return Any
            case ast.Name(id=name):
                if name not in self._types and name not in self._bound and "*" not in self._bound:
                    raise self._wrong(f"name '{name}' is not defined", node.lineno)
                return self._types.get(name, Any)
            case ast.Attribute(attr=name):
                return _ANNOTATION_TYPES.get(name, Any)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return typing.Union[self._type(left), self._type(right)]  # noqa: UP007
            case ast.Subscript(value=base, slice=inner):
                return self._generic(self._type(base), inner)
        return Any

    def _generic(self, base: Any, inner: ast.expr) -> Any:
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        try:
            if base is typing.Annotated:
                bounds = [self._bounds(call) for part in parts[1:] for call in _as_call("Field", part)]
                kind = self._type(parts[0])
                return typing.Annotated[(kind, *bounds)] if bounds else kind
            if base is typing.Literal:
                return typing.Literal[tuple(literal_value(part, self._constants) for part in parts)]
            types = tuple(self._type(part) for part in parts)
            return base[types if len(types) > 1 else types[0]]
        except (TypeError, ValueError):
            return Any

    def _bounds(self, field: ast.Call) -> Any:
        """Return the bounds of an annotation as pydantic's `Field(ge=1, le=5)`."""
        return Field(
            **{keyword.arg: literal_value(keyword.value, self._constants) for keyword in field.keywords if keyword.arg}
        )

    def _wrong(self, message: str, line: int | None = None, hint: str | None = None) -> InputError:
        return InputError(
            Problem(f"technique `{self._name}` cannot be read: {message}", place(self._file), line, hint=hint)
        )


def _as_call(name: str, node: ast.expr) -> list[ast.Call]:
    """Return an expression where it calls a function of a name, by that alone or in a module; else nothing."""
    if not isinstance(node, ast.Call):
        return []
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
    return [node] if called == name else []
