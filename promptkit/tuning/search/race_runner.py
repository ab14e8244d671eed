"""The race on an evaluator: the blocks that it asks for are evaluated, and it is told their scores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import numpy as np

from promptkit.tuning.search.race import Block, Race
from promptkit.tuning.search_space.candidate import Candidate, distinct
from promptkit.tuning.trials import Estimates

DROP_REASONS: Final = {
    "too many": "the budget cannot tell more candidates apart",
    "too costly": "alone it would take half of the budget",
    "format": "its answers do not parse",
    "no answer": "too many rows have no answer",
    "repeats": "its requests so far are those of another candidate",
    "behind": "at least 2.5 standard errors behind the leader",
    "cut": "not among the best at a rung",
}


class RaceRunner:
    """Runs a race on an evaluator: evaluates the blocks that the race asks for, and tells it the scores.

    The race is over the rows of an order, within `calls` calls; the first candidate is the one to beat. A row without
    results is assumed to cost the candidate's requests times `calls_a_request`. `spent` calls of the same budget went
    before the race. `calls_left` reckons again after each block what the candidates alive may still spend, `weight` is
    what a call of a candidate counts if tokens or time end first. `race` has the state, by the candidates' places in
    `candidates`.
    """

    def __init__(
        self,
        estimates: Estimates,
        order: Sequence[int],
        candidates: Sequence[Candidate],
        *,
        calls: float,
        spent: float = 0.0,
        calls_a_request: float = 1.0,
        calls_left: Callable[[Sequence[Candidate]], Awaitable[float]] | None = None,
        weight: Callable[[Candidate], float] = lambda _: 1.0,
    ) -> None:
        self.candidates = tuple(distinct(candidates))
        self._estimates = estimates
        self._evaluator = estimates.evaluator
        self._order = tuple(order)
        self._calls_a_request = calls_a_request
        self._calls_left = calls_left
        known = [self._evaluator.known_rows(candidate, self._order) for candidate in self.candidates]
        costs = [weight(pair[0]) * self._cost(*pair) for pair in zip(self.candidates, known, strict=True)]
        preference = estimates.preference
        starts = list(self._evaluator.results(self.candidates[0], self._order[: known[0]]))
        self.race = Race(
            costs=costs,
            rows=len(self._order),
            budget=calls,
            equal=preference.equal,
            keeps_cheap=preference.keeps_cheap,
            swing=preference.swing(starts),
            spent=spent,
            known=known,
        )

    async def blocks(self) -> AsyncIterator[Block]:
        """Evaluate each block that is due, and yield it once the race has its scores.

        Raises the errors of `Evaluator.evaluate`; the race then stands where it stood before the block.
        """
        while (block := self.race.ask()) is not None:
            before = self._evaluator.budget.spent
            alive = [self.candidates[place] for place in block.alive]
            await self._evaluator.evaluate(alive, [self._order[at] for at in block.rows])
            # Counted by the budget: no result's calls include a request that the model refused.
            calls = self._evaluator.budget.spent - before
            if self._calls_left is not None:
                self.race.budget_left = calls + await self._calls_left(alive)
            self._tell(block, calls)
            yield block

    @property
    def incumbent(self) -> Candidate:
        """The incumbent of the race; before its end the best so far."""
        return self.candidates[self.race.incumbent]

    @property
    def finalists(self) -> list[Candidate]:
        """The candidates that are alive, the incumbent first."""
        race = self.race
        return [self.incumbent, *(self.candidates[place] for place in race.finalists if place != race.incumbent)]

    def _tell(self, block: Block, calls: int) -> None:
        rows = self._order[: block.rows.stop]
        scores, unparsed, tokens = {}, {}, {}
        for place in block.alive:
            candidate = self.candidates[place]
            results = [self._evaluator.result(candidate, row) for row in rows]
            scores[place] = self._estimates.values(candidate, rows)
            unparsed[place] = np.array([1.0 if result is None else result.unparsed for result in results])
            tokens[place] = sum(result.tokens for result in results if result) / len(rows)
        shown = {place: len(self.candidates[place].shows.intersection(rows)) for place in block.alive}
        self.race.tell(scores, unparsed, calls, tokens, shown, self._repeats(block.alive, rows))

    def _repeats(self, alive: Sequence[int], rows: Sequence[int]) -> list[int]:
        """Return the candidates whose requests on all rows are those of an earlier one."""
        first: list[Candidate] = []
        repeats = []
        for place in alive:
            candidate = self.candidates[place]
            if any(self._evaluator.has_same_requests(other, candidate, rows) for other in first):
                repeats.append(place)
            else:
                first.append(candidate)
        return repeats

    def _cost(self, candidate: Candidate, known: int) -> float:
        """Return the cost of a row in calls: as measured, otherwise as its techniques predict."""
        results = list(self._evaluator.results(candidate, self._order[:known]))
        if results:
            return max(1.0, sum(result.calls for result in results) / len(results))
        return max(1.0, self._calls_a_request * candidate.requests)
