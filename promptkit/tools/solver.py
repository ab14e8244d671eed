"""Equations solved in a worker process: hard ones take for ever, and a thread cannot be ended from outside."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

from promptkit.errors import MissingExtra
from promptkit.tools.equations import solve
from promptkit.workers import WorkFailed, run_in_worker_blocking

_MOST_EQUATIONS: Final = 10
_SECONDS: Final = 5.0


def solve_equations(equations: str | Sequence[str], unknown: str | Sequence[str]) -> Any:
    """Return the real solutions of equations such as `2*x + 3 = 11`; a side that is left out is 0.

    For one unknown: its value, or a list of its values in order where there are several. For a list of unknowns: a
    mapping from each to its value, or a list of such mappings. Whole numbers are ints, others floats. Raises
    ValueError where no solution is found, or not a finite number of them, or the equations are too hard, and
    MissingExtra without the package.
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
