"""JSON as text: on one line, numbers in full, no key twice; read strictly and within bounds."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from promptkit.answers.base import Unparsed
from promptkit.answers.number import number_text
from promptkit.answers.ranges import LONGEST_WHOLE

DEEPEST = 100
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def json_text(value: Any) -> str:
    """Return a JSON value as text. Raises ValueError for what is none."""
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(json_text, value)) + "]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return "{" + ", ".join(f"{json_text(key)}: {json_text(item)}" for key, item in value.items()) + "}"
    raise ValueError(f"{value!r} is no JSON value")


def read_json(text: str) -> Any:
    """Return the value of a text that is JSON. Raises Unparsed."""
    try:
        return bearable(DECODER.decode(text))
    except RecursionError:
        raise Unparsed(f"the JSON is nested deeper than {DEEPEST} levels") from None
    except json.JSONDecodeError as error:
        raise Unparsed(f"the reply is no JSON: {error}") from None


def bearable(value: Any) -> Any:
    """Return the value unless it is nested too deep or holds what is no Unicode. Raises Unparsed."""
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str) and not item.isascii() and _SURROGATE.search(item):
                raise Unparsed("the JSON holds half of a surrogate pair")
        if not inner:
            return value
        level = inner
    raise Unparsed(f"the JSON is nested deeper than {DEEPEST} levels")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > LONGEST_WHOLE:
        raise Unparsed("the JSON holds a number too long to keep")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Unparsed("the JSON holds a number too large to keep")
    return value


def _constant(name: str) -> Any:
    raise Unparsed(f"the reply holds {name}, which is no JSON")


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        record.setdefault(key, value)
    return record


DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_first_wins
)
