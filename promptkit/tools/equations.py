"""Equations solved by SymPy, which is given trees that were read by a whitelist: its own parser evaluates text."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from promptkit.tools.algebra import check_power, no_expression, parse_expression

_HIGHEST_POWER: Final = 12
_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
}


def solve(texts: Sequence[str], names: Sequence[str]) -> list[dict[str, int | float]]:
    """Return the real solutions of equations for all of `names`; it may take any time.

    Raises ValueError with a message for a person, and what SymPy raises where it does not know a way.
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
    """Return the real roots of a polynomial, each once, also those that no formula gives."""
    import sympy

    roots = sympy.real_roots(sympy.Poly(difference, symbol)) if difference.has(symbol) else []
    return [{symbol.name: _number(root)} for root in dict.fromkeys(roots)]


def _values(solution: Mapping[Any, Any], symbols: Mapping[str, Any]) -> dict[str, int | float] | None:
    """Return a solution's numbers, None where one is not real and finite."""
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
    """Return an expression as SymPy holds it, its numbers exact."""
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
    raise no_expression(node)


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
    if type(op) not in _OPERATORS:
        raise no_expression(node)
    return _OPERATORS[type(op)](left, right)
