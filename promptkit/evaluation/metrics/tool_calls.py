"""The metric of tool calls: the calls that a target made, compared with those that are expected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.metrics.base import Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import NOTHING_SCORED, Proportion
from promptkit.evaluation.metrics.matches import equal_untyped
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.structured import same_json
from promptkit.evaluation.metrics.values import reading_fault, shown_value
from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.storage.strict_json import compact

NO_CALL = "no call"
Pairs = list[tuple[int, int]]
"""Matched calls: the places of an expected call and of the call that was made for it."""


class ToolCallsParameters(ClosedModel):
    """`ordered`: the calls come in the expected order. `extra`: other calls may be made besides.

    `arguments` are `equal` to the expected ones, contain them (`subset`), or are not compared (`any`); numbers may be
    apart by `tolerance`. `tools` are the names of the tools that count, by default all. `min` and `max` bound the
    number of calls, `max_failed` that of calls without a result, `max_refused` that of calls that `allow:`
    does not permit, and `max_rounds` that of rounds, each of which waits for the one before; with any of these, a row
    need not expect calls.
    """

    ordered: bool = True
    extra: bool = False
    arguments: Literal["equal", "subset", "any"] = "equal"
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    tools: list[str] | None = Field(default=None, min_length=1)
    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)
    max_failed: int | None = Field(default=None, ge=0)
    max_refused: int | None = Field(default=None, ge=0)
    max_rounds: int | None = Field(default=None, ge=0)

    @property
    def bounds(self) -> Mapping[str, int]:
        """The bounds that are given, by what they bound; `min` is not among them."""
        given = {"calls": self.max, "failed": self.max_failed, "refused": self.max_refused, "rounds": self.max_rounds}
        return {name: bound for name, bound in given.items() if bound is not None}

    @model_validator(mode="after")
    def _check_range(self) -> ToolCallsParameters:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"no number of calls lies between `min` {self.min} and `max` {self.max}")
        return self


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """A call that is expected. `arguments` is None where they do not matter."""

    name: str
    arguments: Mapping[str, Any] | None = None


class ToolCalls(Proportion):
    """The target called the expected tools, with the expected arguments: those of its tool steps, and the actions of
    techniques with tools. A call that failed, or was refused, counts as made.

    What is expected is a list of `{name: TOOL, arguments: {…}}`; without `arguments`, any will do. `[]` expects none.
    A number equals the text that writes it. Precision is the share of the calls made that were expected, recall the
    share of the expected calls that were made; rows without any such call have none.
    """

    kind = "tool_calls"
    about = "the tools that were called, with their arguments and their order"
    Parameters = ToolCallsParameters
    default_of = "{{ tool_calls }}"
    columns = ("score", "matched", "expected", "called")
    parameters: ToolCallsParameters

    def __init__(self, name: str, parameters: ToolCallsParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.needs_expected = parameters.min is None and not parameters.bounds

    def measure(self, given: MetricInput) -> Score:
        parameters = self.parameters
        called = _made_calls(given.got, parameters.tools)
        numbers = _numbers_of(called)
        keeps = (parameters.min or 0) <= len(called)
        keeps &= all(numbers[name] <= bound for name, bound in parameters.bounds.items())
        if given.expected is None:
            return Score(float(keeps), _detail([], called, []))
        expected = expected_calls(given.expected)
        pairs = self._matched(expected, called)
        all_made = len(pairs) == len(expected) and (parameters.extra or len(pairs) == len(called))
        return Score(float(keeps and all_made), _detail(expected, called, pairs))

    def unanswered(self, given: MetricInput) -> Score:
        expected = [] if given.expected is None else expected_calls(given.expected)
        return Score(0.0, {**_detail(expected, [], []), "flag": given.cell.flag})

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: expected_calls(expected))

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        counts = score.detail["counts"]
        return (score.value, counts["matched"], counts["expected"], counts["called"])

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        parts = {"precision": _share(sample, 3), "recall": _share(sample, 2)}
        return replace(super().estimate(sample), parts={name: part for name, part in parts.items() if part})

    def _matched(self, expected: Sequence[ExpectedCall], called: Sequence[Mapping[str, Any]]) -> Pairs:
        fits = np.array([[self._fits(call, made) for made in called] for call in expected], dtype=bool)
        if not fits.size:
            return []
        return _in_order(fits) if self.parameters.ordered else _in_any_order(fits)

    def _fits(self, call: ExpectedCall, made: Mapping[str, Any]) -> bool:
        how = self.parameters.arguments
        if call.name != made["name"] or call.arguments is None or how == "any":
            return bool(call.name == made["name"])
        wanted, given = call.arguments, made["arguments"]
        names_fit = wanted.keys() == given.keys() if how == "equal" else wanted.keys() <= given.keys()
        return names_fit and all(
            _same_argument(given[name], wanted[name], self.parameters.tolerance) for name in wanted
        )


def expected_calls(expected: Any) -> list[ExpectedCall]:
    """Return the expected calls: a list of `{name, arguments}` or of names; a text, as in CSV, is read as JSON.

    Raises ValueError for what is not such a list.
    """
    found = expected
    if isinstance(expected, str):
        try:
            found = json.loads(expected)
        except (ValueError, RecursionError):
            raise ValueError(f"{shown_value(expected)} is not JSON") from None
    if not isinstance(found, list):
        raise ValueError(f"{shown_value(found)} is not a list of calls `{{name: TOOL, arguments: {{…}}}}`")
    return [_expected_call(call) for call in found]


def _expected_call(call: Any) -> ExpectedCall:
    if isinstance(call, str):
        return ExpectedCall(call)
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str) or call.keys() - {"name", "arguments"}:
        raise ValueError(f"{shown_value(call)} is not a call `{{name: TOOL, arguments: {{…}}}}`")
    arguments = call.get("arguments")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise ValueError(f"the arguments of `{call['name']}` are a mapping, not {shown_value(arguments)}")
    return ExpectedCall(call["name"], arguments)


def _made_calls(got: Any, tools: Sequence[str] | None) -> list[Mapping[str, Any]]:
    """Return the calls that count. Raises ValueError for a value that is not a list of calls."""
    for call in got if isinstance(got, list) else [got]:
        if not isinstance(call, Mapping) or not isinstance(call.get("arguments"), Mapping) or "name" not in call:
            raise ValueError(f"{shown_value(call)} is not a call with `name` and `arguments`")
    return [call for call in got if tools is None or call["name"] in tools]


def _numbers_of(called: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    """Return the numbers of calls, of those that failed, of those that were refused, and of rounds."""
    refused = sum(bool(call.get("refused")) for call in called)
    return {
        "calls": len(called),
        "failed": sum(call.get("failure") is not None for call in called) - refused,
        "refused": refused,
        "rounds": len({(call.get("step"), call["level"]) for call in called if call.get("level")}),
    }


def _same_argument(got: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(got, str) != isinstance(expected, str):
        return equal_untyped(got, expected)
    return same_json(got, expected, tolerance)


def _in_order(fits: np.ndarray[Any, np.dtype[np.bool_]]) -> Pairs:
    """Return the longest matching in which both sides keep their order."""
    rows, columns = fits.shape
    longest = np.zeros((rows + 1, columns + 1), dtype=int)
    for row in reversed(range(rows)):
        for column in reversed(range(columns)):
            skipped = max(longest[row + 1, column], longest[row, column + 1])
            longest[row, column] = max(skipped, fits[row, column] + longest[row + 1, column + 1])
    pairs: Pairs = []
    row = column = 0
    while row < rows and column < columns:
        if fits[row, column] and longest[row, column] == 1 + longest[row + 1, column + 1]:
            pairs.append((row, column))
            row, column = row + 1, column + 1
        elif longest[row + 1, column] >= longest[row, column + 1]:
            row += 1
        else:
            column += 1
    return pairs


def _in_any_order(fits: np.ndarray[Any, np.dtype[np.bool_]]) -> Pairs:
    """Return a largest matching."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    made = maximum_bipartite_matching(csr_array(fits), perm_type="column")
    return [(place, int(column)) for place, column in enumerate(made) if column >= 0]


