"""Metrics by Python code: tests of a program in the sandbox, and a function of the project."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

from pydantic import Field

from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError, ToolFailed, nearest
from promptkit.evaluation.metrics.base import Clients, Difference, Estimate, Metric, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import (
    Proportion,
    binary_difference,
    bounded_estimate,
    graded_difference,
    median_estimate,
    ratio_difference,
)
from promptkit.evaluation.metrics.score import Score, not_applicable
from promptkit.evaluation.metrics.values import shown_value, text_of
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.project_code.imported import imported_files
from promptkit.project_code.reference import CodeReference
from promptkit.storage.files import read_bytes
from promptkit.tools.backends import DEFAULT_BACKEND, Backend, jail_fault, no_jail, resolve_backend
from promptkit.tools.functions import FunctionTool, find_tool
from promptkit.tools.python import cut_program, open_sandbox
from promptkit.tools.sandbox import Failure, Limits

# The value of a program's last expression, which nobody reads, must not make it fail.
_NO_VALUE = "\nNone"


class CodeParameters(ClosedModel):
    """`tests` is a Python program of asserts, the same for all rows; by default it is the expected answer.

    `backend` is the sandbox of the programs: `cpython`, `monty`, or `auto`, which takes `cpython` where it can be
    jailed.
    """

    tests: str | None = None
    seconds: float = Field(default=5.0, gt=0, le=60)
    backend: Backend = Field(default="auto", exclude=True)  # in the key only where it is not Monty


class CodeTests(Proportion):
    """1 where the program and then its tests run; 0, with the reason, where either fails or takes too long.

    Under `monty` the score is missing where that cannot run the program (it lacks a module, or knows no `yield`); under
    `cpython` a program that needs a module which is not there is wrong. The tests run after the program, in its
    namespace and not as part of its text, so that no text can swallow them. Under `cpython` a program that changes
    Python itself could still make them pass.
    """

    kind = "code"
    about = "the program passes its tests, in the sandbox"
    Parameters = CodeParameters
    short = "tests"
    parameters: CodeParameters
    asks = True
    costly = True

    def __init__(self, name: str, parameters: CodeParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.needs_expected = parameters.tests is None
        if parameters.tests is not None and (wrong := _wrong_tests(parameters.tests)):
            raise InputError(f"`tests`: {wrong}")
        if parameters.backend == "cpython" and (why := jail_fault()):
            error = no_jail(why, "`backend`: ")
            raise InputError(error.message, hint=error.hint)

    @property
    def key(self) -> str:
        backend = resolve_backend(self.parameters.backend)
        return super().key if backend == DEFAULT_BACKEND else f"{super().key}:{backend}"

    def wrong_expected(self, expected: Any) -> str | None:
        return _wrong_tests(expected) if self.needs_expected else None

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        tests = self.parameters.tests or given.expected
        if wrong := _wrong_tests(tests):
            raise ValueError(wrong)
        program = cut_program(text_of(given.got))
        if not program:
            return Score(0.0, {"problem": "the answer holds no program"})
        limits = Limits(seconds=self.parameters.seconds)
        async with open_sandbox(limits=limits, backend=self.parameters.backend) as sandbox:
            failure, where = (await sandbox.run(program + _NO_VALUE)).failure, "the program"
            if failure is None:
                failure, where = (await sandbox.run(tests + _NO_VALUE)).failure, "a test"
        is_python = resolve_backend(self.parameters.backend) != DEFAULT_BACKEND
        return Score(1.0) if failure is None else _failed_score(failure, where, is_python=is_python)


def _failed_score(failure: Failure, where: str, *, is_python: bool) -> Score:
    line = "" if failure.line is None else f", line {failure.line}"
    message = f"{where}{line}: {failure.message}"
    if failure.kind == "crash" or (failure.kind == "unsupported" and not is_python):
        return Score(None, {"problem": message}, f"the sandbox cannot run it: {message}")
    return Score(0.0, {"problem": message, "kind": failure.kind})


def _wrong_tests(tests: Any) -> str | None:
    """Return the fault of tests, None for good ones."""
    if not isinstance(tests, str):
        return f"{shown_value(tests)} is not a program of tests"
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the tests are not Python: {error}"
    if not any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(tree)):
        return "the tests have no `assert`: every program would pass them"
    return None


ARGUMENTS: Final[Mapping[str, Callable[[MetricInput], Any]]] = {
    "row": lambda given: dict(given.cell.fields),
    "output": lambda given: given.got,
    "expected": lambda given: given.expected,
    "steps": lambda given: dict(given.cell.steps),
    "trace": lambda given: given.cell.trace,
}
"""The arguments of a function, by the names of its parameters."""


class PythonParameters(ClosedModel):
    """`function` is `FILE.py:FUNCTION` or `package.module:FUNCTION` in the project; `bounds: null` is an unbounded
    score. `reads` (files, by patterns) and `environment` (variables) name what it reads that promptkit cannot see.
    """

    function: str
    bounds: list[float] | None = Field(default=[0.0, 1.0], min_length=2, max_length=2)
    higher_is_better: bool = True
    reads: list[str] = Field(default=[])
    environment: list[str] = Field(default=[])


class PythonFunction(Metric):
    """The score that the function returns: a number, a boolean, or `{"score": …}` with further details for people.

    The function may be async. None says that the metric does not apply to the answer. The score is missing, with the
    reason, where the function raises or returns a score that is not a number or lies outside the bounds. Scores that
    are all 0 or 1 are counted as right and wrong.
    """

    kind = "python"
    about = "a function of your own: FILE.py:FUNCTION"
    Parameters = PythonParameters
    added = frozenset(["reads", "environment"])
    short = "function"
    parameters: PythonParameters
    needs_expected = False
    asks = True

    def __init__(self, name: str, parameters: PythonParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.bounds = None if parameters.bounds is None else (float(parameters.bounds[0]), float(parameters.bounds[1]))
        self.higher_is_better = parameters.higher_is_better
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise InputError(f"`bounds`: nothing lies between {self.bounds[0]:g} and {self.bounds[1]:g}")
        tool = find_tool(name, parameters.function, context.folder, context.project, kind="metric")
        self._tool = tool.reading(parameters.reads, parameters.environment, context.folder, context.project)
        if self._tool.takes is not None:
            _check_takes(name, self._tool.takes)
            self.reads_row = "row" in self._tool.takes
        self._content = _content_hash(self._tool)

    @property
    def key(self) -> str:
        """The identity of the scores; it changes with the function's file and the project's files that it imports."""
        return f"{super().key}:{self._content}"

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return (self._tool.code,)

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        try:
            takes = self._tool.takes if self._tool.takes is not None else _parameters(self._tool.function())
            returned = await self._tool.run({name: ARGUMENTS[name](given) for name in takes if name in ARGUMENTS})
        except ToolFailed as error:
            return Score(None, why=str(error))
        return self.read(returned)

    def unanswered(self, given: MetricInput) -> Score:
        if self.bounds is None:
            return Score(None, why="an unparsed answer has no worst score where the metric has no `bounds`")
        return super().unanswered(given)

    def estimate(self, sample: Sample) -> Estimate:
        if self.bounds is None:
            return median_estimate(sample)
        return bounded_estimate(sample, self.bounds, binary=self._binary(sample))

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        if self.bounds is None:
            return ratio_difference(a, b, self.higher_is_better, level)
        if self._binary(a) and self._binary(b):
            return binary_difference(a, b, self.higher_is_better, level)
        return graded_difference(a, b, self.bounds, self.higher_is_better, level)

    def _binary(self, sample: Sample) -> bool:
        scores = sample.scores
        return self.bounds == (0.0, 1.0) and bool(((scores == 0) | (scores == 1)).all())

    def read(self, returned: Any) -> Score:
        """Return the score that a function has returned, missing where it is not a score.

        None says that the metric does not apply to the answer.
        """
        value, detail = returned, {}
        if isinstance(returned, Mapping):
            if "score" not in returned:
                return Score(None, why=f"the function returned {_any_shown(returned)}, which has no `score`")
            detail = {str(key): part for key, part in returned.items() if key != "score"}
            value = returned["score"]
        number = _number(value)
        if value is not None and number is None:
            return Score(None, why=f"the function returned {_any_shown(value)}, which is not a number")
        if number is not None and self.bounds is not None and not self.bounds[0] <= number <= self.bounds[1]:
            low, high = self.bounds
            why = f"the function returned {number:g}, outside [{low:g}, {high:g}]; `bounds: [LOW, HIGH]` names others"
            return Score(None, why=why)
        try:
            detail = json.loads(json.dumps(detail, allow_nan=False, default=str))
        except Exception as error:  # its text is made by objects of the user's own
            return Score(None, why=f"the details that the function returned are not JSON: {error}")
        return not_applicable("the function returned None", detail) if number is None else Score(number, detail)


def _content_hash(tool: FunctionTool) -> str:
    digest = hashlib.sha256()
    for file in imported_files(tool.file, tool.code.root) if tool.file is not None else ():
        digest.update(hashlib.sha256(read_bytes(file)).digest())
    return digest.hexdigest()


def _parameters(function: Callable[..., Any]) -> Mapping[str, bool]:
    """Return the parameters of a function that was not read from its file; one with `**others` takes all arguments.

    Raises ToolFailed for a function without a signature, such as one written in C.
    """
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ToolFailed(f"the function has no readable signature: {error}") from error
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):
        return dict.fromkeys(ARGUMENTS, False)
    return {parameter.name: parameter.default is parameter.empty for parameter in found}


def _check_takes(name: str, takes: Mapping[str, bool]) -> None:
    """Raise InputError for a required parameter that a metric cannot give."""
    for parameter, is_required in takes.items():
        if is_required and parameter not in ARGUMENTS:
            message = f"metric `{name}`: its function takes `{parameter}`, which a metric cannot give"
            raise InputError(message, hint=nearest(parameter, ARGUMENTS))


def _number(value: Any) -> float | None:
    """Return a score, perhaps a numpy number, as a float; None for anything else, NaN and infinity."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    try:
        return float(value) if isinstance(value, int | float) and isfinite(value) else None
    except OverflowError:
        return None


def _any_shown(value: Any) -> str:
    """Return any value as messages show it."""
    try:
        return shown_value(value)
    except Exception:
        return f"a {type(value).__name__}"
