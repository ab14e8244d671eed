"""The schedule of a search over some parameters: smoke test, screening, race, proposals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from promptkit.errors import BudgetSpent
from promptkit.tuning.evaluator import partition_valid
from promptkit.tuning.progress import Incumbent, TuningProgress
from promptkit.tuning.search.race import MORE_UNPARSED, ROWS_EACH, SMOKE_ROWS, Race
from promptkit.tuning.search.screening import (
    LEAST_BUDGET,
    affordable_candidates,
    draw,
    finalists,
    main_effects,
    screen_rows,
    screen_size,
)
from promptkit.tuning.search_space.candidate import (
    Candidate,
    Choice,
    Parameter,
    decide_choices,
    decide_setting,
    distinct,
    prune_decide,
    prune_expensive,
)
from promptkit.tuning.trials import Estimates, SearchResult, Stage, Trial, limited_budget

if TYPE_CHECKING:
    from promptkit.tuning.proposals.proposer import Proposer
    from promptkit.tuning.search.race import Block

SMOKE_SHARE: Final = 0.1
PROPOSAL_SHARE: Final = 0.3
"""What is kept of the race's calls for what a teacher proposes."""

DROP_REASONS: Final = {
    "too many": "the budget tells no more candidates apart",
    "too costly": "alone it would take half of the budget",
    "format": "its answers do not parse",
    "no answer": "too many rows have no answer",
    "behind": "2.5 standard errors behind the leader or more",
    "cut": "not among the best at a rung",
}


