"""The cost of a row of a candidate: measured on its search rows, otherwise predicted from the start's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptkit.engine.pipeline import Pipeline
from promptkit.tuning.evaluator import Evaluator, RowResult
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.search_space.settings import written_requests

Amounts = NDArray[np.float64]
"""Calls, tokens and seconds, (3,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCost:
    """The mean cost of a row.

    `calls` include a judge's, whose tokens are `judge_tokens` and not in `tokens`; `seconds` are wall-clock time.
    """

    calls: float
    tokens: float
    seconds: float
    judge_tokens: float = 0.0

    @property
    def amounts(self) -> Amounts:
        """The cost by limit, (3,): calls, all tokens, seconds."""
        return np.array([self.calls, self.tokens + self.judge_tokens, self.seconds])


def row_cost(results: Sequence[RowResult], *, seconds: float, parallel: int) -> RowCost:
    """Return the mean cost of a row from results that took so many seconds of wall-clock time, 0 if they were cached.

    Their own times, with `parallel` requests in flight, are the least that they take: what a cached result shows.
    """
    count = max(1, len(results))
    return RowCost(
        calls=sum(result.calls for result in results) / count or 1.0,
        tokens=sum(result.tokens for result in results) / count,
        judge_tokens=sum(result.judge_tokens for result in results) / count,
        seconds=max(seconds, sum(result.seconds for result in results) / parallel) / count,
    )


def relative_requests(candidate: Candidate, pipeline: Pipeline) -> float:
    """Return about how many requests a row of a candidate takes, relative to its target as written.

    A step weighs as many requests as it sends as written.
    """
    weights = {
        name: written_requests(pipeline, step) for name, step in pipeline.steps.items() if step.prompt_call is not None
    }
    times = dict(weights)
    for parameter, choice in candidate.choices.items():
        step = parameter.partition(".")[0]
        if step in times:
            times[step] *= choice.requests
    return sum(times.values()) / sum(weights.values()) if weights else 1.0


class CandidateCosts:
    """The costs of candidates on an evaluator, whose `start` was measured.

    `sized`: whether a candidate without results is predicted by the length of its first requests too, which are
    rendered for that, and not by the number of its requests alone.
    """

    def __init__(self, evaluator: Evaluator, rows: Sequence[int], start: RowCost, *, sized: bool) -> None:
        self._evaluator, self._rows, self._start = evaluator, tuple(rows), start
        self._sized = sized
        self._sizes: dict[str, float] = {}

    async def of(self, candidate: Candidate) -> RowCost:
        """Return the cost of a row of a candidate."""
        results = list(self._evaluator.results(candidate, self._rows))
        if results:
            return self._measured(results)
        start, requests = self._start, relative_requests(candidate, self._evaluator.suite.baseline.pipeline)
        times = requests
        if self._sized and candidate.changes:
            times *= await self._relative_size(candidate)
        return RowCost(
            calls=start.calls * requests,
            tokens=start.tokens * times,
            judge_tokens=start.judge_tokens,
            seconds=start.seconds * times,
        )

    def _measured(self, results: Sequence[RowResult]) -> RowCost:
        start, count = self._start, len(results)
        tokens = sum(result.tokens for result in results) / count
        starts = list(self._evaluator.results(Candidate(), self._rows))
        of_start = sum(result.seconds for result in starts) / max(1, len(starts))
        ratio = tokens / start.tokens if start.tokens else 1.0
        if of_start:
            ratio = sum(result.seconds for result in results) / count / of_start
        return RowCost(
            calls=max(1.0, sum(result.calls for result in results) / count),
            tokens=tokens,
            judge_tokens=sum(result.judge_tokens for result in results) / count,
            seconds=start.seconds * ratio,
        )

    async def _relative_size(self, candidate: Candidate) -> float:
        """Return the length of a candidate's first requests on the first row over the start's, 1 if unknown."""
        for asked in (Candidate(), candidate):
            if asked.key not in self._sizes:
                self._sizes[asked.key] = await self._evaluator.request_size(asked, self._rows[0])
        start, size = self._sizes[Candidate().key], self._sizes[candidate.key]
        return size / start if start and size else 1.0
