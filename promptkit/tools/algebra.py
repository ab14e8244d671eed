"""Arithmetic and equations, read by a whitelist and evaluated without Python's `eval`.

Equations are solved by SymPy, which is given trees, since its own parser evaluates text; in a worker process, since
hard ones take for ever.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from promptkit.errors import MissingExtra
from promptkit.workers.process import WorkFailed, run_in_worker_blocking

Number = int | float

_LONGEST: Final = 2_000
_MOST_BITS: Final = 10_000
_SIGNS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Arithmetic over the syntax tree of an expression: nothing but numbers, names, operators and functions.

    `check` gets each number and each result, and returns the number to go on with or raises ValueError. An expression
    has at most `longest` characters.
    """

    operators: Mapping[type[ast.operator], Callable[[Any, Any], Any]]
    functions: Mapping[str, Callable[..., Any]]
    check: Callable[[Any], Any]
    longest: int = _LONGEST

    def value_of(self, text: str, names: Mapping[str, Any]) -> Any:
        """Return the value of an expression over named numbers.

        Raises ValueError, with a message for a person, for another text, and where there is no value.
        """
        try:
            return self.check(self._value(parse_expression(text, self.longest), names))
        except ZeroDivisionError:
            raise ValueError("the expression divides by zero") from None
        except (OverflowError, RecursionError):
            raise ValueError("the expression has too large a value, or is nested too deeply") from None
        except TypeError as error:
            raise ValueError(f"the expression cannot be evaluated: {error}") from None

    def _value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number):
                return self.check(number)
            case ast.Name(id=name):
                if name not in names:
                    raise ValueError(f"the expression has no value for `{name}`")
                return self.check(names[name])
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._value(operand, names)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, names)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in self.operators:
                first, second = self._value(left, names), self._value(right, names)
                return self.check(self.operators[type(op)](first, second))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in self.functions:
                if not args:
                    raise ValueError(f"`{name}` needs a value")
                return self.check(self.functions[name](*(self._value(argument, names) for argument in args)))
        raise unsupported_part(node)


def evaluate_expression(text: str, variables: Mapping[str, Number] | None = None) -> Number:
    """Return the value of one arithmetic expression over named numbers, as Python computes it.

    It may hold `+ - * / // % **` (also `^ × ÷ −`), parentheses, and the functions abs, max, min, round and sqrt. Raises
    ValueError, with a message for a person, for anything else and where there is no real number of a sensible size.
    """
    value: Number = _PYTHON.value_of(text, variables or {})
    return value


def parse_expression(text: str, longest: int = _LONGEST) -> ast.expr:
    """Return the tree of an expression, unchecked. Raises ValueError for other text and for one that is too long."""
    if len(text) > longest:
        raise ValueError(f"the expression is longer than {longest:,} characters")
    try:
        return ast.parse(text.translate(_SIGNS).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"`{text.strip()[:60]}` is not an arithmetic expression") from None


def check_power(base: Number, exponent: Number) -> None:
    """Raise ValueError for a power of whole numbers that would take too much time and memory."""
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > _MOST_BITS:
        raise ValueError(f"a power of the expression is too large: {exponent} is its exponent")


def unsupported_part(node: ast.AST) -> ValueError:
    """Return the error for a part that an expression may not have."""
    return ValueError(f"`{ast.unparse(node)[:60]}` cannot be part of an arithmetic expression")


def _power(base: Number, exponent: Number) -> Any:
    check_power(base, exponent)
    return base**exponent


def _round(number: Number, places: int | None = None) -> Number:
    if places is not None and abs(places) > 300:
        raise ValueError("`round` cannot round to so many places")
    return round(number, places)


def _sqrt(number: Number) -> float:
    if number < 0:
        raise ValueError("a negative number has no real square root")
    return math.sqrt(number)


def _check(number: object) -> Number:
    """Return a number that is real, finite and of a sensible size."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"the value of the expression, {number!r:.60}, is not a real number")
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError("the expression has no finite value")
    if isinstance(number, int) and number.bit_length() > 2 * _MOST_BITS:
        raise ValueError("the expression has too large a value")
    return number


OPERATORS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
"""Python's operators but for the power, which needs a bound."""
_PYTHON: Final = Arithmetic(
    operators={**OPERATORS, ast.Pow: _power},
    functions={
        "abs": abs,
        "max": lambda *values: max(values),
        "min": lambda *values: min(values),
        "round": _round,
        "sqrt": _sqrt,
    },
    check=_check,
)


_HIGHEST_POWER: Final = 12
_SYMBOLIC_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
}


def solve(texts: Sequence[str], names: Sequence[str]) -> list[dict[str, int | float]]:
    """Return the real solutions of equations for all of `names`; this may take any time.

    Raises ValueError with a message for a person, and whatever SymPy raises for equations that it cannot solve.
    """
    import sympy

    symbols = {name: sympy.Symbol(name, real=True) for name in names}
    differences = [difference for text in texts if (difference := _difference(text, symbols)) != 0]
    if not differences:
        raise ValueError(f"the equations leave `{names[0]}` open")
    if len(symbols) == len(differences) == 1 and differences[0].is_polynomial(*symbols.values()):
        return _roots(differences[0], *symbols.values())
    found = sympy.solve(differences, list(symbols.values()), dict=True)
    return [values for solution in found if (values := _values(solution, symbols)) is not None]


