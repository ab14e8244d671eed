"""GBNF for exactly the numbers of a range, digit by digit."""

from __future__ import annotations

from decimal import Decimal

from promptkit.answers.constraints.gbnf import Grammar, literal

# A number with more digits before the point is not a double.
LONGEST_WHOLE = 308


def range_expression(grammar: Grammar, low: Decimal | None, high: Decimal | None, decimals: int | None) -> str:
    """Return an expression for the numbers from `low` to `high` (None: unbounded) with at most `decimals` decimals.

    The bounds must not have more decimals themselves, and `low` must not be above `high`.
    """
    if low is None and high is None:
        return grammar.rule("number", f'"-"? {_any_whole(decimals)}')
    branches: list[str] = []
    if high is None or high >= 0:
        branches += _not_negative(grammar, max(low or Decimal(0), Decimal(0)), high, decimals)
    if low is None or low < 0:
        nearest_zero = -high if high is not None and high < 0 else Decimal(0)
        farthest = None if low is None else -low
        branches += [f'"-" {body}' for body in _not_negative(grammar, nearest_zero, farthest, decimals)]
    return grammar.rule("number", " | ".join(branches))


def _not_negative(grammar: Grammar, low: Decimal, high: Decimal | None, decimals: int | None) -> list[str]:
    """Return one expression for each count of digits before the point, without `high` one for all larger counts."""
    whole, fraction = _split(low)
    if high is None and low == 0:
        return [_any_whole(decimals)]
    if high is None:
        longer = f"[1-9] [0-9]{{{len(whole)},{LONGEST_WHOLE - 1}}}{_free_fraction(decimals)}"
        return [_Digits(grammar, decimals, whole, fraction, "9" * len(whole), None).expression(), longer]
    high_whole, high_fraction = _split(high)
    bodies = []
    for length in range(len(whole), len(high_whole) + 1):
        first, first_fraction = (whole, fraction) if length == len(whole) else ("1" + "0" * (length - 1), "")
        last, last_fraction = (high_whole, high_fraction) if length == len(high_whole) else ("9" * length, None)
        bodies.append(_Digits(grammar, decimals, first, first_fraction, last, last_fraction).expression())
    return bodies


class _Digits:
    """Writes the numbers that have as many whole digits as both bounds, comparing them with the bounds digit by digit.

    Without a `high_fraction` any decimals may follow the digits of `high`.
    """

    def __init__(
        self, grammar: Grammar, decimals: int | None, low: str, low_fraction: str, high: str, high_fraction: str | None
    ) -> None:
        self.grammar = grammar
        self.decimals = decimals
        self.whole = len(low)
        self.low = low + low_fraction
        self.high = high + (high_fraction or "")
        self.open_high = high_fraction is None
        self.names: dict[tuple[int, bool, bool], str] = {}

    def expression(self) -> str:
        return self._rest(0, True, True)

    def _rest(self, at: int, on_low: bool, on_high: bool) -> str:
        """Return an expression for the digits from `at` on. `on_low`: those before are the lower bound's."""
        if on_high and self.open_high and at == self.whole:
            on_high = False
        if on_low and not self.low[at:].strip("0") and at >= self.whole:
            on_low = False
        if not on_low and not on_high:
            return self._free(at)
        key = (at, on_low, on_high)
        if key not in self.names:
            name = self.grammar.reserve("digits")
            self.names[key] = name
            self.grammar.define(name, self._bounded(at, on_low, on_high))
        return self.names[key]

    def _bounded(self, at: int, on_low: bool, on_high: bool) -> str:
        branches: list[str] = []
        ends = at >= self.whole and not on_low
        if ends:
            branches.append('""')
        if self.decimals is None or at < self.whole + self.decimals:
            point = '"." ' if at == self.whole else ""
            if on_high and at >= len(self.high):
                branches.append(f'{point}"0"{self._more_zeros(at + 1)}')
            else:
                branches += [point + branch for branch in self._digit_branches(at, on_low, on_high)]
        return " | ".join(branches)

    def _digit_branches(self, at: int, on_low: bool, on_high: bool) -> list[str]:
        lowest = int(self.low[at]) if on_low and at < len(self.low) else 0
        highest = int(self.high[at]) if on_high else 9
        branches = []
        inner_low, inner_high = lowest, highest
        if on_low:
            branches.append(f"{literal(str(lowest))} {self._rest(at + 1, True, on_high and lowest == highest)}")
            inner_low += 1
        if on_high and not (on_low and lowest == highest):
            branches.append(f"{literal(str(highest))} {self._rest(at + 1, False, True)}")
            inner_high -= 1
        if inner_low <= inner_high:
            branches.append(f"[{inner_low}-{inner_high}] {self._rest(at + 1, False, False)}")
        return branches

    def _free(self, at: int) -> str:
        if at == self.whole:
            return _free_fraction(self.decimals) or '""'
        if at < self.whole:
            return f"[0-9]{{{self.whole - at}}}{_free_fraction(self.decimals)}"
        if self.decimals is None:
            return "[0-9]*"
        return f"[0-9]{{0,{self.whole + self.decimals - at}}}"

    def _more_zeros(self, at: int) -> str:
        if self.decimals is None:
            return ' "0"*'
        left = self.whole + self.decimals - at
        return f' "0"{{0,{left}}}' if left > 0 else ""


def _any_whole(decimals: int | None) -> str:
    return f'("0" | [1-9] [0-9]{{0,{LONGEST_WHOLE - 1}}}){_free_fraction(decimals)}'


def _free_fraction(decimals: int | None) -> str:
    """Return an expression for a point and any decimals, or nothing."""
    if decimals == 0:
        return ""
    return f' ("." [0-9]{{1,{"" if decimals is None else decimals}}})?'


def _split(number: Decimal) -> tuple[str, str]:
    whole, _, fraction = format(number, "f").partition(".")
    return whole, fraction.rstrip("0")
