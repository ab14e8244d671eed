"""The tool `calculator`: one expression as people write it, computed exactly where that is possible."""

from __future__ import annotations

import ast
import math
import re
import statistics
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError, ToolFailed, nearest
from promptkit.project import Project
from promptkit.tools.algebra import OPERATORS, Arithmetic, parse_expression
from promptkit.tools.base import Tool

Number = Fraction | float

_MOST_BITS: Final = 4_000
"""The size of a number: some 1,200 digits. Every operation on two of them takes microseconds."""
_MOST_FACTORIAL: Final = 400
_MOST_CHOSEN: Final = 1_000
_MOST_PLACES: Final = 300
_LONGEST: Final = 1_000
_LONGEST_REWRITTEN: Final = 20_000


class Calculator(Tool):
    """Computes one expression."""

    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "expression": {
                "type": "string",
                "description": "An arithmetic expression, such as `1,250 * 3`, `2^10`, `15% of 80` or `sqrt(2) / 3`.",
            }
        },
        "required": ["expression"],
        "additionalProperties": False,
    }

    def __init__(self, name: str) -> None:
        self.name = name
        self.description = (
            "Compute an arithmetic expression and return its value. It may hold numbers, + - * / ^ % !, parentheses, "
            f"pi and e, and the functions {', '.join(_FUNCTIONS)}. Angles are in radians. `//` divides and "
            "drops the remainder; `mod` gives the remainder. Variables and units are not supported."
        )

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> Calculator:
        """Return the tool, which has no settings. Raises InputError where some are given."""
        if settings is not None and settings != {}:
            raise InputError("`calculator` has no settings")
        return cls(name)

    async def call(self, arguments: Mapping[str, Any]) -> int | float:
        """Return the value of the argument `expression`. Raises ToolFailed with the reason."""
        try:
            return calculate(arguments["expression"])
        except ValueError as error:
            raise ToolFailed(str(error)) from None


def calculate(text: str) -> int | float:
    """Return the value of an expression, an int where it is whole.

    Raises ValueError with a message for a person.
    """
    expression = _python_expression(text)
    _check_percentages(expression)
    value = _EXACT.value_of(expression, _CONSTANTS)
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else _float(value)
    value = _without_noise(value)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _without_noise(value: float) -> float:
    """Return 0.5 for 0.49999999999999994, which a sine gives."""
    short = float(f"{value:.15g}")
    return short if len(repr(short)) < len(repr(value)) - 5 else value


def _check_percentages(expression: str) -> None:
    """Raise ValueError for `80 + 15%`, which some read as 80.15 and others as 92."""
    for node in ast.walk(parse_expression(expression, _LONGEST_REWRITTEN)):
        match node:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right) if _is_percentage(right):
                if not _is_percentage(left):
                    raise ValueError("it is not clear what the percentage is of: write 80 * 1.15 instead of 80 + 15%")


def _is_percentage(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "percent"


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("the expression has too large a value") from None


_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<grouped>\d{{1,3}}(?:,\d{{3}})+(?!\d)(?:\.\d+)?)|(?P<number>{_NUMBER})|(?P<name>[^\W\d_]\w*)"
    r"|(?P<sign>\*\*|//|[-+*/^%!(),√])"
)
_PLAIN = re.compile(_NUMBER)
_SIGNS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "π": " pi ", "²": "^2", "³": "^3"})
_WORDS: Final = {"x": "*", "of": "*", "times": "*", "mod": "%", "plus": "+", "minus": "-"}


def _python_expression(text: str) -> str:
    """Return an expression in Python's syntax, with whole numbers alone: decimals become quotients."""
    text = text.strip().removeprefix("=").removesuffix("=")
    if len(text) > _LONGEST:
        raise ValueError(f"the expression is longer than {_LONGEST:,} characters")
    return _Rewriter(text.translate(_SIGNS)).result()