def _detail(expected: Sequence[ExpectedCall], called: Sequence[Mapping[str, Any]], pairs: Pairs) -> dict[str, Any]:
    """Return a row's calls as people read them, those that are missing and extra, and their counts."""
    rows, columns = {row for row, _ in pairs}, {column for _, column in pairs}
    wanted = [_shown(call.name, call.arguments) for call in expected]
    made = [_shown(call["name"], call["arguments"]) for call in called]
    missing = [text for place, text in enumerate(wanted) if place not in rows]
    extra = [text for place, text in enumerate(made) if place not in columns] if expected else []
    return {
        "expected": ", ".join(wanted) or NO_CALL,
        "got": ", ".join(made) or NO_CALL,
        **({"missing": missing} if missing else {}),
        **({"extra": extra} if extra else {}),
        **{name: number for name, number in _numbers_of(called).items() if number and name != "calls"},
        "counts": {"matched": len(pairs), "expected": len(expected), "called": len(called)},
    }


def _shown(name: str, arguments: Mapping[str, Any] | None) -> str:
    if arguments is None:
        return f"{name}(…)"
    return f"{name}({', '.join(f'{key}={compact(value)}' for key, value in arguments.items())})"


def _share(sample: Sample, column: int) -> dict[str, float | int] | None:
    """Return the mean share of matched calls among those of a column, over the rows that have some."""
    counted = np.flatnonzero(sample.values[:, column] > 0)
    if not len(counted):
        return None
    shares = sample.values[counted, 1] / sample.values[counted, column]
    found = bounded_mean(shares, sample.clusters[counted], binary=False)
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}
