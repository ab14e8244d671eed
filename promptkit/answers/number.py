"""A number, with optional bounds and decimals."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

from promptkit.answers.base import AnswerType, Unparsed, quoted, shown
from promptkit.answers.constraints.gbnf import Grammar
from promptkit.answers.constraints.number_grammar import LONGEST_WHOLE, range_expression
from promptkit.answers.reader.concluded_number import number_of, whole_number
from promptkit.answers.reader.numerals import EXACT, Numeral, numerals, plain_math, word_numerals
from promptkit.answers.reader.passages import Passage
from promptkit.errors import InputError


class Number(AnswerType):
    """A number; an int where the text has no decimals, else a float. `minimum` and `maximum` are inclusive.

    With `decimals`, a longer reply is rounded. `$1,234.50`, `1e5` and `26 apples` are read too.
    """

    name = "number"
    writes_json = True
    max_tokens = 24

    def __init__(self, minimum: Any = None, maximum: Any = None, decimals: Any = None) -> None:
        faults = [
            f"number: `{key}` must be a number, not {bound!r}"
            for key, bound in (("min", minimum), ("max", maximum))
            if bound is not None and (not _is_number(bound) or not math.isfinite(bound))
        ]
        if decimals is not None and (not _is_number(decimals) or decimals not in range(21)):
            faults.append(f"number: `decimals` must be a whole number from 0 to 20, not {decimals!r}")
        if faults:
            raise InputError("\n".join(faults))
        self.minimum, self.maximum, self.decimals = minimum, maximum, decimals
        self._low = self._bound(minimum, ROUND_CEILING)
        self._high = self._bound(maximum, ROUND_FLOOR)
        if self._low is not None and self._high is not None and self._low > self._high:
            raise InputError(f"number: nothing lies between min {minimum} and max {maximum}")

    def format(self, value: Any) -> str:
        if not _is_number(value):
            raise ValueError(f"{shown(value)} is not a number")
        return number_text(value)

    def read(self, text: str) -> int | float:
        found = numerals(plain_math(text)) or word_numerals(text)
        values = dict.fromkeys(self._value(numeral) for numeral in found)
        fitting = [value for value in values if value is not None]
        if len(values) == 1 and fitting:
            return fitting[0]
        if not found:
            raise Unparsed(f"{quoted(text)} holds no number")
        if len(values) > 1:
            raise Unparsed(f"{quoted(text)} holds several numbers")
        raise Unparsed(f"{quoted(text)} is not {self._wanted()}")

    def mentions(self, text: str) -> Iterator[int | float]:
        for numeral in numerals(plain_math(text)):
            value = self._value(numeral)
            if value is not None:
                yield value

    def whole(self, text: str) -> int | float | None:
        return self._optional(whole_number(text, self._fits))

    def pick(self, passage: Passage) -> int | float | None:
        return self._optional(number_of(passage, self._fits))

    def expression(self, grammar: Grammar) -> str:
        return range_expression(grammar, self._low, self._high, self.decimals)

    def schema(self) -> Mapping[str, Any]:
        bounds = {"minimum": self._low, "maximum": self._high}
        shown = {key: _number(bound) for key, bound in bounds.items() if bound is not None}
        return {"type": "integer" if self.decimals == 0 else "number", **shown}

    def json_value(self, value: Any) -> Any:
        self.format(value)
        return value

    def from_json(self, value: Any) -> int | float:
        found: int | float = self.parse(number_text(value)) if _is_number(value) else super().from_json(value)
        return found

    def vote_key(self, value: Any) -> Hashable:
        return ("number", value)

    def description(self) -> Mapping[str, Any]:
        return {
            "minimum": None if self.minimum is None else number_text(self.minimum),
            "maximum": None if self.maximum is None else number_text(self.maximum),
            "decimals": self.decimals,
        }

    def _optional(self, numeral: Numeral | None) -> int | float | None:
        return None if numeral is None else self._value(numeral)

    def _fits(self, numeral: Numeral) -> bool:
        return not self._is_rating(numeral) and self._value(numeral) is not None

    def _is_rating(self, numeral: Numeral) -> bool:
        """Tell whether a fraction is one of the maximum, as `8/10` is a grade where at most 10 is given."""
        return self._high is not None and self._high > 1 and numeral.under == self._high

    def _value(self, numeral: Numeral) -> int | float | None:
        """Return the number of a numeral, None where it is out of range."""
        if numeral.value is None:
            return None
        exact = numeral.value if self.decimals is None else self._rounded(numeral.value, ROUND_HALF_UP)
        if exact.adjusted() >= LONGEST_WHOLE or not self._holds(exact):
            return None
        if exact == exact.to_integral_value() and (self.decimals == 0 or numeral.is_whole):
            return int(exact)
        return float(exact)

    def _holds(self, exact: Decimal) -> bool:
        return (self._low is None or exact >= self._low) and (self._high is None or exact <= self._high)

    def _bound(self, bound: Any, rounding: str) -> Decimal | None:
        """Return a bound, moved to the nearest number inside the range that has this many decimals."""
        return None if bound is None else self._rounded(Decimal(number_text(bound)), rounding)

    def _rounded(self, exact: Decimal, rounding: str) -> Decimal:
        if self.decimals is None or -exact.as_tuple().exponent <= self.decimals:  # type: ignore[operator]
            return exact
        return exact.quantize(Decimal(1).scaleb(-self.decimals), rounding=rounding, context=EXACT)

    def _wanted(self) -> str:
        bounds = [
            f"{word} {number_text(bound)}"
            for word, bound in (("at least", self.minimum), ("at most", self.maximum))
            if bound is not None
        ]
        return f"a number of {' and '.join(bounds)}" if bounds else "a number of bearable length"


def number_text(value: int | float) -> str:
    """Return a finite number in full, without an exponent. Raises ValueError for NaN and infinities."""
    if isinstance(value, int):
        return format(Decimal(value), "f")
    if not math.isfinite(value):
        raise ValueError(f"{shown(value)} is not a finite number")
    if value == 0:
        return "0"
    return format(Decimal(value) if value.is_integer() else Decimal(repr(value)), "f")


def _number(exact: Decimal) -> int | float:
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
