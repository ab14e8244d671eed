"""Metrics of cost, length and form, which need no expected answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from promptkit.engine.results import calls_of
from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.metrics.base import Difference, Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import Proportion, Unbounded, binary_difference, bounded_estimate
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import text_of
from promptkit.evaluation.statistics.interval import CONFIDENCE


class LengthParameters(ClosedModel):
    """`min` and `max` are part of the range. With either, the metric says whether the length is within it."""

    unit: Literal["words", "characters"] = "words"
    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check_range(self) -> LengthParameters:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"no length lies between `min` {self.min} and `max` {self.max}")
        return self


class Length(Unbounded):
    """The number of words (between blanks) or characters of the answer; with bounds, whether it is within them."""

    kind = "length"
    about = "words or characters of the answer; with `min` or `max`, whether it is within them"
    Parameters = LengthParameters
    parameters: LengthParameters

    def __init__(self, name: str, parameters: LengthParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._bounded = parameters.min is not None or parameters.max is not None
        if self._bounded:
            self.bounds = (0.0, 1.0)
            self.higher_is_better = True

    def measure(self, given: MetricInput) -> Score:
        text = text_of(given.got)
        length = len(text.split()) if self.parameters.unit == "words" else len(text)
        if not self._bounded:
            return Score(float(length))
        low, high = self.parameters.min or 0, self.parameters.max
        keeps = low <= length and (high is None or length <= high)
        return Score(float(keeps), {"length": length})

    def unanswered(self, given: MetricInput) -> Score:
        if not self._bounded:
            return super().unanswered(given)
        return Score(0.0, {"flag": given.cell.flag})

    def estimate(self, sample: Sample) -> Estimate:
        if not self._bounded:
            return super().estimate(sample)
        return bounded_estimate(sample, (0.0, 1.0), binary=True)

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        if not self._bounded:
            return super().difference(a, b, level=level)
        return binary_difference(a, b, self.higher_is_better, level)


class TokensParameters(ClosedModel):
    """The tokens that count: those sent, those generated, or all."""

    count: Literal["in", "out", "all"] = "all"


class Tokens(Unbounded):
    """The tokens of a cell, over all its calls."""

    kind = "tokens"
    about = "tokens that a row takes"
    Parameters = TokensParameters
    short = "count"
    parameters: TokensParameters

    def measure(self, given: MetricInput) -> Score:
        counted: Mapping[str, Any] = {"in": given.cell.tokens_in, "out": given.cell.tokens_out}
        which = self.parameters.count
        return Score(float(sum(counted.values()) if which == "all" else counted[which]))


class Latency(Unbounded):
    """The model's seconds for all requests of a cell; a cached reply counts with the time that it first took.

    Two variants are compared only where one run asked all cells of both (`--fresh`).
    """

    kind = "latency"
    about = "seconds that a row takes"
    timed = True

    def measure(self, given: MetricInput) -> Score:
        return Score(float(given.cell.seconds))


class FirstToken(Latency):
    """The seconds until the first token of a cell's first request; a cached reply keeps its own."""

    kind = "first_token"
    about = "seconds until the first token of a row's first request"

    def measure(self, given: MetricInput) -> Score:
        call = next(calls_of(given.cell.trace), None)
        if call is None:
            return Score(None, why="no request was sent, so no first token came")
        # An empty reply has no first token, and is known to be empty at its end.
        seconds = call.get("first_token") if call["reply"] or call["thoughts"] else call["seconds"]
        if seconds is None:
            return Score(None, why="the runtime does not report when the first token came")
        return Score(float(seconds))


class TokensPerSecond(Latency):
    """The output tokens of a cell per second of all its requests, reading the prompt included."""

    kind = "tokens_per_second"
    about = "output tokens per second of a row's requests, from their start to their end"
    higher_is_better = True

    def measure(self, given: MetricInput) -> Score:
        if not given.cell.seconds:
            return Score(None, why="the runtime does not report how long the requests took")
        return Score(given.cell.tokens_out / given.cell.seconds)


class Format(Proportion):
    """1 where the answer parses as its type and was not cut off."""

    kind = "format"
    about = "the answer parses and is not cut off"
    needs_expected = False

    def measure(self, given: MetricInput) -> Score:
        return Score(float(not given.cell.flag))
