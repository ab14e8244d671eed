"""The filters and functions of templates: a closed list, each with a bounded cost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, Final

from jinja2 import TemplateRuntimeError, Undefined
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.tests import TESTS as JINJA_TESTS

from promptkit.prompts.conversation import messages_fault
from promptkit.prompts.limits import LimitExceeded, charge, check_length, joined, weigh

MAX_WIDTH: Final = 1_000


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_TAKEN_FROM_JINJA: Final = word_set(
    "abs capitalize count d default dictsort filesizeformat first float groupby int items last length lower map "
    "max min reject rejectattr reverse select selectattr sort title trim upper urlencode wordcount"
)
_REPEATED_FIELD = re.compile(r"\*|\d{4,}")


def to_text(value: Any) -> str:
    """Return a value as a prompt shows it: lists and mappings as JSON, booleans in lower case.

    Raises a template error for undefined values, null and objects that are not plain values.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if value is None:
        raise TemplateRuntimeError("null is printed here; test it first, or give a default")
    if isinstance(value, Undefined):
        return str(value)
    return to_json(value)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON text, without escaping non-ASCII characters."""
    if indent is not None:
        _check_width(indent)
    weigh(value)
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=indent, default=_plain)
    return joined(encoder.iterencode(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Undefined):
        return str(value)
    if isinstance(value, Mapping):
        return weigh(dict(value))
    if isinstance(value, Iterator | range | set | frozenset | Sequence | type({}.keys()) | type({}.values())):
        return weigh(list(charge(value)))
    if isinstance(value, type({}.items())):
        return weigh(list(value))
    raise TemplateRuntimeError(f"a {type(value).__name__} cannot be printed")


def _check_width(width: Any) -> None:
    if not isinstance(width, int) or abs(width) > MAX_WIDTH:
        raise LimitExceeded(f"a width is a number up to {MAX_WIDTH:,}")


def strict_zip(*lists: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return tuples of the lists' items. Raises for lists of unequal length."""
    return list(zip(*lists, strict=True))


def unique(items: Iterable[Any]) -> list[Any]:
    """Return the items without repetitions, in order. Case matters."""
    seen: set[str] = set()
    kept = []
    for item in items:
        key = to_json(item)
        if key not in seen:
            seen.add(key)
            kept.append(item)
    return kept


def where_equal(items: Iterable[Any], others: Iterable[Any], equals: Any) -> list[Any]:
    """Return the items whose counterpart in `others`, a list of the same length, equals `equals`."""
    return [item for item, other in zip(items, others, strict=True) if other == equals]


def as_map(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return a list of pairs as a mapping. Raises for a repeated key."""
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        name = to_text(key)
        if name in mapping:
            raise TemplateRuntimeError(f"as_map: the key {name!r} comes twice")
        mapping[name] = value
    return mapping


def format_percent(pattern: str, *values: Any, **named: Any) -> str:
    """Return `pattern % values`, with widths of at most three digits."""
    if _REPEATED_FIELD.search(pattern):
        raise LimitExceeded(f"a width in {pattern[:40]!r} is longer than three digits or `*`")
    return pattern % (named or tuple(value if isinstance(value, int | float) else to_text(value) for value in values))


def indent(value: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    """Return the text with each line but the first indented, by a number of spaces or by a text."""
    if isinstance(width, str):
        margin = width
    else:
        _check_width(width)
        margin = " " * width
    lines = value.splitlines()
    check_length(len(value) + len(lines) * len(margin))
    moved = [margin + line if (line or blank) and (first or place) else line for place, line in enumerate(lines)]
    return "\n".join(moved)


def join_items(items: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    """Return the items as text, with the separator between them."""
    if attribute is not None:
        items = [item[attribute] for item in items]

    def pieces() -> Iterator[str]:
        for place, item in enumerate(items):
            if place:
                yield separator
            yield to_text(item)

    return joined(pieces())


def replace_text(value: str, old: str, new: str, count: int = -1) -> str:
    """Return the text with one part replaced by another, everywhere or `count` times."""
    found = value.count(old) if count < 0 else min(count, value.count(old))
    check_length(len(value) + found * len(new))
    return value.replace(old, new, count)


def round_number(value: float, precision: int = 0) -> float:
    """Return the number rounded to `precision` decimals; an int without decimals."""
    _check_width(precision)
    return round(value, precision) if precision else round(value)


def sum_numbers(items: Iterable[Any], attribute: str | None = None, start: float = 0) -> float:
    """Return the sum of numbers, or of one attribute of mappings."""
    total = start
    for item in items:
        number = item[attribute] if attribute is not None else item
        if not isinstance(number, int | float):
            raise TemplateRuntimeError(f"sum: {to_text(number)[:40]!r} is not a number")
        total += number
    return total


def transcript(messages: Any) -> str:
    """Return a conversation as text, each message after its role: `User: …`."""
    if fault := messages_fault(messages):
        raise TemplateRuntimeError(f"transcript: the value {fault}")
    return "\n".join([f"{message['role'].capitalize()}: {message['content']}" for message in messages])


def truncate(value: str, length: int = 255, killwords: bool = False, end: str = "...") -> str:
    """Return at most `length` characters, including `end`. Cuts between words unless `killwords`."""
    if len(value) <= length:
        return value
    kept = value[: max(0, length - len(end))]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + end


def wordwrap(value: str, width: int = 79) -> str:
    """Return the text in lines of at most `width` characters, as far as words allow."""
    from textwrap import wrap

    return "\n".join("\n".join(wrap(line, width=max(1, width))) for line in value.splitlines())


def concatenate(pieces: Sequence[Any]) -> str:
    """Return `a ~ b`: the texts of both."""
    return joined(to_text(piece) for piece in pieces)


def bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the filter or test with its arguments and result charged for. Keeps Jinja's marks on the function."""
    passed = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def charged(*arguments: Any, **named: Any) -> Any:
        values = map(charge, arguments[passed:])
        named = {name: charge(value) for name, value in named.items()}
        return charge(function(*arguments[:passed], *values, **named))

    return charged


HELPERS: Final[dict[str, Callable[..., Any]]] = {
    "zip": strict_zip,
    "unique": unique,
    "where": where_equal,
    "as_map": as_map,
}

COUNT: Final = "promptkit: charge"
WEIGH: Final = "promptkit: weigh"
CONCATENATE: Final = "promptkit: concatenate"
"""Filters that only `guard` can name: no template can write a space in a name."""

_OWN: Final[dict[str, Callable[..., Any]]] = {
    **HELPERS,
    "format": format_percent,
    "indent": indent,
    "join": join_items,
    "list": list,
    "replace": replace_text,
    "round": round_number,
    "string": to_text,
    "sum": sum_numbers,
    "tojson": to_json,
    "transcript": transcript,
    "truncate": truncate,
    "wordwrap": wordwrap,
}


def jinja_filters() -> dict[str, Callable[..., Any]]:
    """Return all filters by name."""
    taken: Mapping[str, Any] = JINJA_FILTERS
    table = {name: bounded(taken[name]) for name in _TAKEN_FROM_JINJA}
    table |= {name: bounded(function) for name, function in _OWN.items()}
    return table | {COUNT: charge, WEIGH: weigh, CONCATENATE: concatenate}


def jinja_tests() -> dict[str, Callable[..., Any]]:
    """Return all tests (`is …`) by name."""
    taken: Mapping[str, Any] = JINJA_TESTS
    return {name: bounded(function) for name, function in taken.items()}
