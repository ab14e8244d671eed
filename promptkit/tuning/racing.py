"""A race on a field: the cells that the race wants are asked, and what they gave is handed to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from promptkit.tuning.candidate import distinct
from promptkit.tuning.race import Race

if TYPE_CHECKING:
    from promptkit.tuning.candidate import Candidate
    from promptkit.tuning.evidence import Evidence
    from promptkit.tuning.race import Block


class Racing:
    """A race of candidates, the first being what all else is to beat, over the rows of an order, within so many calls.

    A row of a candidate that has no cells yet is taken to cost its requests times `calls_a_request`. `spent` calls of
    the same budget went before the race. `race` says how it stands, by the candidates' places in `candidates`.
    """

    def __init__(
        self,
        evidence: Evidence,
        order: Sequence[int],
        candidates: Sequence[Candidate],
        *,
        calls: float,
        spent: float = 0.0,
        calls_a_request: float = 1.0,
    ) -> None:
        self.candidates = tuple(distinct(candidates))
        self._evidence = evidence
        self._field = evidence.field
        self._order = tuple(order)
        self._calls_a_request = calls_a_request
        known = [self._field.known(each, self._order) for each in self.candidates]
        costs = [self._cost(*each) for each in zip(self.candidates, known, strict=True)]
        self.race = Race(costs=costs, rows=len(self._order), budget=calls, spent=spent, known=known)

    async def blocks(self) -> AsyncIterator[Block]:
        """Ask each block that is due, and yield it once the race has what it gave.

        Raises what `Field.have` raises; then the block is not given, and the race stands where it stood before it.
        """
        while (block := self.race.next()) is not None:
            before = self._field.budget.spent
            alive = [self.candidates[each] for each in block.alive]
            await self._field.have(alive, [self._order[at] for at in block.rows])
            # Of the budget, not of the cells: a request that the model refused is in no cell's calls.
            self._give(block, self._field.budget.spent - before)
            yield block

    @property
    def pick(self) -> Candidate:
        """The pick of the race; before its end the best so far."""
        return self.candidates[self.race.pick]

    @property
    def ranked(self) -> list[Candidate]:
        """Who is alive, the pick first."""
        race = self.race
        return [self.pick, *(self.candidates[each] for each in race.finalists if each != race.pick)]

    def _give(self, block: Block, calls: int) -> None:
        import numpy as np

        rows = self._order[: block.rows.stop]
        scores, unparsed, tokens = {}, {}, {}
        for each in block.alive:
            candidate = self.candidates[each]
            cells = [self._field.cell(candidate, row) for row in rows]
            scores[each] = self._evidence.calibrating.scores(candidate, rows)
            unparsed[each] = np.array([1.0 if cell is None else cell.unparsed for cell in cells])
            tokens[each] = sum(cell.tokens for cell in cells if cell) / len(rows)
        self.race.give(scores, unparsed, calls, tokens)

    def _cost(self, candidate: Candidate, known: int) -> float:
        """Return how many calls a row costs: as measured, else as its techniques say."""
        cells = list(self._field.cells(candidate, self._order[:known]))
        if cells:
            return max(1.0, sum(each.calls for each in cells) / len(cells))
        return max(1.0, self._calls_a_request * candidate.requests)
