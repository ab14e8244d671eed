"""A metric of one's own: a Python function by path, trusted as the project's tools are."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

from pydantic import Field

from promptkit.engine import Closed, Tool, find_tool
from promptkit.errors import InputError, ToolFailed, nearest
from promptkit.evaluation.metrics.base import Around, Askers, Difference, Estimate, Given, Metric, Sample, Score
from promptkit.evaluation.metrics.families import (
    binary_difference,
    bounded,
    graded_difference,
    measured,
    ratio_difference,
)
from promptkit.evaluation.metrics.values import shown
from promptkit.project_code import CodeReference
from promptkit.storage import imported_files, read_bytes

GIVEN: Final[Mapping[str, Callable[[Given], Any]]] = {
    "row": lambda given: dict(given.cell.row),
    "output": lambda given: given.got,
    "expected": lambda given: given.expected,
    "steps": lambda given: dict(given.cell.steps),
    "trace": lambda given: given.cell.trace(),
}
"""What a function may take, by the names of its parameters."""


class OwnParameters(Closed):
    """`function` is `FILE.py:FUNCTION` or `package.module:FUNCTION`, of the project; `bounds: null` is a score without
    any."""

    function: str
    bounds: list[float] | None = Field(default=[0.0, 1.0], min_length=2, max_length=2)
    higher_is_better: bool = True


class Own(Metric):
    """What the function returns: a number, a boolean, or `{"score": …}` with whatever a person wants to see beside it.

    It may be async. Whatever it raises, and a score that is none or lies outside the bounds, leaves the cell's score
    missing and says why. Scores that are all 0 or 1 are summed up as right and wrong ones.
    """

    kind = "python"
    about = "a function of your own: FILE.py:FUNCTION"
    Parameters = OwnParameters
    short = "function"
    parameters: OwnParameters
    needs_expected = False
    asks = True

    def __init__(self, name: str, parameters: OwnParameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        self.bounds = None if parameters.bounds is None else (float(parameters.bounds[0]), float(parameters.bounds[1]))
        self.higher_is_better = parameters.higher_is_better
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise InputError(f"`bounds`: nothing lies between {self.bounds[0]:g} and {self.bounds[1]:g}")
        self._tool = find_tool(name, parameters.function, around.folder, around.project, kind="metric")
        if self._tool.takes is not None:
            _check_takes(name, self._tool.takes)
        self._content = _content(self._tool)

    @property
    def key(self) -> str:
        """Changes with the function's file and with the project's files that it imports."""
        return f"{super().key}:{self._content}"

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return (self._tool.code,)

    async def judge(self, given: Given, askers: Askers) -> Score:
        try:
            takes = self._tool.takes if self._tool.takes is not None else _parameters(self._tool.function())
            returned = await self._tool.run({name: GIVEN[name](given) for name in takes if name in GIVEN})
        except ToolFailed as error:
            return Score(None, why=str(error))
        return self.read(returned)

    def unanswered(self, given: Given) -> Score:
        if self.bounds is None:
            return Score(None, why="an answer that is none has no worst score where the metric has no `bounds`")
        return super().unanswered(given)

    def estimate(self, sample: Sample) -> Estimate:
        if self.bounds is None:
            return measured(sample)
        return bounded(sample, self.bounds, binary=self._binary(sample))

    def difference(self, a: Sample, b: Sample, *, level: float = 0.95) -> Difference | None:
        if self.bounds is None:
            return ratio_difference(a, b, self.higher_is_better, level)
        if self._binary(a) and self._binary(b):
            return binary_difference(a, b, self.higher_is_better, level)
        return graded_difference(a, b, self.bounds, self.higher_is_better, level)

    def _binary(self, sample: Sample) -> bool:
        scores = sample.scores
        return self.bounds == (0.0, 1.0) and bool(((scores == 0) | (scores == 1)).all())

    def read(self, returned: Any) -> Score:
        """Return the score that a function has returned, missing where it is none."""
        value, detail = returned, {}
        if isinstance(returned, Mapping):
            if "score" not in returned:
                return Score(None, why=f"the function returned {_told(returned)}, which has no `score`")
            detail = {str(key): part for key, part in returned.items() if key != "score"}
            value = returned["score"]
        number = _number(value)
        if number is None:
            return Score(None, why=f"the function returned {_told(value)}, which is no number")
        if self.bounds is not None and not self.bounds[0] <= number <= self.bounds[1]:
            low, high = self.bounds
            told = f"the function returned {number:g}, outside [{low:g}, {high:g}]; `bounds: [LOW, HIGH]` names others"
            return Score(None, why=told)
        try:
            return Score(number, json.loads(json.dumps(detail, allow_nan=False, default=str)))
        except Exception as error:  # its text is made by objects of the user's own
            return Score(None, why=f"what the function returned beside the score is not JSON: {error}")


def _content(tool: Tool) -> str:
    digest = hashlib.sha256()
    for file in imported_files(tool.file, tool.root) if tool.file is not None else ():
        digest.update(hashlib.sha256(read_bytes(file)).digest())
    return digest.hexdigest()


def _parameters(function: Callable[..., Any]) -> Mapping[str, bool]:
    """Return the parameters of a function that was not read from its file; one with `**others` takes all.

    Raises ToolFailed for a function that does not tell them, such as one written in C.
    """
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ToolFailed(f"the function does not tell its parameters: {error}") from error
    if any(each.kind is each.VAR_KEYWORD for each in found):
        return dict.fromkeys(GIVEN, False)
    return {each.name: each.default is each.empty for each in found}


def _check_takes(name: str, takes: Mapping[str, bool]) -> None:
    """Raise InputError where a function wants what a metric does not have."""
    for parameter, is_required in takes.items():
        if is_required and parameter not in GIVEN:
            told = f"metric `{name}`: its function takes `{parameter}`, which a metric does not have"
            raise InputError(told, hint=nearest(parameter, GIVEN))


def _number(value: Any) -> float | None:
    """Return a score as a number, numpy's among them; None for what is none, NaN and the infinite."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    try:
        return float(value) if isinstance(value, int | float) and isfinite(value) else None
    except OverflowError:
        return None


def _told(value: Any) -> str:
    """Return a value as messages show it, whatever it is."""
    try:
        return shown(value)
    except Exception:
        return f"a {type(value).__name__}"
