"""The Jinja environment: templates reach nothing outside their values, and nothing grows without bound.

Jinja's sandbox alone allows `'a' * 10**9`. Here filters, methods and operators are closed lists (`filters.py`,
`METHODS`), and everything that works on values is charged (`limits.py`); `guard` rewrites the rest of the syntax tree.
Jinja's errors become problems with file and line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from traceback import walk_tb
from typing import Any, Final

from jinja2 import (
    BaseLoader,
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateRuntimeError,
    TemplateSyntaxError,
    UndefinedError,
    nodes,
)
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from promptkit.errors import Problem, nearest
from promptkit.prompts.filters import (
    CONCATENATE,
    COUNT,
    HELPERS,
    WEIGH,
    bounded,
    format_percent,
    jinja_filters,
    jinja_tests,
    join_items,
    replace_text,
    to_text,
    word_set,
)
from promptkit.prompts.limits import MAX_BITS, LimitExceeded, charge, check_length, joined, weigh

MOST_NAMES: Final = 1_000
"""Number of names among which the nearest is searched."""

MAX_NESTING: Final = 50
"""Statements (loops, conditions, blocks) within one another. Jinja's compiler takes time by their depth, squared."""

METHODS: Final[dict[type, frozenset[str]]] = {
    str: word_set(
        "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower isnumeric "
        "isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex "
        "rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"
    ),
    dict: word_set("get items keys values"),
    list: word_set("count index"),
    tuple: word_set("count index"),
    bytes: frozenset(),
    int: frozenset(),
    float: frozenset(),
}
"""What may be called on a plain value."""

_FROM_JINJA: Final = word_set("_block_vars _loop_vars")
"""Arguments that Jinja adds to calls within blocks and loops."""

_REPLACED_METHODS: Final[dict[str, Callable[..., str]]] = {
    "join": lambda separator, items: join_items(items, separator),
    "replace": replace_text,
}


class UndefinedName(UndefinedError):
    """A variable, or a key of `owner`, that does not exist."""

    def __init__(self, message: str, *, name: str, owner: Any) -> None:
        super().__init__(message)
        self.name = name
        self.owner = owner

    def hint(self, variables: Iterable[str]) -> str | None:
        """Return the nearest key of the mapping, or the nearest of the given variables."""
        if self.owner is missing:
            known: Iterable[Any] = variables
        else:
            known = self.owner if isinstance(self.owner, Mapping) else _added(self.owner)
        return nearest(self.name, [str(name) for name in islice(known, MOST_NAMES)])