class _Rewriter:
    """Rewrites what Python lacks: `1,250`, `3!`, `15%` and `√2`. The rest is left to Python's own parser."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts: list[str] = []
        self._operand: int | None = None  # where the operand that was just read begins
        self._opened: list[int] = []  # where each open parenthesis, or the name of its function, stands
        self._at = 0

    def result(self) -> str:
        while self._at < len(self._text):
            token = _TOKEN.match(self._text, self._at)
            if token is None:
                raise ValueError(f"`{self._text[self._at]}` cannot be part of an arithmetic expression")
            if token["grouped"] and self._takes_several():
                token = self._first_of(token)
            self._at = token.end()
            if not token[0].isspace():
                self._read(token[0])
        return " ".join(self._parts)

    def _takes_several(self) -> bool:
        """Tell whether a comma here separates the values of a function."""
        return bool(self._opened) and self._parts[self._opened[-1]] in _FUNCTIONS.keys() - _OF_ONE.keys()

    def _first_of(self, token: re.Match[str]) -> re.Match[str]:
        if ",0" in token[0]:
            raise ValueError(f"`{token[0]}` in a function is not clear: write it without commas")
        first = _PLAIN.match(self._text, self._at)
        assert first is not None
        return first

    def _read(self, token: str) -> None:
        if token[0].isdigit() or token[0] == ".":
            self._add_operand(_quotient(token.replace(",", "")))
        elif token == "√":
            self._add_operand("sqrt")
            if number := _PLAIN.match(self._text, self._at):
                self._at = number.end()
                self._parts.append(f"({_quotient(number[0])})")
        elif token[0].isalpha() and token.lower() not in _WORDS:
            self._add_name(token.lower())
        elif token == "(":
            self._open()
        elif token == ")":
            self._add_sign(token)
            self._operand = self._opened.pop() if self._opened else None
        elif token == "," and not self._takes_several():
            raise ValueError("a comma separates the values of a function, or groups of three digits, as in 1,250")
        elif token == "!":
            self._wrap("factorial")
        elif token == "%" and self._is_percent():
            self._wrap("percent")
        else:
            self._add_sign(_WORDS.get(token.lower(), token))

    def _open(self) -> None:
        is_call = self._operand is not None and self._parts[-1] in _FUNCTIONS
        if self._operand is not None and not is_call:
            raise _missing_sign(self._parts[-1], "(")
        self._opened.append(len(self._parts) - is_call)
        self._add_sign("(")

    def _add_name(self, name: str) -> None:
        if name not in _FUNCTIONS and name not in _CONSTANTS:
            near = nearest(name, [*_FUNCTIONS, *_CONSTANTS])
            raise ValueError(f"the calculator does not know `{name[:40]}`{f' ({near})' if near else ''}")
        self._add_operand(name)

    def _add_operand(self, part: str) -> None:
        if self._operand is not None:
            raise _missing_sign(self._parts[-1], part)
        self._operand = len(self._parts)
        self._parts.append(part)

    def _add_sign(self, part: str) -> None:
        self._operand = None
        self._parts.append(part)

    def _wrap(self, function: str) -> None:
        if self._operand is None:
            raise ValueError(f"`{'%' if function == 'percent' else '!'}` must follow a number")
        if self._parts[self._operand] == function == "factorial":
            raise ValueError("`!!` is not clear: write (5!)!")
        self._parts[self._operand :] = [function, "(", *self._parts[self._operand :], ")"]

    def _is_percent(self) -> bool:
        """Tell a percentage from a remainder, after which a number, a name or a parenthesis follows."""
        following = _TOKEN.match(self._text, _past_space(self._text, self._at))
        return following is None or following[0] in ("of", "x", "X") or following[0][0] in "+-*/^%),!"


def _missing_sign(left: str, right: str) -> ValueError:
    return ValueError(f"a sign, such as *, is missing between `{left[:40]}` and `{right[:40]}`")


def _past_space(text: str, at: int) -> int:
    return len(text) - len(text[at:].lstrip())


def _quotient(number: str) -> str:
    exponent = number.lower().partition("e")[2]
    if exponent and abs(int(exponent)) > _MOST_PLACES:
        raise ValueError(f"the number {number[:30]} is too large or too small")
    value = Fraction(number)
    return str(value.numerator) if value.denominator == 1 else f"({value.numerator}/{value.denominator})"


def _exact(number: Any) -> Number:
    """Return a number that is real, finite and of a sensible size; whole numbers as fractions."""
    if isinstance(number, int) and not isinstance(number, bool):
        number = Fraction(number)
    if isinstance(number, Fraction):
        if max(number.numerator.bit_length(), number.denominator.bit_length()) > _MOST_BITS:
            raise ValueError("a value of the expression has more than 1,200 digits")
        return number
    if not isinstance(number, float):
        raise ValueError("the expression has no real value")
    if not math.isfinite(number):
        raise ValueError("the expression has no finite value")
    return number


def _power(base: Number, exponent: Number) -> Any:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if base not in (-1, 0, 1) and abs(exponent) * (size - 1) > _MOST_BITS:
            raise ValueError("a power of the expression has more than 1,200 digits")
        return base ** int(exponent)
    return float(base) ** float(exponent)


def _whole(number: Number) -> int:
    if number != int(number):
        raise ValueError(f"{float(number):g} is not a whole number")
    return int(number)


def _factorial(number: Number) -> int:
    if not 0 <= number <= _MOST_FACTORIAL:
        raise ValueError(f"a factorial is of a whole number from 0 to {_MOST_FACTORIAL}")
    return math.factorial(_whole(number))


def _chosen(function: Callable[[int, int], int]) -> Callable[[Number, Number], int]:
    def choose(number: Number, chosen: Number) -> int:
        if not (0 <= number <= _MOST_CHOSEN and 0 <= chosen <= _MOST_CHOSEN):
            raise ValueError(f"comb and perm take whole numbers from 0 to {_MOST_CHOSEN:,}")
        return function(_whole(number), _whole(chosen))

    return choose


def _round(number: Number, places: Number = 0.0) -> Number:
    """Round a number, halves away from zero, as people do."""
    if not -_MOST_PLACES <= places <= _MOST_PLACES:
        raise ValueError(f"`round` takes at most {_MOST_PLACES} places")
    unit = Fraction(10) ** _whole(places)
    size = Fraction(math.floor(abs(Fraction(number)) * unit + Fraction(1, 2))) / unit
    return size if number >= 0 else -size


def _sqrt(number: Number) -> Number:
    if number < 0:
        raise ValueError("a negative number has no real square root")
    if isinstance(number, Fraction):
        top, bottom = math.isqrt(number.numerator), math.isqrt(number.denominator)
        if top * top == number.numerator and bottom * bottom == number.denominator:
            return Fraction(top, bottom)
    return math.sqrt(number)


def _log(number: Number, *base: Number) -> float:
    if len(base) != 1:
        raise ValueError("`log` needs its base, as in log(8, 2); ln(x) is the natural logarithm, log10(x) the decimal")
    return _positive(math.log)(number) / _positive(math.log)(*base)


def _positive(function: Callable[[float], float]) -> Callable[[Number], float]:
    def logarithm(number: Number) -> float:
        if number <= 0:
            raise ValueError("a logarithm is of a number above 0")
        return function(float(number))

    return logarithm


def _of_one(function: Callable[[float], float]) -> Callable[[Number], float]:
    return lambda number: function(float(number))


def _of_whole(function: Callable[..., int]) -> Callable[..., int]:
    return lambda *numbers: function(*map(_whole, numbers))


_OF_ONE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "abs": abs,
    "sqrt": _sqrt,
    "cbrt": _of_one(math.cbrt),
    "exp": _of_one(math.exp),
    "ln": _positive(math.log),
    "log10": _positive(math.log10),
    "log2": _positive(math.log2),
    "floor": math.floor,
    "ceil": math.ceil,
    "factorial": _factorial,
    "sin": _of_one(math.sin),
    "cos": _of_one(math.cos),
    "tan": _of_one(math.tan),
    "asin": _of_one(math.asin),
    "acos": _of_one(math.acos),
    "atan": _of_one(math.atan),
    "degrees": _of_one(math.degrees),
    "radians": _of_one(math.radians),
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **_OF_ONE,
    "round": _round,
    "log": _log,
    "min": lambda *numbers: min(numbers),
    "max": lambda *numbers: max(numbers),
    "sum": lambda *numbers: sum(numbers),
    "mean": lambda *numbers: sum(numbers) / Fraction(len(numbers)),
    "median": lambda *numbers: statistics.median(numbers),
    "gcd": _of_whole(math.gcd),
    "lcm": _of_whole(math.lcm),
    "comb": _chosen(math.comb),
    "perm": _chosen(math.perm),
}
_CONSTANTS: Final = {"pi": math.pi, "e": math.e}
_EXACT: Final = Arithmetic(
    operators={**OPERATORS, ast.Pow: _power},
    functions={**_FUNCTIONS, "percent": lambda number: number / Fraction(100)},
    check=_exact,
    longest=_LONGEST_REWRITTEN,
)
