"""The schedule of a search over some parameters: smoke test, screening, race, proposals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from math import inf
from typing import Final

import numpy as np

from promptkit.errors import BudgetSpent
from promptkit.tuning.evaluator import partition_valid
from promptkit.tuning.progress import Incumbent, TuningProgress
from promptkit.tuning.proposals.proposer import Proposer
from promptkit.tuning.search.race import MORE_UNPARSED, ROWS_EACH, SMOKE_ROWS, Block, Race
from promptkit.tuning.search.screening import (
    LEAST_BUDGET,
    affordable_candidates,
    draw,
    finalists,
    main_effects,
    screen_rows,
    screen_size,
)
from promptkit.tuning.search.single_changes import single_changes
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

SMOKE_SHARE: Final = 0.1
PROPOSAL_SHARE: Final = 0.3
"""The share of the race's calls that is kept for a teacher's proposals."""

DROP_REASONS: Final = {
    "too many": "the budget cannot tell more candidates apart",
    "too costly": "alone it would take half of the budget",
    "format": "its answers do not parse",
    "no answer": "too many rows have no answer",
    "behind": "at least 2.5 standard errors behind the leader",
    "cut": "not among the best at a rung",
}


class Search:
    """A search on one evaluator: smoke test, screening, race, proposals.

    `order` holds the rows in the one order for all candidates, `base` what is chosen already. `entrants` race in any
    case, before all that screening admits; the first is the incumbent until a race finds a better one. Candidates of
    more than `most_requests` per row, relative to the start, are left out. `proposer` gives further candidates once the
    race is over. `result` is filled as the search goes on, added to that of an earlier search. All choices depend on
    the results, the calls and the seed alone: a repeated search asks only for what is missing, and ends the same.
    """

    def __init__(
        self,
        estimates: Estimates,
        order: Sequence[int],
        parameters: Sequence[Parameter],
        *,
        progress: TuningProgress,
        base: Candidate | None = None,
        step: str | None = None,
        seed: int = 0,
        most_requests: float | None = None,
        entrants: Sequence[Candidate] = (),
        proposer: Proposer | None = None,
        result: SearchResult | None = None,
    ) -> None:
        self._estimates = estimates
        self._evaluator = estimates.evaluator
        self._order = tuple(order)
        self._parameters = tuple(parameters)
        self._progress = progress
        self._base = base or Candidate()
        self._step = step
        self._seed = seed
        self._most_requests = most_requests
        self._entrants = tuple(entrants)
        self._proposer = proposer
        self._result = result or SearchResult()
        self._result.incumbent = self._result.calibrated = entrants[0] if entrants else self._base
        self._result.finalists = []
        self._result.effects = None
        self._calls_a_row = 1.0
        self._began = self._end = 0.0

    async def run(self, calls: int) -> SearchResult:
        """Search within a number of calls. Raises SearchFailed if the model is gone, and StoreFailed."""
        budget = self._evaluator.budget
        self._began, self._end = budget.spent, budget.spent + calls
        with limited_budget(budget, calls):
            try:
                await self._smoke()
                seen = await self._screen() if self._left() >= LEAST_BUDGET * self._calls_a_row else []
                await self._race_finalists(seen)
            except BudgetSpent:
                self._progress.note("the budget ended in the middle of a block, which is not counted")
        incumbent = self._result.incumbent
        asked = self._result.trials[incumbent.key].rows if incumbent.key in self._result.trials else ()
        self._result.calibrated = await self._estimates.calibration.freeze(incumbent, asked)
        return self._result

    def _left(self) -> int:
        return max(0, int(self._end - self._evaluator.budget.spent))

    async def _smoke(self) -> None:
        """Evaluate the start and one candidate per way to decide; prune a way whose answers do not parse."""
        rows, before = self._order[:SMOKE_ROWS], self._evaluator.budget.spent
        self._progress.begin_stage("smoke", 1, self._step)
        await self._evaluator.evaluate([self._base], rows)
        results = list(self._evaluator.results(self._base, rows))
        self._calls_a_row = sum(result.calls for result in results) / max(1, len(results)) or 1.0
        self._parameters = prune_expensive(self._parameters, self._most_requests, self._progress)
        tried: list[Candidate] = []
        for parameter, choice in decide_choices(self._parameters):
            if (len(tried) + 1) * len(rows) * self._calls_a_row > SMOKE_SHARE * self._left():
                break
            candidate = self._on_base(Candidate().with_choice(parameter.name, choice))
            if partition_valid(self._evaluator, [candidate])[0]:
                tried.append(candidate)
                await self._evaluator.evaluate([candidate], rows)
                self._leave_unreadable(parameter, choice, candidate, rows)
        self._end_stage("smoke", [self._base, *tried], rows, before)

    def _leave_unreadable(
        self, parameter: Parameter, choice: Choice, candidate: Candidate, rows: Sequence[int]
    ) -> None:
        ours, starts = (
            sum(result.unparsed for result in self._evaluator.results(compared, rows))
            for compared in (candidate, self._base)
        )
        outside = self._estimates.calibration.outside(candidate, rows)
        if ours < starts + MORE_UNPARSED and not outside:
            return
        why = (
            "labels lie outside the log-probabilities that the model returns"
            if outside
            else f"{ours:g} of {len(rows)} answers do not parse"
        )
        setting = "; ".join(f"{key}: {value}" for key, value in decide_setting(choice).items())
        self._progress.note(f"`{setting}` is left out: {why}")
        self._parameters = prune_decide(self._parameters, parameter, choice)

    async def _screen(self) -> list[tuple[Candidate, float]]:
        """Evaluate random joint configurations on a few common rows; return them, without the base, with their
        means.
        """
        calls, before = self._left(), self._evaluator.budget.spent
        row_calls = max(1, int(calls / self._calls_a_row))
        drawn = affordable_candidates(
            await self._valid(draw(self._parameters, screen_size(row_calls), self._seed)), row_calls
        )
        rows = self._order[: screen_rows(row_calls, [candidate.requests for candidate in drawn], len(self._order))]
        asked = [self._on_base(candidate) for candidate in drawn]
        self._progress.begin_stage("screen", len(asked), self._step)
        await self._evaluator.evaluate(asked, rows)
        scores = [self._estimates.means(candidate, rows).score for candidate in asked]
        self._result.effects = main_effects(drawn, scores, [len(rows)] * len(drawn), self._parameters)
        self._end_stage("screen", asked, rows, before)
        seen = list(zip(drawn, scores, strict=True))
        if not self._entrants:
            # Until a race finds better: a limit may end it within its first block.
            likeliest = self._on_base(max(seen, key=lambda pair: self._likely(*pair))[0])
            self._result.incumbent = self._result.calibrated = likeliest
            self._set_leader(likeliest, rows)
        return seen

    def _likely(self, drawn: Candidate, score: float) -> float:
        return self._result.effects.likely(drawn, score) if self._result.effects else score

    async def _race_finalists(self, seen: Sequence[tuple[Candidate, float]]) -> None:
        """Race the finalists of screening or, without screening, candidates of one change each."""
        effects = self._result.effects
        if effects is None:
            size = max(2, int(self._left() / self._calls_a_row / ROWS_EACH))
            entering = single_changes(self._parameters, size, self._seed)
        else:
            entering = finalists(effects, seen)
        entering = distinct([Candidate(), *self._entrants, *entering])
        left = self._left()
        calls = left * (1.0 if self._proposer is None else 1 - PROPOSAL_SHARE)
        await self._race("race", [self._on_base(candidate) for candidate in await self._valid(entering)], int(calls))
        if self._proposer is not None:
            await self._race_proposals(self._proposer, left)

    async def _race_proposals(self, proposer: Proposer, calls: int) -> None:
        """Race a teacher's proposals for the leader against it, and then the crossover of the two best.

        `calls` were available for the race and for this.
        """
        leader = self._result.incumbent
        seen = self._result.trials[leader.key].rows if leader.key in self._result.trials else ()
        rows = await proposer.rows_to_learn_from(leader, self._order, len(seen), self._left(), of=calls)
        proposed = partition_valid(self._evaluator, await proposer.propose(leader, rows, self._left(), of=calls))[0]
        if not proposed:
            return
        await self._race("wording", [leader, *proposed], self._left())
        two = [candidate for candidate in self._result.finalists if candidate.key != leader.key][:2]
        shared = self._order[
            : min((self._evaluator.known_rows(candidate, self._order) for candidate in two), default=0)
        ]
        if (
            len(two) == 2
            and (merged := proposer.crossover(leader, two, shared))
            and partition_valid(self._evaluator, [merged])[0]
        ):
            await self._race("merge", [self._result.incumbent, merged], self._left())

    async def _race(self, stage: str, candidates: Sequence[Candidate], calls: int) -> None:
        """Race candidates, the first being the one to beat; the winner becomes the incumbent."""
        order, before = self._order, self._evaluator.budget.spent
        runner = RaceRunner(
            self._estimates,
            order,
            candidates,
            calls=calls,
            spent=before - self._began,
            calls_a_request=self._calls_a_row / self._base.requests,
        )
        self._progress.begin_stage(stage, len(runner.candidates), self._step)
        reported: set[int] = set()
        self._report_dropped(runner, reported)
        try:
            async for block in runner.blocks():
                self._result.incumbent = self._result.calibrated = runner.incumbent
                self._set_leader(runner.incumbent, order[: block.rows.stop])
                self._report_dropped(runner, reported)
        finally:
            self._add_trials(stage, runner)
        furthest = max(entry.rows for entry in runner.race.entries)
        if furthest:
            self._result.incumbent, self._result.finalists = runner.incumbent, runner.finalists
        notes = (self._unreadable(runner),) if runner.race.unreadable else ()
        for text in notes:
            self._progress.note(text)
        self._end_stage(stage, runner.candidates, order[:furthest], before, notes)

    def _unreadable(self, runner: RaceRunner) -> str:
        results = (
            result
            for candidate in runner.candidates
            for result in self._evaluator.results(candidate, self._order[:SMOKE_ROWS])
        )
        parse = not any(result.unparsed for result in results)
        return "no candidate has answers" if parse else "no candidate's answers parse: check the answer format"

    async def _valid(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates, without the base, that are possible, ask differently and are not too costly."""
        kept: dict[str, Candidate] = {}
        for given in candidates:
            merged = self._on_base(given)
            good, wrong = partition_valid(self._evaluator, [merged])
            if good and given.requests <= (self._most_requests or inf):
                kept[merged.key] = given
            for candidate, why in wrong:
                self._progress.note(f"`{self._evaluator.label(candidate)}` is not possible: {why}")
        merged_ones = [self._on_base(candidate) for candidate in kept.values()]
        distinct_ones = await self._evaluator.deduplicate(merged_ones, self._order)
        return [kept[candidate.key] for candidate in distinct_ones]

    def _on_base(self, candidate: Candidate) -> Candidate:
        return Candidate({**self._base.choices, **candidate.choices})

    def _set_leader(self, candidate: Candidate, rows: Sequence[int]) -> None:
        estimate = self._estimates.estimate_record(candidate, rows)
        label = self._evaluator.label(candidate)
        self._progress.best = Incumbent(label, estimate["mean"], estimate["low"], estimate["high"])

    def _report_dropped(self, runner: RaceRunner, reported: set[int]) -> None:
        for at, entry in enumerate(runner.race.entries):
            if entry.why is not None and at not in reported:
                reported.add(at)
                self._progress.drop(self._evaluator.label(runner.candidates[at]), DROP_REASONS[entry.why])

    def _add_trials(self, stage: str, runner: RaceRunner) -> None:
        for candidate, entry in zip(runner.candidates, runner.race.entries, strict=True):
            # Rows of a block that broke off do not count: which of them finished is chance.
            before = self._result.trials.get(candidate.key)
            rows = max((self._order[: entry.rows], before.rows if before else ()), key=len)
            why = DROP_REASONS[entry.why] if entry.why else ""
            self._result.add_trial(
                Trial(candidate=candidate, stage=stage, rows=rows, dropped_at=entry.dropped_at, why=why)
            )

    def _end_stage(
        self, name: str, asked: Sequence[Candidate], rows: Sequence[int], before: int, notes: tuple[str, ...] = ()
    ) -> None:
        for candidate in asked:
            if candidate.key not in self._result.trials:
                why = "" if candidate == self._base else "not among the best of the screen"
                at = None if candidate == self._base else len(rows)
                self._result.add_trial(Trial(candidate=candidate, stage=name, rows=tuple(rows), dropped_at=at, why=why))
        calls = self._evaluator.budget.spent - before
        self._result.stages.append(
            Stage(name=name, step=self._step, candidates=len(asked), rows=len(rows), calls=calls, notes=notes)
        )


