"""Expressions in YAML. A string that is exactly one `{{ expression }}` keeps its type; any other string is text."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from jinja2 import Template, TemplateRuntimeError, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.parser import Parser
from jinja2.utils import Namespace

from promptkit.errors import InputError, Problem, nearest
from promptkit.prompts.limits import budget, charge, joined
from promptkit.prompts.sandbox import ENVIRONMENT, GLOBALS, guard, rendering_problem, syntax_problem

_RESULT: Final = "promptkit_result"
_ABSENT: Final = object()
_DATA: Final = frozenset({str, int, float, bool, list, dict, type(None)})
"""The types of values that are returned as they are."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression or text template. `names` are its free variables, without helpers and Jinja's own."""

    text: str
    names: frozenset[str]
    typed: bool
    _template: Template
    _builds: bool = False
    _path: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, *, bare: bool = False) -> Expression:
        """Compile a string of YAML. With `bare` (`when`, `until`, `for_each`) the braces are optional.

        Raises InputError with a Problem that has no place.
        """
        compiled = _compile(text, bare)
        if isinstance(compiled, Problem):
            raise InputError(compiled)
        return compiled

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return the value; a generator as a list. Raises InputError without a place, for example for an undefined
        name.
        """
        if self._path:
            found = _at(scope, self._path)
            if type(found) in _DATA:
                return found
        try:
            with budget():
                context = self._template.new_context(dict(scope))
                text = joined(self._template.root_render_func(context))
                return _plain(context.vars[_RESULT], self._builds) if self.typed else text
        except Exception as error:  # an expression can make Python raise anything
            raise InputError(_unplaced(rendering_problem(error, None, scope))) from error


def _unplaced(problem: Problem) -> Problem:
    return replace(problem, file=None, line=None, column=None)


@lru_cache(maxsize=5_000)
def _compile(text: str, bare: bool) -> Expression | Problem:
    """Return the compiled expression, or its problem."""
    try:
        expression = _lone_expression(text, bare)
        if expression is None:
            tree = ENVIRONMENT.parse(text)
        else:
            result = nodes.Assign(nodes.Name(_RESULT, "store", lineno=1), expression, lineno=1)
            tree = nodes.Template([result], lineno=1)
            tree.set_environment(ENVIRONMENT)
        _refuse_other(tree)
        used = frozenset(meta.find_undeclared_variables(tree)) - GLOBALS
        code = ENVIRONMENT.compile(guard(tree))
        template = ENVIRONMENT.template_class.from_code(ENVIRONMENT, code, ENVIRONMENT.globals)
    except Exception as error:  # Jinja does not catch, for example, a number too long for Python
        problem = _unplaced(syntax_problem(error, None))
        return replace(problem, hint=getattr(error, "hint", None) or problem.hint)
    path = () if expression is None else _path(expression)
    path = path if path[:1] and path[0] in used else ()
    builds = next(tree.find_all((nodes.List, nodes.Tuple, nodes.Dict, nodes.Filter)), None) is not None
    return Expression(text, used, expression is not None, template, builds, path)


def _lone_expression(text: str, bare: bool) -> nodes.Expr | None:
    """Return the expression that makes up the whole text, None where there is other text too."""
    inner = text.strip()
    if inner.startswith("{{") and inner.endswith("}}"):
        try:
            tree = ENVIRONMENT.parse(inner)
        except TemplateSyntaxError:
            return None
        match tree.body:
            case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
                return expression
        return None
    return _parse_bare(inner) if bare else None


def _path(expression: nodes.Node) -> tuple[str, ...]:
    """Return the names in `NAME.KEY.KEY`, empty for any other expression."""
    match expression:
        case nodes.Name(name=name):
            return (name,)
        case nodes.Getattr(node=inner, attr=key):
            path = _path(inner)
            return (*path, key) if path else ()
    return ()


def _at(scope: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return the value at `NAME.KEY.KEY` in mappings, _ABSENT where Jinja must look it up."""
    found: Any = scope
    for key in path:
        if type(found) is not dict or key not in found:
            return _ABSENT
        found = found[key]
    return found


def _parse_bare(text: str) -> nodes.Expr:
    """Parse an expression written without braces, as Jinja's `compile_expression` does."""
    parser = Parser(ENVIRONMENT, text, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        raise TemplateSyntaxError(f"unexpected `{parser.stream.current.value}` after the expression", 1)
    return expression


def _refuse_other(tree: nodes.Template) -> None:
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)):
        raise TemplateSyntaxError("an expression in YAML cannot use other templates or blocks", node.lineno)
    for use in tree.find_all((nodes.Filter, nodes.Test)):
        known = ENVIRONMENT.filters if isinstance(use, nodes.Filter) else ENVIRONMENT.tests
        if use.name not in known:
            kind = type(use).__name__.lower()
            raise _UnknownName(kind, use.name, [name for name in known if name.isidentifier()])


class _UnknownName(TemplateSyntaxError):
    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no {kind} `{name}`", 1)
        self.hint = nearest(name, known)


def _plain(value: Any, is_built: bool) -> Any:
    """Return an expression's value, iterators as lists. Raises for an undefined one.

    Where the expression builds a value (`is_built`), its parts are checked too.
    """
    if isinstance(value, Undefined):
        return str(value)
    if callable(value) or isinstance(value, Namespace):
        raise TemplateRuntimeError(f"a {type(value).__name__} is not a value")
    if isinstance(value, Iterator | range | KeysView | ValuesView | ItemsView):
        value = list(charge(value))
    if is_built:
        _refuse_undefined(value)
    return value


def _refuse_undefined(value: Any) -> None:
    """Raise Jinja's error for an undefined value anywhere in `value`."""
    if isinstance(value, Undefined):
        str(value)
    elif isinstance(value, Mapping):
        for part in value.values():
            _refuse_undefined(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _refuse_undefined(part)
