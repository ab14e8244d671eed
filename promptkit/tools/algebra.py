"""Arithmetic expressions, read by a whitelist and evaluated without Python's `eval`."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Final

Number = int | float

_LONGEST: Final = 2_000
_MOST_BITS: Final = 10_000
_SIGNS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**"})
_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Number, Number], Number]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Number]]] = {
    "abs": abs,
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "round": round,
    "sqrt": math.sqrt,
}


def evaluate_expression(text: str, variables: Mapping[str, Number] | None = None) -> Number:
    """Return the value of one arithmetic expression over named numbers, as Python computes it.

    It may hold `+ - * / // % **` (also `^ × ÷ −`), parentheses, and the functions abs, max, min, round and sqrt. Raises
    ValueError, with a message for a person, for anything else and where there is no real number of a sensible size.
    """
    try:
        return _check(_value(parse_expression(text), variables or {}))
    except ZeroDivisionError:
        raise ValueError("the expression divides by zero") from None
    except (OverflowError, RecursionError):
        raise ValueError("the expression has too large a value, or is nested too deeply") from None
    except TypeError as error:
        raise ValueError(f"the expression cannot be evaluated: {error}") from None


def parse_expression(text: str) -> ast.expr:
    """Return the tree of an expression, unchecked. Raises ValueError where the text is none, or is too long."""
    if len(text) > _LONGEST:
        raise ValueError(f"the expression is longer than {_LONGEST:,} characters")
    try:
        return ast.parse(text.translate(_SIGNS).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"`{text.strip()[:60]}` is no arithmetic expression") from None


def check_power(base: Number, exponent: Number) -> None:
    """Raise ValueError where a power of whole numbers would take more than its share of time and memory."""
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > _MOST_BITS:
        raise ValueError(f"a power of the expression is too large: {exponent} is its exponent")


def no_expression(node: ast.AST) -> ValueError:
    """Return the error for a part that no expression may have."""
    return ValueError(f"`{ast.unparse(node)[:60]}` cannot be part of an arithmetic expression")


def _value(node: ast.expr, variables: Mapping[str, Number]) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number):
            return _check(number)
        case ast.Name(id=name):
            if name not in variables:
                raise ValueError(f"the expression has no value for `{name}`")
            return _check(variables[name])
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, variables)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, variables)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            first, second = _value(left, variables), _value(right, variables)
            if isinstance(op, ast.Pow):
                check_power(first, second)
            return _check(_OPERATORS[type(op)](first, second))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _call(name, [_value(argument, variables) for argument in args])
    raise no_expression(node)


def _call(name: str, values: list[Number]) -> Number:
    if not values:
        raise ValueError(f"`{name}` needs a value")
    if name == "round" and len(values) == 2 and abs(values[1]) > 300:
        raise ValueError("`round` cannot round to so many places")
    if name == "sqrt" and values[0] < 0:
        raise ValueError("a negative number has no real square root")
    return _check(_FUNCTIONS[name](*values))


def _check(number: object) -> Number:
    """Return a number that is real, finite and of a sensible size."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"the expression comes to {number!r:.60}, which is no real number")
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError("the expression has no finite value")
    if isinstance(number, int) and number.bit_length() > 2 * _MOST_BITS:
        raise ValueError("the expression has too large a value")
    return number
