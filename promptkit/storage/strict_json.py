"""JSON as RFC 8259 has it: no NaN, no repeated key, no number that does not fit, no half character."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NoReturn

import orjson

MAX_DIGITS = 255
"""The most characters of a whole number in a file: a longer one, in hexadecimal, may not fit a float."""

_LARGEST: Final = 2.0**63
_SMALL_NUMBER = re.compile(rb"[0-9]e-")
_SURROGATE = re.compile(r"\\[uU][dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """Return the value in `text`. Raises ValueError with the reason for all that is not strict JSON.

    The error is a `json.JSONDecodeError` with `lineno` and `colno` where the place is known.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    if (value := fast_json(text)) is not None:
        return value
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


_json_ascii: Callable[[Any], str] = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_AS_JSON_DOES: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def compact(value: Any) -> str:
    """Return data as JSON in few characters, all of them ASCII. Raises ValueError for a number that JSON has not."""
    encoded = _encoded(value, _AS_JSON_DOES)
    # The only character that orjson leaves as it is and ASCII JSON escapes is DEL.
    if encoded is None or not encoded.isascii() or b"\x7f" in encoded:
        return _json_ascii(value)
    return encoded.decode("ascii")


def json_bytes(
    value: Any,
    *,
    sort_keys: bool = False,
    allow_nan: bool = False,
    default: Callable[[Any], Any] | None = None,
    errors: Literal["surrogatepass", "strict"] = "surrogatepass",
) -> bytes:
    """Return data as JSON in few bytes of UTF-8, as keys and requests are made of.

    `sort_keys`, `allow_nan` and `default` are as in `json.dumps`, `errors` as in `str.encode`: it decides on half
    characters. Raises ValueError for a number that JSON has not, unless they are allowed.
    """
    encoded = _encoded(value, _AS_JSON_DOES | orjson.OPT_SORT_KEYS if sort_keys else _AS_JSON_DOES)
    if encoded is not None:
        return encoded
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=allow_nan, separators=(",", ":"), sort_keys=sort_keys, default=default
    )
    return text.encode("utf-8", errors)


def trace_bytes(trace: Any) -> bytes:
    """Return plain data as JSON bytes, in which a number that JSON has not is null, and half characters are escaped."""
    try:
        return orjson.dumps(trace, option=_AS_JSON_DOES)
    except TypeError:
        text = json.dumps(trace)
        return _json_ascii(json.loads(text, parse_constant=lambda _: None)).encode()


def _encoded(value: Any, option: int) -> bytes | None:
    """Return the bytes that `json` would write, made by orjson in a tenth of the time; None where they may differ."""
    try:
        encoded = orjson.dumps(value, option=option)
    except TypeError:
        return None
    # orjson writes numbers below 1e-4 otherwise, and NaN as null. The same characters in a text only cost time.
    if b"null" in encoded or b"0.0000" in encoded or (b"e-" in encoded and _SMALL_NUMBER.search(encoded)):
        return None
    return encoded


def fast_json(text: str) -> Any:
    """Return a value read by orjson; None where `json` may read another, or a key may stand twice."""
    if "\\" in text:
        return None
    try:
        value = orjson.loads(text)
        return value if _quotes(value) == text.count('"') else None
    except (ValueError, RecursionError):
        return None


def _quotes(value: Any) -> int:
    """Return the number of quotation marks that a value has as JSON if no text holds any; a repeated key loses some.

    Raises ValueError for a number that may have been a whole one, too large for orjson.
    """
    kind = type(value)
    if kind is str:
        return 2
    if kind is dict:
        return 2 * len(value) + sum(map(_quotes, value.values()))
    if kind is list:
        return sum(map(_quotes, value))
    if kind is float and not -_LARGEST < value < _LARGEST:
        raise ValueError
    return 0


def plain(value: Any) -> Any:
    """Return any value as JSON data: a set as a list in the order of its texts, other objects as text."""
    kind = type(value)
    if kind is str or value is None or kind is int:  # most values, checked fast
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