class RaceRunner:
    """Runs a race on an evaluator: evaluates the blocks that the race asks for, and tells it the scores.

    The race is over the rows of an order, within `calls` calls; the first candidate is the one to beat. A row without
    results is assumed to cost the candidate's requests times `calls_a_request`. `spent` calls of the same budget went
    before the race. `race` has the state, by the candidates' places in `candidates`.
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
    ) -> None:
        self.candidates = tuple(distinct(candidates))
        self._estimates = estimates
        self._evaluator = estimates.evaluator
        self._order = tuple(order)
        self._calls_a_request = calls_a_request
        known = [self._evaluator.known_rows(candidate, self._order) for candidate in self.candidates]
        costs = [self._cost(*pair) for pair in zip(self.candidates, known, strict=True)]
        self.race = Race(costs=costs, rows=len(self._order), budget=calls, spent=spent, known=known)

    async def blocks(self) -> AsyncIterator[Block]:
        """Evaluate each block that is due, and yield it once the race has its scores.

        Raises the errors of `Evaluator.evaluate`; the race then stands where it stood before the block.
        """
        while (block := self.race.ask()) is not None:
            before = self._evaluator.budget.spent
            alive = [self.candidates[place] for place in block.alive]
            await self._evaluator.evaluate(alive, [self._order[at] for at in block.rows])
            # Counted by the budget: no result's calls include a request that the model refused.
            self._tell(block, self._evaluator.budget.spent - before)
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
            scores[place] = self._estimates.calibration.scores(candidate, rows)
            unparsed[place] = np.array([1.0 if result is None else result.unparsed for result in results])
            tokens[place] = sum(result.tokens for result in results if result) / len(rows)
        self.race.tell(scores, unparsed, calls, tokens)

    def _cost(self, candidate: Candidate, known: int) -> float:
        """Return the cost of a row in calls: as measured, otherwise as its techniques predict."""
        results = list(self._evaluator.results(candidate, self._order[:known]))
        if results:
            return max(1.0, sum(result.calls for result in results) / len(results))
        return max(1.0, self._calls_a_request * candidate.requests)
