"""JSON as RFC 8259 has it: no NaN, no repeated key, no number that does not fit, no half character."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

MAX_DIGITS = 255
"""So many characters a whole number may have in a file: a longer one, in hexadecimal, may not fit a float."""

_SURROGATE = re.compile(r"\\[uU][dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """Return the value in `text`. Raises ValueError, saying what is wrong, for all that is not strict JSON.

    The error is a `json.JSONDecodeError` with `lineno` and `colno` where the place is known.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(
            text,
            parse_constant=refuse_constant,
            parse_float=finite_float,
            parse_int=_whole,
            object_pairs_hook=refuse_repeated_keys,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _SURROGATE.search(text):
        _refuse_half_characters(value)
    return value


compact: Callable[[Any], str] = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
"""Return data as JSON in few characters, all of them ASCII. Raises ValueError for a number that JSON has not."""


def plain(value: Any) -> Any:
    """Return any value as data that JSON can hold: what it cannot is text, a set a list in the order of its texts."""
    kind = type(value)
    if kind is str or value is None or kind is int:  # the most, and the rest is slow to tell
        return value
    if kind is dict or isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return [plain(part) for part in sorted(value, key=str)]
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def refuse_constant(name: str) -> NoReturn:
    """Raise ValueError for NaN and the infinities, which Python writes and JSON has not."""
    raise ValueError(f"{name} is not JSON")


def finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number {text[:20]}… has too many digits")
    return int(text)


def refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of a JSON object as a mapping. Raises ValueError where a key is given twice."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} is given twice")
            seen.add(key)
    return mapping


def _refuse_half_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is not a character") from None
