"""An expression and a function that a model wrote for the same question, tried on the same numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from promptkit.techniques.context import Exchange
from promptkit.techniques.methods.programs import functions, read_program
from promptkit.techniques.methods.variables import Number
from promptkit.techniques.task import Task
from promptkit.tools import evaluate_expression

_CALLS: Final = """\
def outcome_of_(each):
    try:
        return {call}
    except ZeroDivisionError:
        return None
[outcome_of_(each) for each in assignments]"""
_MARK: Final = re.compile(r"answer\s*=", re.IGNORECASE)


async def run_function(
    task: Task, exchange: Exchange, values: Mapping[str, Number], assignments: Sequence[Mapping[str, Number]]
) -> list[Number | None]:
    """Return what the function of a reply returns for each assignment, None where it divides by zero or fails."""
    program = read_program(exchange, f"def solution({', '.join(values)}):")
    name, parameters = next(reversed(functions(program).items()), ("solution", []))
    sources = parameters if set(parameters) <= values.keys() else list(values)
    arguments = ", ".join(f"{name}=each[{source!r}]" for name, source in zip(parameters, sources, strict=False))
    calls = _CALLS.format(call=f"{name}({arguments})")
    ran = await task.code(f"{program}\n{calls}", inputs={"assignments": assignments}, of=exchange)
    if ran.failure or any(isinstance(each, bool) or not isinstance(each, int | float | None) for each in ran.value):
        return [None] * len(assignments)
    return list(ran.value)


def agree(
    task: Task, exchange: Exchange, draws: Sequence[Mapping[str, Number]], returned: Sequence[Number | None]
) -> bool:
    """Tell whether the expression of a reply comes to what the function returned, on all draws that neither refuses."""
    found = [evaluate(exchange.text, draw) for draw in draws]
    same = any(value is not None for value in found) and all(map(_same, found, returned))
    task.note(exchange, f"the expression and the function {'agree' if same else 'differ'} on {len(draws)} draws")
    return same


def evaluate(text: str, values: Mapping[str, Number]) -> Number | None:
    """Return what the expression in a reply comes to, None where it is none or divides by zero."""
    try:
        return evaluate_expression(read_expression(text), values)
    except ValueError:
        return None


def read_expression(text: str) -> str:
    """Return the expression of a reply: what follows `Answer =`, or the first line."""
    lines = [line for line in _MARK.split(text)[-1].splitlines() if line.strip()]
    return lines[0].strip(" \t$`.").partition("=")[0] if lines else ""


def _same(one: Number | None, other: Number | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