def _roots(difference: Any, symbol: Any) -> list[dict[str, int | float]]:
    """Return the real roots of a polynomial, each once, also those without a formula."""
    import sympy

    roots = sympy.real_roots(sympy.Poly(difference, symbol)) if difference.has(symbol) else []
    return [{symbol.name: _number(root)} for root in dict.fromkeys(roots)]


def _values(solution: Mapping[Any, Any], symbols: Mapping[str, Any]) -> dict[str, int | float] | None:
    """Return a solution's numbers, None if one is not real and finite."""
    values: dict[str, int | float] = {}
    for name, symbol in symbols.items():
        value = solution.get(symbol, symbol)
        if value.free_symbols:
            raise ValueError(f"the equations leave `{name}` open")
        number = complex(value.evalf(20))
        if abs(number.imag) > 1e-12 or not math.isfinite(number.real):
            return None
        values[name] = _number(value)
    return values


def _number(value: Any) -> int | float:
    return int(value) if value.is_Integer else complex(value.evalf(20)).real


def _difference(text: str, symbols: Mapping[str, Any]) -> Any:
    left, *right = text.replace("==", "=").split("=")
    if len(right) > 1:
        raise ValueError(f"`{text.strip()[:60]}` has more than one equals sign")
    sides = [_tree(parse_expression(side), symbols) for side in (left, *right)]
    return sides[0] - sides[1] if right else sides[0]


def _tree(node: ast.expr, symbols: Mapping[str, Any]) -> Any:
    """Return an expression as SymPy's tree with exact numbers."""
    import sympy

    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return sympy.Rational(repr(number))
        case ast.Name(id=name):
            if name not in symbols:
                raise ValueError(f"`{name}` is not among the unknowns")
            return symbols[name]
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _tree(operand, symbols)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_tree(operand, symbols)
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(node, op, _tree(left, symbols), _tree(right, symbols))
        case ast.Call(func=ast.Name(id="sqrt" | "abs" as name), args=[argument], keywords=[]):
            return (sympy.sqrt if name == "sqrt" else sympy.Abs)(_tree(argument, symbols))
    raise unsupported_part(node)


def _combined(node: ast.expr, op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(op, ast.Div):
        if right.is_zero:
            raise ValueError("an equation divides by zero")
        return left / right
    if isinstance(op, ast.Pow):
        if left.is_zero and right.is_negative:
            raise ValueError("an equation divides by zero")
        if left.free_symbols and abs(right.subs(dict.fromkeys(right.free_symbols, 1))) > _HIGHEST_POWER:
            raise ValueError(f"an unknown has a power beyond {_HIGHEST_POWER}")
        if left.is_Rational and right.is_Rational:
            check_power(max(abs(int(left.p)), int(left.q)), max(abs(int(right.p)), int(right.q)))
        return left**right
    if type(op) not in _SYMBOLIC_OPERATORS:
        raise unsupported_part(node)
    return _SYMBOLIC_OPERATORS[type(op)](left, right)


_MOST_EQUATIONS: Final = 10
_SECONDS: Final = 5.0


def solve_equations(equations: str | Sequence[str], unknown: str | Sequence[str]) -> Any:
    """Return the real solutions of equations such as `2*x + 3 = 11`; a side that is left out is 0.

    For one unknown: its value, or a sorted list of several. For a list of unknowns: a mapping from each to its value,
    or a list of such mappings. Whole numbers are ints, others floats. Raises ValueError if there is no solution or no
    finite number of them, or if the equations are too hard, and MissingExtra without the package.
    """
    texts = [equations] if isinstance(equations, str) else list(equations)
    names = [unknown] if isinstance(unknown, str) else list(unknown)
    if not 0 < len(texts) <= _MOST_EQUATIONS or not 0 < len(names) <= _MOST_EQUATIONS:
        raise ValueError(f"from 1 to {_MOST_EQUATIONS} equations and unknowns can be solved")
    for text in (*texts, *names):
        if not isinstance(text, str):
            raise ValueError(f"equations and unknowns must be texts, not {text!r:.60}")
    if find_spec("sympy") is None:
        raise MissingExtra("solving equations", "math")
    solutions = _solved(texts, names)
    if not solutions:
        raise ValueError("no real solution of the equations was found")
    if isinstance(unknown, str):
        values = sorted({solution[unknown] for solution in solutions})
        return values[0] if len(values) == 1 else values
    return solutions[0] if len(solutions) == 1 else solutions


def _solved(texts: Sequence[str], names: Sequence[str]) -> Any:
    try:
        return run_in_worker_blocking(solve, texts, names, seconds=_SECONDS, imports=["sympy"])
    except WorkFailed as failed:
        in_time = " in time" if failed.why == "time" else ""
        raise ValueError(f"the equations are too hard to solve{in_time}") from None
