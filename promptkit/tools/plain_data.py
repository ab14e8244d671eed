"""Plain data, which is what programs give back: None, booleans, numbers, texts, lists, and mappings from texts."""

from __future__ import annotations

import datetime
import math
import re
from collections import deque
from collections.abc import Iterator, KeysView, Mapping, ValuesView
from decimal import Decimal
from numbers import Rational
from typing import Any

# Python does not write longer integers as text.
_MOST_BITS = 14_000
_MOST_NESTED = 100
# Monty returns functions and the like as text.
_NO_DATA = re.compile(r"<(?:(?:function|module|class|coroutine object) .*|bound method|[\w.]+ object\b.*)>")
_ITERATED = (Iterator, KeysView, ValuesView, range)


class NotPlainData(Exception):
    """A value that is not plain data; the message says what it is."""


class TooMuchData(Exception):
    """A value that is larger than its limit, or nested too deeply."""


def plain_data(value: Any, most: int) -> Any:
    """Return a value as plain data: tuples, sets and iterators become lists, decimals and fractions numbers, dates and
    keys texts. Arrays and numbers of NumPy and SymPy become lists and numbers, SymPy's other expressions texts.

    `most` bounds the characters of its texts plus the number of its other parts, each counted as often as it appears.
    Raises NotPlainData and TooMuchData.
    """
    return _PlainReader(most).read(value, 0)


class _PlainReader:
    def __init__(self, most: int) -> None:
        self._left = most

    def read(self, value: Any, depth: int) -> Any:
        self._count(1)
        if depth > _MOST_NESTED:
            raise TooMuchData(f"the value is nested more than {_MOST_NESTED} deep")
        value = _without_library(value)
        if isinstance(value, Mapping):
            return {self._key(key): self.read(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset | deque):
            self._count(len(value))
            return [self.read(item, depth + 1) for item in value]
        if isinstance(value, _ITERATED):
            return [self.read(item, depth + 1) for item in value]
        return self._scalar(value)

    def _scalar(self, value: Any) -> Any:
        match value:
            case None | bool():
                return value
            case int():
                if value.bit_length() > _MOST_BITS:
                    raise TooMuchData("the value has more than 4,000 digits")
                return int(value)
            case float():
                if not math.isfinite(value):
                    raise NotPlainData(f"the value is {value}, which is not a usable number")
                return value
            case str():
                self._count(len(value))
                if _NO_DATA.fullmatch(value):
                    raise NotPlainData(f"the value is {value}, which is not data")
                return value
            case Decimal():
                return self._decimal(value)
            case Rational():
                top, bottom = int(value.numerator), int(value.denominator)
                return self._scalar(top if bottom == 1 else top / bottom)
            case datetime.date() | datetime.time():
                return value.isoformat()
        raise NotPlainData(f"the value is of the type {type(value).__name__}, which is not plain data")

    def _decimal(self, value: Decimal) -> Any:
        if not value.is_finite():
            raise NotPlainData(f"the value is {value}, which is not a usable number")
        if value.adjusted() > 300:
            raise TooMuchData("the value has more than 300 digits")
        return self._scalar(int(value) if value == value.to_integral_value() else float(value))

    def _key(self, key: Any) -> str:
        key = _without_library(key)
        if isinstance(key, str):
            self._count(len(key))
            return key
        if isinstance(key, bool | int | float | Decimal | datetime.date | None):
            return str(self._scalar(key))
        raise NotPlainData(f"a key of the value is of the type {type(key).__name__}, which is not plain data")

    def _count(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise TooMuchData("the value is too large")


def _without_library(value: Any) -> Any:
    """Return an object of NumPy or SymPy as one of Python, where it is plain data; other objects as they are."""
    library = type(value).__module__.partition(".")[0]
    if library == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if library != "sympy":
        return value
    if value in (True, False) and not getattr(value, "is_number", False):
        return bool(value)
    if getattr(value, "is_Rational", False):
        return int(value) if value.is_Integer else float(value)
    if getattr(value, "is_number", False) and value.is_real:
        return float(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if type(value).__name__ in ("FiniteSet", "Tuple") else str(value)