class PromptUndefined(StrictUndefined):
    """An undefined value. Any use raises UndefinedName, except in `is defined` and `default`."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] | Callable[[str], TemplateRuntimeError] = UndefinedError,
    ) -> None:
        if exc is UndefinedError:
            if hint is None:
                hint = f"`{name}` is undefined" if obj is missing else f"there is no `{name}` in this {_kind(obj)}"
            exc = partial(UndefinedName, name=str(name), owner=obj)
        super().__init__(hint, obj, name, exc)  # type: ignore[arg-type]


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {Mapping: "mapping", list: "list", str: "text", bool: "boolean", int: "number", float: "number"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), type(value).__name__)


def _added(value: Any) -> list[str]:
    """Return the attributes that a list subclass of promptkit adds to those of a list."""
    kind = type(value)
    return (
        [name for name in vars(kind) if not name.startswith("_")] if issubclass(kind, list) and kind is not list else []
    )


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox with promptkit's rules. Everything that it compiles must have passed `guard`."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    concat = staticmethod(joined)

    def __init__(self, loader: BaseLoader | None = None) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=PromptUndefined,
            finalize=_printed,
            loader=loader,
            auto_reload=False,
            extensions=["jinja2.ext.loopcontrols"],
        )
        self.filters = dict(_FILTERS)
        self.tests = dict(_TESTS)
        for name in self.globals.keys() - _TAKEN_GLOBALS:
            del self.globals[name]
        self.globals.update(_HELPERS)

    def parse(self, source: str, name: str | None = None, filename: str | None = None) -> nodes.Template:
        """Return the syntax tree of a text. Raises TemplateSyntaxError, also for too deep nesting."""
        tree = super().parse(source, name, filename)
        level: list[nodes.Node] = [tree]
        for _ in range(MAX_NESTING + 1):
            level = [inner for outer in level for inner in _statements_in(outer)]
        if level:
            raise TemplateSyntaxError("nested too deeply", level[0].lineno, name, filename)
        return tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return `obj.attribute`: a mapping's key before a Python attribute."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Refuse `str.format`, whose widths are only known once it has written them."""
        return _refuse_format if super().wrap_str_format(value) else None

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return `obj[argument]`; a slice is charged for."""
        if isinstance(argument, slice):
            charge(obj)
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow the listed methods of plain values, and public attributes of other values."""
        if isinstance(obj, type):
            return False
        kind: type = type(obj)
        is_listed = _is_listed(kind, attr)
        return super().is_safe_attribute(obj, attr, value) if is_listed is None else is_listed

    def call(self, context: Context, called: Any, /, *arguments: Any, **named: Any) -> Any:
        """Call a function, charged for its arguments and, for a method, for its object."""
        owner = getattr(called, "__self__", None)
        charge(owner)
        charged = [charge(argument) for argument in arguments]
        replacement = _REPLACED_METHODS.get(getattr(called, "__name__", "")) if isinstance(owner, str) else None
        if replacement:
            given = {name: value for name, value in named.items() if name not in _FROM_JINJA}
            return replacement(owner, *charged, **given)
        result = super().call(context, called, *charged, **named)
        return weigh(result) if isinstance(result, dict) else charge(result)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Evaluate `left operator right` where the result cannot be too large."""
        charge(left)
        charge(right)
        if operator == "%" and isinstance(left, str):
            return format_percent(left, *(right if isinstance(right, tuple) else (right,)))
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            _check_power(left, right)
        elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            check_length(len(left) + len(right))
        result = super().call_binop(context, operator, left, right)
        return weigh(result) if isinstance(result, list | tuple) else result


@lru_cache(maxsize=1_000)
def _is_listed(kind: type, attribute: str) -> bool | None:
    """Tell whether a method of plain values is listed; None for any other attribute."""
    for plain, allowed in METHODS.items():
        if issubclass(kind, plain) and hasattr(plain, attribute):
            return attribute in allowed
    return None


def _statements_in(node: nodes.Node) -> list[nodes.Node]:
    """Return the statements directly inside a node, without those that print."""
    inside = node.iter_child_nodes()
    return [child for child in inside if isinstance(child, nodes.Stmt) and not isinstance(child, nodes.Output)]


def _refuse_format(*_arguments: Any, **_named: Any) -> str:
    raise SecurityError("`format` is not allowed here; write `'%.2f' | format(number)`, or join with `~`")


def _check_product(left: Any, right: Any) -> None:
    for factor, times in ((left, right), (right, left)):
        if isinstance(factor, str | list | tuple | bytes) and isinstance(times, int):
            check_length(len(factor) * max(times, 0))
            return
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS:
        raise LimitExceeded("the product is too large a number")


def _check_power(base: Any, exponent: Any) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MAX_BITS:
        raise LimitExceeded("the power is too large a number")


def _printed(value: Any) -> str:
    written = to_text(value)
    charge(written)
    return written


_FILTERS: Final = jinja_filters()
_TESTS: Final = jinja_tests()
_HELPERS: Final = {name: bounded(helper) for name, helper in HELPERS.items()}
_TAKEN_GLOBALS: Final = word_set("range dict namespace")


class _Guard(NodeTransformer):
    """Adds a charge where Jinja offers no hook."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, COUNT)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), CONCATENATE)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filtered(node.expr, COUNT)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, COUNT)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, WEIGH) if node.items else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, WEIGH) if node.items else node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, WEIGH) if node.ctx == "load" and node.items else node


