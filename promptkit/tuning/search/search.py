"""The schedule of a search over some parameters: smoke test, screening, race, proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Final

from promptkit.errors import BudgetSpent
from promptkit.tuning.evaluator import partition_valid
from promptkit.tuning.prior.effect_prior import EffectPrior
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.proposals.proposer import MOST_PROPOSALS, Proposer
from promptkit.tuning.reserve import ConfirmationReserve
from promptkit.tuning.search.demonstration_effects import best_demonstrations
from promptkit.tuning.search.effects import Effects, main_effects
from promptkit.tuning.search.race import MORE_UNPARSED, ROWS_EACH, SMOKE_ROWS
from promptkit.tuning.search.race_runner import DROP_REASONS, RaceRunner
from promptkit.tuning.search.screening import (
    LEAST_BUDGET,
    LEAST_ROWS,
    SCREENING_SHARE,
    Screen,
    affordable_candidates,
    draw,
    draw_likely,
    finalists,
    first_part,
    measured_screen_rows,
    screen_rows,
    screen_size,
    within_cost,
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
)
from promptkit.tuning.trials import Estimates, SearchResult, Stage, Trial

SMOKE_SHARE: Final = 0.1
PROBE_ROWS: Final = 32
"""Rows that the start is evaluated on before a search ends because all scores are equal."""
START_SHARE: Final = 0.1
"""The largest share of the calls that the start may take to catch up with the incumbent."""
PROPOSAL_SHARE: Final = 0.3
"""The share of the race's calls that is kept for a teacher's proposals."""
MOST_ROUNDS: Final = 5
ROUND_CALLS: Final = (MOST_PROPOSALS + 1) * ROWS_EACH
"""A round of proposals takes about so many calls: the leader and the proposals on a few rows."""


class Search:
    """A search on one evaluator: smoke test, screening, race, proposals.

    `order` holds the rows in the one order for all candidates, `base` what is chosen already. `entrants` race in any
    case, before all that screening admits; the first is the incumbent until a race finds a better one. `own`, a
    person's variants, race in any case too. `reserve` sets aside what the confirmation of the candidates alive needs.
    `prior`: effects of choices in earlier tunings. `proposer` gives further candidates once the race is over. `result`
    is filled as the search goes on, added to that of an earlier search. All choices depend on the results, the calls,
    the seed and the prior alone: a repeated search asks only for what is missing, and ends the same.
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
        reserve: ConfirmationReserve | None = None,
        entrants: Sequence[Candidate] = (),
        own: Sequence[Candidate] = (),
        prior: EffectPrior | None = None,
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
        self._reserve = reserve or ConfirmationReserve(estimates.evaluator.budget)
        self._entrants = tuple(entrants)
        self._own = tuple(own)
        self._prior = prior
        self._proposer = proposer
        self._result = result or SearchResult()
        self._result.incumbent = self._result.calibrated = entrants[0] if entrants else self._base
        self._result.finalists = []
        self._result.effects = self._result.effects_alone = None
        self._calls_a_row = 1.0
        self._began = 0

    async def run(self, calls: int | None) -> SearchResult:
        """Search within a number of calls, None for all that the reserve leaves.

        Raises SearchFailed if the model is gone, and StoreFailed.
        """
        self._began = self._evaluator.budget.spent
        with self._reserve.share(calls):
            try:
                await self._smoke()
                in_all = self._left()
                screen = await self._screen() if self._left() >= LEAST_BUDGET * self._calls_a_row else None
                if screen is None or not await self._scores_are_equal([candidate for candidate, _ in screen.seen]):
                    await self._race_finalists(screen)
                    await self._complete_start(in_all)
            except BudgetSpent:
                self._progress.note("the budget ended in the middle of a block, which is not counted")
        incumbent = self._result.incumbent
        asked = self._result.trials[incumbent.key].rows if incumbent.key in self._result.trials else ()
        self._result.calibrated = await self._estimates.calibration.freeze(incumbent, asked)
        return self._result

    def _left(self) -> int:
        return int(self._reserve.calls_left)

    def _row_calls(self) -> int:
        """Return the number of rows of the base that the calls left would pay."""
        return max(1, int(self._left() / self._calls_a_row))

    async def _smoke(self) -> None:
        """Evaluate the start and one candidate per way to decide; prune a way whose answers do not parse."""
        rows, before = self._order[:SMOKE_ROWS], self._evaluator.budget.spent
        self._progress.begin_stage("smoke", 1, self._step)
        await self._evaluator.evaluate([self._base], rows)
        results = list(self._evaluator.results(self._base, rows))
        self._calls_a_row = sum(result.calls for result in results) / max(1, len(results)) or 1.0
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

    async def _screen(self) -> Screen | None:
        """Evaluate joint configurations on a few common rows: random ones, then those that look likely after these.

        None if the candidates take so many tokens or so much time that the budget holds no screening.
        """
        before = self._evaluator.budget.spent
        size = screen_size(self._row_calls())
        first = first_part(size)
        drawn = await self._valid(draw(self._parameters, first, self._seed, self._prior))
        await self._reserve.hold([self._on_base(candidate) for candidate in drawn])
        row_calls = self._row_calls()
        if row_calls < LEAST_BUDGET:
            return None
        part = row_calls * first // size
        drawn = affordable_candidates(drawn, part)
        rows = self._order[: screen_rows(part, [candidate.requests for candidate in drawn], len(self._order))]
        self._progress.begin_stage("screen", size, self._step)
        asked = [self._on_base(candidate) for candidate in drawn]
        await self._evaluator.evaluate(asked, rows[:LEAST_ROWS])
        await self._reserve.hold(asked)
        spent = self._evaluator.budget.spent - before
        rows = rows[: measured_screen_rows(spent, self._left(), len(rows), part=first / size)]
        await self._evaluator.evaluate(asked, rows)
        if first < size:
            likely = draw_likely(
                drawn,
                self._values(drawn, rows),
                len(rows),
                self._parameters,
                size=2 * (size - first),  # Some may send the requests of others.
                seed=self._seed,
                prior=self._value_prior,
            )
            # One that sends what a drawn one does stands in its place, and says nothing new.
            new = (await self._valid([*drawn, *likely]))[len(drawn) :]
            left = SCREENING_SHARE * row_calls / len(rows) - sum(candidate.requests for candidate in drawn)
            drawn += within_cost(new[: size - first], left)
            asked = [self._on_base(candidate) for candidate in drawn]
            await self._reserve.hold(asked)
            await self._evaluator.evaluate(asked, rows)
        screen = self._screened(drawn, rows)
        self._end_stage("screen", asked, rows, before)
        if not self._entrants:
            # Until a race finds better: a limit may end it within its first block.
            likeliest = self._on_base(max(screen.seen, key=lambda pair: screen.effects.likely(*pair))[0])
            self._result.incumbent = self._result.calibrated = likeliest
            self._set_leader(likeliest, rows)
        return screen

    async def _scores_are_equal(self, drawn: Sequence[Candidate]) -> bool:
        """Tell whether all answers so far, and those of the base to further rows, have one score, and note it.

        A race would spend the budget and learn nothing. Answers that do not parse are the race's to report.
        """
        asked = [(candidate, self._result.trials[candidate.key].rows) for candidate in map(self._on_base, drawn)]
        if self._estimates.common_score(asked) is None or any(
            result.unparsed for candidate, rows in asked for result in self._evaluator.results(candidate, rows)
        ):
            return False
        before, rows = self._evaluator.budget.spent, self._order[:PROBE_ROWS]
        self._progress.begin_stage("smoke", 1, self._step)
        await self._evaluator.evaluate([self._base], rows)
        self._result.add_trial(Trial(candidate=self._base, stage="smoke", rows=tuple(rows)))
        self._end_stage("smoke", [self._base], rows, before)
        if self._estimates.common_score([*asked, (self._base, rows)]) is None:
            return False
        self._result.incumbent = self._result.calibrated = self._base
        answers = len(rows) + sum(len(screened) for _, screened in asked)
        self._progress.note(f"the search ended early: all {answers} answers to {len(rows)} rows have the same score")
        return True

    def _screened(self, drawn: Sequence[Candidate], rows: Sequence[int]) -> Screen:
        """Return the effects on the values that the search compares, and keep those on the objective as its result."""
        means = [self._estimates.means(self._on_base(candidate), rows) for candidate in drawn]
        values, scores = self._values(drawn, rows), [found.score for found in means]
        seen = list(zip(drawn, values, strict=True))
        self._result.effects_alone = self._effects(drawn, scores, rows, None)
        self._result.effects = self._effects(drawn, scores, rows, self._prior)
        of_values = self._effects(drawn, values, rows, self._value_prior)
        if not self._estimates.preference.keeps_cheap:
            return Screen(of_values, seen)
        tokens = [found.tokens / max(1.0, means[0].tokens) for found in means]
        return Screen(of_values, seen, self._effects(drawn, tokens, rows, None))

    @property
    def _value_prior(self) -> EffectPrior | None:
        """The prior of effects on the values that the search compares: it is known of scores alone."""
        return None if self._estimates.preference.is_formula else self._prior

    def _effects(
        self, drawn: Sequence[Candidate], measured: Sequence[float], rows: Sequence[int], prior: EffectPrior | None
    ) -> Effects:
        return main_effects(drawn, measured, [len(rows)] * len(drawn), self._parameters, prior=prior)

    def _values(self, drawn: Sequence[Candidate], rows: Sequence[int]) -> list[float]:
        """Return mean values in units of one right answer, as the noise of the fit is that of right and wrong."""
        unit = self._estimates.preference.swing(list(self._evaluator.results(self._base, rows))) or 1.0
        return [self._estimates.mean_value(self._on_base(candidate), rows) / unit for candidate in drawn]

    async def _race_finalists(self, screen: Screen | None) -> None:
        """Race the finalists of screening or, without screening, candidates of one change each."""
        if screen is None:
            size = max(2, self._row_calls() // ROWS_EACH)
            entering = single_changes(self._parameters, size, self._seed, self._prior)
        else:
            entering = finalists(screen)
            entering[2:2] = best_demonstrations(screen.effects, screen.seen)
        entering = await self._valid(distinct([Candidate(), *self._entrants, *self._own, *entering]))
        racing = [self._on_base(candidate) for candidate in entering]
        await self._reserve.hold(racing)
        left = self._left()
        kept = 0 if self._proposer is None else ceil(left * PROPOSAL_SHARE)
        await self._race("race", racing, kept=kept)
        if self._proposer is not None:
            await self._race_proposals(self._proposer, left)

    async def _complete_start(self, calls: int) -> None:
        """Evaluate the start on the incumbent's rows if what is left pays for it: they are shown side by side.

        It costs at most a tenth of the `calls` of the search, which would otherwise be left for the confirmation.
        """
        trials, incumbent = self._result.trials, self._result.incumbent
        start, best = trials.get(self._base.key), trials.get(incumbent.key)
        if start is None or best is None or incumbent.key == self._base.key:
            return
        missing = [row for row in best.rows if self._evaluator.result(self._base, row) is None]
        if len(missing) * self._calls_a_row > min(self._left(), START_SHARE * calls):
            return
        before, stages = self._evaluator.budget.spent, self._result.stages
        await self._evaluator.evaluate([self._base], missing)
        self._result.add_trial(replace(start, rows=max(start.rows, best.rows, key=len)))
        stages[-1] = replace(stages[-1], calls=stages[-1].calls + self._evaluator.budget.spent - before)

    async def _race_proposals(self, proposer: Proposer, calls: int) -> None:
        """Race a teacher's proposals for the leader against it, in rounds as long as they find a better one.

        `calls` were available for the race and for this. A round takes half of what is left, or all that is left of
        few calls.
        """
        proposed: list[Candidate] = []
        for _ in range(MOST_ROUNDS):
            await self._reserve.hold([self._result.incumbent])
            left = self._left()
            is_last = left < 2 * ROUND_CALLS * self._calls_a_row
            share = 1.0 if is_last else 0.5
            with self._reserve.share(int(share * left)):
                new = await self._race_round(proposer, proposed, of=int(share * calls))
            proposed += new
            if is_last or self._result.incumbent.key not in {candidate.key for candidate in new}:
                return
            # Whether enough of the budget is left to begin was decided before the first round.
            calls = self._left()

    async def _race_round(self, proposer: Proposer, earlier: Sequence[Candidate], *, of: int) -> list[Candidate]:
        """Race new proposals for the leader against it, then the crossover of the two best; return the new candidates.

        `of` calls were available for the race and for this.
        """
        leader = self._result.incumbent
        seen = self._result.trials[leader.key].rows if leader.key in self._result.trials else ()
        rows = await proposer.rows_to_learn_from(leader, self._order, len(seen), self._left(), of=of)
        found = await proposer.propose(leader, rows, self._left(), of=of, earlier=earlier)
        proposed = partition_valid(self._evaluator, found)[0]
        if not proposed:
            return []
        await self._race("wording", [leader, *proposed])
        two = [candidate for candidate in self._result.finalists if candidate.key != leader.key][:2]
        shared = self._order[
            : min((self._evaluator.known_rows(candidate, self._order) for candidate in two), default=0)
        ]
        if (
            len(two) == 2
            and (merged := proposer.crossover(leader, two, shared))
            and partition_valid(self._evaluator, [merged])[0]
        ):
            await self._race("merge", [self._result.incumbent, merged])
            proposed.append(merged)
        return proposed

    async def _race(self, stage: str, candidates: Sequence[Candidate], *, kept: int = 0) -> None:
        """Race candidates, the first being the one to beat, within the calls that are left without `kept`.

        The winner becomes the incumbent.
        """
        order, before = self._order, self._evaluator.budget.spent

        async def calls_left(alive: Sequence[Candidate]) -> float:
            await self._reserve.hold(alive)
            return max(0, self._left() - kept)

        runner = RaceRunner(
            self._estimates,
            order,
            candidates,
            calls=await calls_left(candidates),
            spent=before - self._began,
            calls_a_request=self._calls_a_row / self._base.requests,
            calls_left=calls_left,
            weight=self._reserve.weight,
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
        """Return the candidates, without the base, that are possible and ask differently."""
        kept: dict[str, Candidate] = {}
        for given in candidates:
            merged = self._on_base(given)
            good, wrong = partition_valid(self._evaluator, [merged])
            if good:
                kept[merged.key] = given
            for candidate, why in wrong:
                self._progress.note(f"`{self._evaluator.label(candidate)}` is not possible: {why}")
        merged_ones = [self._on_base(candidate) for candidate in kept.values()]
        distinct_ones = await self._evaluator.deduplicate(merged_ones, self._order)
        return [kept[candidate.key] for candidate in distinct_ones]

    def _on_base(self, candidate: Candidate) -> Candidate:
        return Candidate({**self._base.choices, **candidate.choices})

    def _set_leader(self, candidate: Candidate, rows: Sequence[int]) -> None:
        self._progress.lead(candidate, rows, self._estimates.leader(candidate, rows))

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
