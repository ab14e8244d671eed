"""A teacher in a search: asked about the leader of a race when there is something to learn from, and to be merged."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from promptkit.tuning.failing import find_failures
from promptkit.tuning.merging import merge
from promptkit.tuning.race import BLOCK, ROWS_EACH
from promptkit.tuning.teacher import (
    LEAST_FAILURES,
    LEAST_LEFT,
    MOST_PROPOSALS,
    propose,
    why_not_own_teacher,
    why_not_taught,
)

if TYPE_CHECKING:
    from promptkit.runtimes import Asker, Model, Models
    from promptkit.tuning.candidate import Candidate
    from promptkit.tuning.field import Field
    from promptkit.tuning.ground import Ground
    from promptkit.tuning.standing import Standing


class Teaching:
    """Proposals for one step on one field."""

    def __init__(self, field: Field, ground: Ground, step: str, teacher: Asker, standing: Standing) -> None:
        self._field = field
        self._ground = ground
        self._step = step
        self._teacher = teacher
        self._standing = standing

    async def enough(self, leader: Candidate, order: Sequence[int], seen: int, calls: int, *, of: int) -> Sequence[int]:
        """Return rows of an order, from its first, on which a leader fails often enough to learn from.

        Beyond those `seen` it is asked more, as long as of the `calls` that are left `of` those for the race and for
        this enough remain to race proposals. Where that is not enough all that it was asked are returned. Raises
        BudgetSpent.
        """
        rows = order[:seen]
        while len(rows) < len(order) and find_failures(self._field, leader, rows).failed < LEAST_FAILURES:
            more = order[: len(rows) + BLOCK]
            calls -= ceil((len(more) - len(rows)) * leader.requests)
            if calls < LEAST_LEFT * of:
                break
            await self._field.have([leader], more)
            rows = more
        return rows

    async def propose(self, leader: Candidate, rows: Sequence[int], calls: int, *, of: int) -> list[Candidate]:
        """Return what is proposed for the leader of a race by what it got wrong on `rows`, within so many calls.

        These are what is left `of` those for the race and for this. What is refused is told. Raises BudgetSpent.
        """
        if why := why_not_taught(self._field, leader, rows, left=calls / max(1, of)):
            self._standing.note(why)
            return []
        most = min(MOST_PROPOSALS, calls // (ROWS_EACH + 1))
        found = await propose(self._field, self._ground.search, leader, self._step, self._teacher, most=most)
        for each in found.refused:
            self._standing.note(f"a proposal for `{self._step}` is refused: {each.why}")
        return list(found.candidates)

    def merged(self, leader: Candidate, two: Sequence[Candidate], rows: Sequence[int]) -> Candidate | None:
        """Return one that has of two proposals for the leader what each changed, None where that is no other one."""
        return merge(self._field, rows, leader, two[0], two[1])


async def find_teacher(
    named: str | None, own: str | None, model: Model, models: Models, standing: Standing
) -> Asker | None:
    """Return who proposes: who was named, else the tuned model where it is large enough; None is told with why.

    `own` is what the tuned `model` is called, None for the default.
    """
    if named is not None:
        return await models.get(named)
    if why := why_not_own_teacher(model):
        standing.note(why)
        return None
    return await models.get(own)
