"""Equations solved in a process of their own: hard ones take for ever, and a thread cannot be ended from outside."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final

from promptkit.errors import MissingExtra
from promptkit.tools.equations import solve

_MOST_EQUATIONS: Final = 10
_SECONDS: Final = 5.0
_STARTING: Final = 60.0
_MEMORY: Final = 2**30
_PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from promptkit.tools.solver import serve; serve()"
)


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
    solutions = _solver.ask(texts, names)
    if not solutions:
        raise ValueError("no real solution of the equations was found")
    if isinstance(unknown, str):
        values = sorted({solution[unknown] for solution in solutions})
        return values[0] if len(values) == 1 else values
    return solutions[0] if len(solutions) == 1 else solutions


def serve() -> None:
    """Answer each line of standard input, equations and unknowns, with one of solutions or of what is wrong."""
    with suppress(ImportError):  # there is none on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    import sympy  # noqa: F401

    print(flush=True)
    for line in sys.stdin:
        answer: dict[str, Any]
        try:
            answer = {"solutions": solve(*json.loads(line))}
        except ValueError as error:
            answer = {"wrong": str(error)}
        except Exception:  # for what it cannot do, SymPy raises errors of many kinds
            answer = {"wrong": "the equations are too hard to solve"}
        print(json.dumps(answer), flush=True)


class _Solver:
    """The process that solves, begun when it is first asked and again after it was ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, texts: Sequence[str], names: Sequence[str]) -> list[dict[str, int | float]]:
        with self._turn:
            process = self._running()
            answer = self._exchange(process, json.dumps([texts, names]) + "\n", _SECONDS)
            if not answer:
                self.end()
                raise ValueError("the equations are too hard to solve in time")
        found = json.loads(answer)
        if "wrong" in found:
            raise ValueError(found["wrong"])
        return found["solutions"]  # type: ignore[no-any-return]

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)]
            pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, text=True)
            self._exchange(self._process, "", _STARTING)
        return self._process

    @staticmethod
    def _exchange(process: subprocess.Popen[str], text: str, seconds: float) -> str:
        """Write a text and return the next line; empty where the process ends first, or is ended out of time."""
        assert process.stdin and process.stdout
        watch = threading.Timer(seconds, process.kill)
        watch.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(text)
                process.stdin.flush()
            return process.stdout.readline()
        finally:
            watch.cancel()


_solver = _Solver()
atexit.register(_solver.end)
