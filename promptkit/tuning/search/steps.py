"""The search over a target of several steps: each step alone, then all steps together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from promptkit.errors import BudgetSpent
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search.search import Search
from promptkit.tuning.search_space.candidate import Candidate, Parameter, distinct
from promptkit.tuning.trials import SearchResult

if TYPE_CHECKING:
    from promptkit.runtimes.budget import Budget
    from promptkit.tuning.data_split import DataSplit
    from promptkit.tuning.evaluator import Evaluator
    from promptkit.tuning.options import Mode
    from promptkit.tuning.progress import TuningProgress
    from promptkit.tuning.proposals.proposer import Proposer
    from promptkit.tuning.search.screening import Effects
    from promptkit.tuning.trials import Estimates

CHECK_ROWS: Final = 20
MOST_DROP: Final = 0.10
"""A step that is so much worse on what the steps before it really give is told of."""
ALONE_SHARE: Final = 0.7
"""Of the calls, for each step alone; the rest is for all together, against labels that do not serve the end."""
CHOICES_IN_QUESTION: Final = 3
"""So many levels of an axis are tried together with those of other steps, or all that are left in question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Where candidates are measured: the cells, and the rows that they are of."""

    evidence: Estimates
    ground: DataSplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """The whole target, and the steps that have labels of their own, each alone on the inputs that its rows give.

    `recorded` gives such a step on what the steps before it really give, at the same places.
    """

    whole: Objective
    alone: Mapping[str, Objective]
    recorded: Callable[[str], Evaluator]


class StepsSearch:
    """The search over all axes. `found` is filled as it goes on, so that one that is broken off leaves what it had.

    `teach` gives what teaches a step on a bed, None without a teacher.
    """

    def __init__(
        self,
        beds: Objectives,
        axes: Sequence[Parameter],
        *,
        standing: TuningProgress,
        mode: Mode,
        seed: int,
        most_requests: float,
        found: SearchResult | None = None,
        teach: Callable[[Objective, str], Proposer] | None = None,
    ) -> None:
        self._beds = beds
        self._axes = tuple(axes)
        self._standing = standing
        self._mode = mode
        self._seed = seed
        self._most_requests = most_requests
        self._teach = teach
        self._found = found or SearchResult()

    async def run(self, calls: int) -> SearchResult:
        """Search within so many calls, and return what was found on the whole target.

        Raises SearchFailed where the model is gone, and StoreFailed.
        """
        steps = list(dict.fromkeys(axis.step for axis in self._axes))
        if len(steps) < 2 or self._mode == "joint":
            only = steps[0] if len(steps) == 1 else None
            if self._teach is not None and only is None:
                self._standing.note("the teacher is not asked: it teaches steps alone, and --joint has none")
            return await self._search(self._beds.whole, self._axes, only, calls)
        before = self._budget.spent
        winner, runners_up, effects = await self._each_alone(
            steps, calls if self._mode == "stepwise" else int(calls * ALONE_SHARE)
        )
        if self._mode == "stepwise":
            return self._found
        return await self._together(winner, runners_up, effects, calls - int(self._budget.spent - before))

    @property
    def _budget(self) -> Budget:
        return self._beds.whole.evidence.field.budget

    async def _each_alone(
        self, steps: Sequence[str], calls: int
    ) -> tuple[Candidate, list[Candidate], dict[str, Effects | None]]:
        """Search each step by itself, the last first; return what they chose together, their runners-up and effects.

        Those with labels are asked on gold inputs; the others on the final metric, with what was chosen for the steps
        after them: what follows a step must be good before it shows what the step is worth.
        """
        winner, runners_up, effects = Candidate(), [], {}
        for number, step in enumerate(reversed(steps)):
            own = [axis for axis in self._axes if axis.step == step]
            bed = self._beds.alone.get(step)
            base = Candidate() if bed is not None else winner
            share = calls // (len(steps) - number)
            before = self._budget.spent
            found = await self._search(bed or self._beds.whole, own, step, share, base=base)
            if bed is not None:
                await self._check_recorded(bed, step, found)
            calls -= int(self._budget.spent - before)
            winner = Candidate({**winner.choices, **_of_step(found.chosen, step).choices})
            runners_up += [_of_step(each, step) for each in found.ranked[1:2]]
            effects[step] = found.effects
            self._found.pick = self._found.chosen = winner
        return winner, runners_up, effects

    async def _check_recorded(self, bed: Objective, step: str, found: SearchResult) -> None:
        """Tell where what was chosen on gold inputs is much worse on what the steps before the step really give.

        As many calls are counted for the steps before as the whole start takes, whether they are asked or known.
        """
        rows, field, whole = bed.ground.order[:CHECK_ROWS], self._beds.recorded(step), self._beds.whole
        chosen = bed.evidence.aims(found.pick, rows)
        start = whole.evidence.aims(Candidate(), whole.ground.order[:SMOKE_ROWS])
        calls = self._budget.spent + ceil(len(rows) * (chosen.calls + start.calls))
        tokens = self._budget.spent_tokens + ceil(len(rows) * (chosen.tokens + start.tokens))
        if calls > self._budget.most:
            return
        try:
            await field.have([found.chosen], rows)
        except BudgetSpent:
            return
        self._budget.reach(calls, tokens)
        gold = chosen.score
        scores = [each.score for each in field.cells(found.chosen, rows) if each.score is not None]
        real = sum(scores) / len(scores) if scores else gold
        if gold - real > MOST_DROP:
            told = f"`{step}` is right on {gold:.0%} of {len(rows)} rows with the inputs of the data"
            self._standing.note(f"{told}, and on {real:.0%} with what the steps before it give")

    async def _together(
        self, winner: Candidate, runners_up: Sequence[Candidate], effects: Mapping[str, Effects | None], calls: int
    ) -> SearchResult:
        """Race the winner of all steps, the start, and the winner with one step swapped, on the final metric.

        Screened beside them are joint configurations of the choices in question, in which two may help each other that
        are worse alone.
        """
        swapped_back = [_without_step(winner, step) for step in effects]
        next_best = [Candidate({**winner.choices, **each.choices}) for each in runners_up]
        entrants = [winner, *swapped_back, *next_best]
        axes = [_in_question(axis, [winner, *runners_up], effects[axis.step]) for axis in self._axes]
        axes = [axis for axis in axes if len(axis.levels) > 1]
        return await self._search(self._beds.whole, axes, None, calls, entrants=distinct(entrants))

    async def _search(
        self,
        bed: Objective,
        axes: Sequence[Parameter],
        step: str | None,
        calls: int,
        *,
        base: Candidate | None = None,
        entrants: Sequence[Candidate] = (),
    ) -> SearchResult:
        is_whole = bed is self._beds.whole
        own = self._found if is_whole else SearchResult()
        search = Search(
            bed.evidence,
            bed.ground.order,
            axes,
            standing=self._standing,
            base=base,
            step=step,
            seed=self._seed,
            most_requests=self._most_requests,
            entrants=entrants,
            teaching=self._teach(bed, step) if self._teach is not None and step is not None else None,
            found=own,
        )
        try:
            return await search.run(calls)
        finally:
            if not is_whole and step is not None:  # What ends it here leaves the best so far of this step too.
                self._found.stages += own.stages
                best = Candidate({**self._found.pick.choices, **_of_step(own.chosen, step).choices})
                self._found.pick = self._found.chosen = best


def _of_step(candidate: Candidate, step: str) -> Candidate:
    """Return what a candidate changes in a step."""
    return Candidate({axis: level for axis, level in candidate.choices.items() if axis.split(".")[0] == step})


def _without_step(candidate: Candidate, step: str) -> Candidate:
    """Return a candidate with a step as it is written."""
    return Candidate({axis: level for axis, level in candidate.choices.items() if axis.split(".")[0] != step})


def _in_question(axis: Parameter, chosen: Sequence[Candidate], effects: Effects | None) -> Parameter:
    """Return an axis with the levels that the steps alone left in question: the start's, and those of `chosen`.

    Where these are few, so are the next best by `effects`: what is worse alone may be better together.
    """
    screened = next((each for each in effects.axes if each.name == axis.name), None) if effects else None
    others = effects.ranked(screened) if effects and screened else axis.levels
    kept = [axis.levels[0], *(level for each in chosen if (level := each.choices.get(axis.name)) is not None)]
    kept = list(dict.fromkeys(kept))
    kept += [each for each in others if each not in kept][: max(0, CHOICES_IN_QUESTION - len(kept))]
    return Parameter(name=axis.name, step=axis.step, kind=axis.kind, levels=tuple(kept))
