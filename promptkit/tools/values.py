"""What comes back from a program as plain data: null, booleans, numbers, texts, lists, mappings."""

from __future__ import annotations

import datetime
import math
import re
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

# Python writes no longer integer as text.
_MOST_BITS = 14_000
_MOST_NESTED = 100
# Monty gives functions and the like as their own text.
_NO_DATA = re.compile(r"<(?:(?:function|module|class|coroutine object) .*|bound method|[\w.]+ object\b.*)>")


class NoPlainData(Exception):
    """A value that is no plain data; the message says what it is."""


class TooMuchData(Exception):
    """A value that is larger than its limit, or nested too deeply."""


def plain(value: Any, most: int) -> Any:
    """Return a value as plain data: tuples and sets become lists, decimals numbers, dates texts, keys texts.

    `most` bounds the characters of its texts and the count of its other parts together, each counted as often as it
    appears. Raises NoPlainData and TooMuchData.
    """
    return _Reader(most).read(value, 0)


class _Reader:
    def __init__(self, most: int) -> None:
        self._left = most

    def read(self, value: Any, depth: int) -> Any:
        self._count(1)
        if depth > _MOST_NESTED:
            raise TooMuchData(f"the value is nested more than {_MOST_NESTED} deep")
        if isinstance(value, Mapping):
            return {self._key(key): self.read(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset | deque):
            self._count(len(value))
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
                    raise NoPlainData(f"the value is {value}, which is no number to go on with")
                return value
            case str():
                self._count(len(value))
                if _NO_DATA.fullmatch(value):
                    raise NoPlainData(f"the value is {value}, which is no data")
                return value
            case Decimal():
                return self._decimal(value)
            case datetime.date() | datetime.time():
                return value.isoformat()
        raise NoPlainData(f"the value is of the type {type(value).__name__}, which is no plain data")

    def _decimal(self, value: Decimal) -> Any:
        if not value.is_finite():
            raise NoPlainData(f"the value is {value}, which is no number to go on with")
        if value.adjusted() > 300:
            raise TooMuchData("the value has more than 300 digits")
        return self._scalar(int(value) if value == value.to_integral_value() else float(value))

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            self._count(len(key))
            return key
        if isinstance(key, bool | int | float | Decimal | datetime.date | None):
            return str(self._scalar(key))
        raise NoPlainData(f"a key of the value is of the type {type(key).__name__}, which is no plain data")

    def _count(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise TooMuchData("the value is too large")