def _filtered(node: nodes.Node, name: str) -> nodes.Expr:
    assert isinstance(node, nodes.Expr)
    if isinstance(node, nodes.Const):
        return node
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def guard(tree: nodes.Template) -> nodes.Template:
    """Add charges around loops, comparisons, `~` and literals to a syntax tree, in place, and return it."""
    guarded = _Guard().visit(tree)
    assert isinstance(guarded, nodes.Template)
    return guarded


ENVIRONMENT: Final = PromptEnvironment()
"""For parsing, and for templates that load no others."""

GLOBALS: Final = frozenset(ENVIRONMENT.globals)
"""Names that no input or step can have."""


_ENDS = frozenset({"endblock", "endcall", "endfilter", "endfor", "endif", "endmacro", "endwith"})


def syntax_problem(error: Exception, file: str | None) -> Problem:
    """Return the problem of a text that is not a template."""
    if isinstance(error, TemplateSyntaxError):
        return _unclosed(error, file) or Problem(_sentence(error.message or "broken"), file, error.lineno)
    if isinstance(error, RecursionError | MemoryError):
        return Problem("nested too deeply", file)
    return Problem(f"not a template: {_sentence(str(error))}", file)


def _unclosed(error: TemplateSyntaxError, file: str | None) -> Problem | None:
    """Return the problem of braces or a tag without an end, None for another error."""
    message, ends = error.message or "", "an expression ends in `}}`"
    if message.startswith("unexpected end of template") and "'end of print statement'" in message:
        return Problem("`{{` is not closed: the end of its expression is missing", file, error.lineno, hint=ends)
    if message == "unexpected '}'":
        return Problem(_sentence(message), file, error.lineno, hint=ends)
    is_open = message.startswith("Unexpected end of template") or "a nesting mistake" in message
    opened = _open_tag(error.source or "") if is_open else None
    if opened is None:
        return None
    line, tag, name = opened
    what = f"the {tag} `{name}`" if tag in ("block", "macro") else f"the `{tag}`"
    return Problem(f"{what} is not closed", file, line, hint=f"`{{% end{tag} %}}` ends it")


def _open_tag(source: str) -> tuple[int, str, str] | None:
    """Return line, keyword and name of the innermost tag that a text leaves open."""
    tokens = list(_tokens(source))
    opened: list[tuple[int, str, str]] = []
    for (_, kind, _), (line, _, word), (_, _, name) in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if kind == "block_begin" and f"end{word}" in _ENDS:
            opened.append((line, word, name))
        elif kind == "block_begin" and word in _ENDS and opened:
            if word != f"end{opened[-1][1]}":
                break
            opened.pop()
    return opened[-1] if opened else None


def _tokens(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, kind and text of each token except blanks, up to the first invalid one."""
    with suppress(TemplateSyntaxError):
        yield from (token for token in ENVIRONMENT.lex(source) if token[1] != "whitespace")


def rendering_problem(error: Exception, file: str | None, names: Iterable[str]) -> Problem:
    """Return the reason why a template could not be rendered, at its place. `names` are the names that it could have
    used.
    """
    where = _error_line(error)
    problem = Problem(_error_message(error), *(where or (file, None)))
    if isinstance(error, UndefinedName):
        return replace(problem, hint=error.hint(names))
    return problem


def _error_message(error: Exception) -> str:
    if isinstance(error, RecursionError | MemoryError):
        return "nested too deeply"
    if isinstance(error, TemplateNotFound):
        return f"there is no template `{error.name}`"
    if isinstance(error, SecurityError):
        return f"not allowed: {_sentence(str(error))}"
    return _sentence(str(error)) or type(error).__name__


def _sentence(text: str) -> str:
    return text.rstrip(". ") if len(text) < 300 else f"{text[:300]}…"


def _error_line(error: Exception) -> tuple[str | None, int] | None:
    """Return the innermost template line in the error's traceback."""
    if isinstance(error, TemplateSyntaxError):
        return error.filename, error.lineno
    found = None
    for frame, number in walk_tb(error.__traceback__):
        template = frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template) and frame.f_code.co_filename == template.filename:
            found = (template.filename, template.get_corresponding_lineno(number))
    return found
