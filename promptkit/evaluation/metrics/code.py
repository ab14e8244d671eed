"""Whether a program that the model wrote passes tests, run in the sandbox."""

from __future__ import annotations

import ast
from typing import Any

from pydantic import Field

from promptkit.engine import Closed
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Around, Askers, Given, Score
from promptkit.evaluation.metrics.families import Proportion
from promptkit.evaluation.metrics.values import shown, text_of
from promptkit.tools import Failure, Limits, cut_program, session

# So that the value of a program's last expression, which nobody reads, cannot make it fail.
_NO_VALUE = "\nNone"


class CodeParameters(Closed):
    """`tests` is a Python program of asserts, the same for all rows; left out, the expected answer is it."""

    tests: str | None = None
    seconds: float = Field(default=5.0, gt=0, le=60)


class CodeTests(Proportion):
    """1 where the program runs and then the tests do; 0 with the reason where either fails or takes too long.

    What the sandbox cannot run (a module that it lacks, `yield`) says nothing of the program: the score is missing.
    Tests run after the program and in its names, not as a part of its text, so that no text can swallow them.
    """

    kind = "code"
    about = "the program passes its tests, in the sandbox"
    Parameters = CodeParameters
    short = "tests"
    parameters: CodeParameters
    asks = True
    costly = True

    def __init__(self, name: str, parameters: CodeParameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        self.needs_expected = parameters.tests is None
        if parameters.tests is not None and (wrong := _wrong_tests(parameters.tests)):
            raise InputError(f"`tests`: {wrong}")

    def wrong_expected(self, expected: Any) -> str | None:
        return _wrong_tests(expected) if self.needs_expected else None

    async def judge(self, given: Given, askers: Askers) -> Score:
        tests = self.parameters.tests or given.expected
        if wrong := _wrong_tests(tests):
            raise ValueError(wrong)
        program = cut_program(text_of(given.got))
        if not program:
            return Score(0.0, {"problem": "the answer holds no program"})
        async with session(limits=Limits(seconds=self.parameters.seconds)) as sandbox:
            failure, where = (await sandbox.run(program + _NO_VALUE)).failure, "the program"
            if failure is None:
                failure, where = (await sandbox.run(tests + _NO_VALUE)).failure, "a test"
        return Score(1.0) if failure is None else _failed(failure, where)


def _failed(failure: Failure, where: str) -> Score:
    line = "" if failure.line is None else f", line {failure.line}"
    told = f"{where}{line}: {failure.message}"
    if failure.kind in ("unsupported", "crash"):
        return Score(None, {"problem": told}, f"the sandbox cannot run it: {told}")
    return Score(0.0, {"problem": told, "kind": failure.kind})


def _wrong_tests(tests: Any) -> str | None:
    """Return what is wrong with tests, None where nothing is."""
    if not isinstance(tests, str):
        return f"{shown(tests)} is no program of tests"
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the tests are no Python: {error}"
    if not any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(tree)):
        return "the tests have no `assert`: every program would pass them"
    return None