class Search:
    """A search on one field. `order` are the rows in the one order for all, `base` what is chosen already.

    `entrants` race in any case, before all that the screen lets in; the first is the pick until a race says more.
    Candidates of more than `most_requests` a row, of one of the start, are left out. `teaching` gives further
    candidates once the race is over. `found` is filled as it goes on, beside what it has of an earlier search. All
    choices are a function of the cells, the calls and the seed: a search that is made again asks only what is missing,
    and ends the same.
    """

    def __init__(
        self,
        evidence: Estimates,
        order: Sequence[int],
        axes: Sequence[Parameter],
        *,
        standing: TuningProgress,
        base: Candidate | None = None,
        step: str | None = None,
        seed: int = 0,
        most_requests: float | None = None,
        entrants: Sequence[Candidate] = (),
        teaching: Proposer | None = None,
        found: SearchResult | None = None,
    ) -> None:
        self._evidence = evidence
        self._field = evidence.field
        self._order = tuple(order)
        self._axes = tuple(axes)
        self._standing = standing
        self._base = base or Candidate()
        self._step = step
        self._seed = seed
        self._most_requests = most_requests
        self._entrants = tuple(entrants)
        self._teaching = teaching
        self._found = found or SearchResult()
        self._found.pick = self._found.chosen = entrants[0] if entrants else self._base
        self._found.ranked = []
        self._found.effects = None
        self._calls_a_row = 1.0
        self._began = self._end = 0.0

    async def run(self, calls: int) -> SearchResult:
        """Search within so many calls. Raises SearchFailed where the model is gone, and StoreFailed."""
        budget = self._field.budget
        self._began, self._end = budget.spent, budget.spent + calls
        with limited_budget(budget, calls):
            try:
                await self._smoke()
                seen = await self._screen() if self._left() >= LEAST_BUDGET * self._calls_a_row else []
                await self._main(seen)
            except BudgetSpent:
                self._standing.note("the budget ended in the middle of a block, which is left out")
        pick = self._found.pick
        asked = self._found.seen[pick.key].rows if pick.key in self._found.seen else ()
        self._found.chosen = await self._evidence.calibrating.frozen(pick, asked)
        return self._found

    def _left(self) -> int:
        return max(0, int(self._end - self._field.budget.spent))

    async def _smoke(self) -> None:
        """Ask the start, and one candidate of each way to decide; a way whose answers do not parse leaves the space."""
        rows, before = self._order[:SMOKE_ROWS], self._field.budget.spent
        self._standing.enter("smoke", 1, self._step)
        await self._field.have([self._base], rows)
        cells = list(self._field.cells(self._base, rows))
        self._calls_a_row = sum(each.calls for each in cells) / max(1, len(cells)) or 1.0
        self._axes = prune_expensive(self._axes, self._most_requests, self._standing)
        tried: list[Candidate] = []
        for axis, level in decide_choices(self._axes):
            if (len(tried) + 1) * len(rows) * self._calls_a_row > SMOKE_SHARE * self._left():
                break
            candidate = self._merged(Candidate().taking(axis.name, level))
            if partition_valid(self._field, [candidate])[0]:
                tried.append(candidate)
                await self._field.have([candidate], rows)
                self._leave_unreadable(axis, level, candidate, rows)
        self._done("smoke", [self._base, *tried], rows, before)

    def _leave_unreadable(self, axis: Parameter, level: Choice, candidate: Candidate, rows: Sequence[int]) -> None:
        ours, starts = (sum(each.unparsed for each in self._field.cells(own, rows)) for own in (candidate, self._base))
        outside = self._evidence.calibrating.outside(candidate, rows)
        if ours < starts + MORE_UNPARSED and not outside:
            return
        why = "labels lie outside what the model shows" if outside else f"{ours:g} of {len(rows)} answers do not parse"
        told = "; ".join(f"{key}: {value}" for key, value in decide_setting(level).items())
        self._standing.note(f"`{told}` is left out: {why}")
        self._axes = prune_decide(self._axes, axis, level)

    async def _screen(self) -> list[tuple[Candidate, float]]:
        """Ask random joint configurations on a few common rows; return them, as they differ from the base, by mean."""
        calls, before = self._left(), self._field.budget.spent
        each = max(1, int(calls / self._calls_a_row))
        drawn = affordable_candidates(await self._able(draw(self._axes, screen_size(each), self._seed)), each)
        rows = self._order[: screen_rows(each, [one.requests for one in drawn], len(self._order))]
        asked = [self._merged(one) for one in drawn]
        self._standing.enter("screen", len(asked), self._step)
        await self._field.have(asked, rows)
        scores = [self._evidence.aims(one, rows).score for one in asked]
        self._found.effects = main_effects(drawn, scores, [len(rows)] * len(drawn), self._axes)
        self._done("screen", asked, rows, before)
        seen = list(zip(drawn, scores, strict=True))
        if not self._entrants:
            # Until a race says more: a limit may end before its first block is through.
            likeliest = self._merged(max(seen, key=lambda each: self._likely(*each))[0])
            self._found.pick = self._found.chosen = likeliest
            self._lead(likeliest, rows)
        return seen

    def _likely(self, drawn: Candidate, score: float) -> float:
        return self._found.effects.likely(drawn, score) if self._found.effects else score

    async def _main(self, seen: Sequence[tuple[Candidate, float]]) -> None:
        """Race who a screen lets in, or, where the budget holds none, the ways to decide and random configurations."""
        effects = self._found.effects
        entering = self._unscreened() if effects is None else finalists(effects, seen)
        entering = distinct([Candidate(), *self._entrants, *entering])
        left = self._left()
        calls = left * (1.0 if self._teaching is None else 1 - PROPOSAL_SHARE)
        await self._race("race", [self._merged(each) for each in await self._able(entering)], int(calls))
        if self._teaching is not None:
            await self._taught(self._teaching, left)

    async def _taught(self, teaching: Proposer, calls: int) -> None:
        """Race what a teacher proposes for the leader against it, and then what two good proposals make together.

        `calls` were there for the race and for this.
        """
        leader = self._found.pick
        seen = self._found.seen[leader.key].rows if leader.key in self._found.seen else ()
        rows = await teaching.enough(leader, self._order, len(seen), self._left(), of=calls)
        proposed = partition_valid(self._field, await teaching.propose(leader, rows, self._left(), of=calls))[0]
        if not proposed:
            return
        await self._race("wording", [leader, *proposed], self._left())
        two = [each for each in self._found.ranked if each.key != leader.key][:2]
        shared = self._order[: min((self._field.known(each, self._order) for each in two), default=0)]
        if (
            len(two) == 2
            and (merged := teaching.merged(leader, two, shared))
            and partition_valid(self._field, [merged])[0]
        ):
            await self._race("merge", [self._found.pick, merged], self._left())

    def _unscreened(self) -> list[Candidate]:
        size = max(2, int(self._left() / self._calls_a_row / ROWS_EACH))
        deciding = [axis for axis in self._axes if axis.kind == "decide"]
        ways = [Candidate().taking(axis.name, level) for axis in deciding for level in axis.levels[1:]]
        others = draw(self._axes, 2 * size, self._seed)[1:]
        return distinct([Candidate(), *ways[: size // 2], *others])[:size]

    async def _race(self, stage: str, candidates: Sequence[Candidate], calls: int) -> None:
        """Race candidates, the first being what all else is to beat; the pick of the race is that of the search."""
        order, before = self._order, self._field.budget.spent
        racing = RaceRunner(
            self._evidence,
            order,
            candidates,
            calls=calls,
            spent=before - self._began,
            calls_a_request=self._calls_a_row / self._base.requests,
        )
        self._standing.enter(stage, len(racing.candidates), self._step)
        told: set[int] = set()
        self._tell_dropped(racing, told)
        try:
            async for block in racing.blocks():
                self._found.pick = self._found.chosen = racing.pick
                self._lead(racing.pick, order[: block.rows.stop])
                self._tell_dropped(racing, told)
        finally:
            self._note_lanes(stage, racing)
        furthest = max(lane.rows for lane in racing.race.lanes)
        if furthest:
            self._found.pick, self._found.ranked = racing.pick, racing.ranked
        notes = (self._unreadable(racing),) if racing.race.unreadable else ()
        for each in notes:
            self._standing.note(each)
        self._done(stage, racing.candidates, order[:furthest], before, notes)

    def _unreadable(self, racing: RaceRunner) -> str:
        cells = (cell for each in racing.candidates for cell in self._field.cells(each, self._order[:SMOKE_ROWS]))
        parse = not any(cell.unparsed for cell in cells)
        return "no candidate has answers" if parse else "no candidate's answers parse: the format is the problem"

    async def _able(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return those, as they differ from the base, that can be, ask differently and are not too dear."""
        kept: dict[str, Candidate] = {}
        for each in candidates:
            merged = self._merged(each)
            good, wrong = partition_valid(self._field, [merged])
            if good and each.requests <= (self._most_requests or inf):
                kept[merged.key] = each
            for one, why in wrong:
                self._standing.note(f"`{self._field.called(one)}` cannot be: {why}")
        merged_ones = [self._merged(each) for each in kept.values()]
        distinct_ones = await self._field.asking_differently(merged_ones, self._order)
        return [kept[each.key] for each in distinct_ones]

    def _merged(self, candidate: Candidate) -> Candidate:
        return Candidate({**self._base.choices, **candidate.choices})

    def _lead(self, candidate: Candidate, rows: Sequence[int]) -> None:
        said = self._evidence.record(candidate, rows)
        self._standing.best = Incumbent(self._field.called(candidate), said["mean"], said["low"], said["high"])

    def _tell_dropped(self, racing: RaceRunner, told: set[int]) -> None:
        for at, lane in enumerate(racing.race.lanes):
            if lane.why is not None and at not in told:
                told.add(at)
                self._standing.drop(self._field.called(racing.candidates[at]), DROP_REASONS[lane.why])

    def _note_lanes(self, stage: str, racing: RaceRunner) -> None:
        for candidate, lane in zip(racing.candidates, racing.race.lanes, strict=True):
            # Rows of a block that broke off are not among them: which these are is chance.
            before = self._found.seen.get(candidate.key)
            rows = max((self._order[: lane.rows], before.rows if before else ()), key=len)
            why = DROP_REASONS[lane.why] if lane.why else ""
            self._found.note(Trial(candidate=candidate, stage=stage, rows=rows, dropped_at=lane.dropped_at, why=why))

    def _done(
        self, name: str, asked: Sequence[Candidate], rows: Sequence[int], before: int, notes: tuple[str, ...] = ()
    ) -> None:
        for each in asked:
            if each.key not in self._found.seen:
                why = "" if each == self._base else "not among the best of the screen"
                at = None if each == self._base else len(rows)
                self._found.note(Trial(candidate=each, stage=name, rows=tuple(rows), dropped_at=at, why=why))
        calls = self._field.budget.spent - before
        self._found.stages.append(
            Stage(name=name, step=self._step, candidates=len(asked), rows=len(rows), calls=calls, notes=notes)
        )


class RaceRunner:
    """A race of candidates, the first being what all else is to beat, over the rows of an order, within so many calls.

    A row of a candidate that has no cells yet is taken to cost its requests times `calls_a_request`. `spent` calls of
    the same budget went before the race. `race` says how it stands, by the candidates' places in `candidates`.
    """

    def __init__(
        self,
        evidence: Estimates,
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
