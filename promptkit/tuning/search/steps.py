"""The search over a target of several steps: each step alone, then all steps together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Final

from promptkit.errors import BudgetSpent
from promptkit.runtimes.budget import Budget
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator, RowResult
from promptkit.tuning.options import Mode
from promptkit.tuning.prior.warm_start import WarmStart
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.proposals.proposer import Proposer
from promptkit.tuning.reserve import ConfirmationReserve
from promptkit.tuning.search.effects import Effects
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search.search import Search
from promptkit.tuning.search_space.candidate import Candidate, Parameter, distinct
from promptkit.tuning.trials import Estimates, SearchResult

CHECK_ROWS: Final = 20
MOST_DROP: Final = 0.10
"""A step whose score drops by more than this on the real outputs of earlier steps is noted."""
ALONE_SHARE: Final = 0.7
"""The share of the calls for steps alone; the rest is for all together, against labels that do not serve the end."""
CHOICES_IN_QUESTION: Final = 3
"""This many choices of a parameter are tried together with those of other steps, or all that are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The target of a search: the metric of an evaluator on a split."""

    estimates: Estimates
    split: DataSplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """The objective of the whole target, and of each step with labels of its own, alone on its rows' inputs."""

    whole: Objective
    steps: Mapping[str, Objective]


class StepsSearch:
    """The search over all parameters. `result` is filled as it goes on, so an interrupted search leaves it.

    `own` are a person's variants, which race beside the start. `reserve` sets aside what the confirmation needs.
    `open_proposer` returns the proposer of a step on an objective; None without a teacher. `warm_start` gives priors
    from earlier tunings and learns from this one.
    """

    def __init__(
        self,
        objectives: Objectives,
        parameters: Sequence[Parameter],
        *,
        progress: TuningProgress,
        mode: Mode,
        seed: int,
        reserve: ConfirmationReserve,
        result: SearchResult | None = None,
        own: Sequence[Candidate] = (),
        open_proposer: Callable[[Objective, str], Proposer] | None = None,
        warm_start: WarmStart | None = None,
    ) -> None:
        self._objectives = objectives
        self._parameters = tuple(parameters)
        self._progress = progress
        self._mode = mode
        self._seed = seed
        self._reserve = reserve
        self._own = tuple(own)
        self._open_proposer = open_proposer
        self._warm_start = warm_start
        self._result = result or SearchResult()
        self._alone: dict[str, SearchResult] = {}

    async def run(self) -> SearchResult:
        """Search within the budget, and return the result on the whole target.

        Raises SearchFailed if the model is gone, and StoreFailed.
        """
        steps = list(dict.fromkeys(parameter.step for parameter in self._parameters))
        if len(steps) < 2 or self._mode == "joint":
            only = steps[0] if len(steps) == 1 else None
            if self._open_proposer is not None and only is None:
                self._progress.note("the teacher is not asked: it proposes for steps alone, which --joint skips")
            return await self._search(self._objectives.whole, self._parameters, only, None, own=self._own)
        if self._mode == "stepwise":
            self._note_untried_variants(steps)
        # Each step's search sets aside by its own candidates: their shares are of all that a cheap pick leaves.
        await self._reserve.hold([Candidate()])
        calls = int(self._reserve.calls_left)
        if self._mode == "stepwise":
            await self._each_alone(steps, max(0, calls - self._check_calls()))
        else:
            winner, runners_up, effects = await self._each_alone(steps, int(calls * ALONE_SHARE))
            await self._together(winner, runners_up, effects)
        await self._check_labelled_steps()
        return self._result

    def _note_untried_variants(self, steps: Sequence[str]) -> None:
        """Note each variant of the person's that no search of one of the steps tries."""
        for candidate in self._own:
            if not any(candidate == _of_step(candidate, step) for step in steps):
                name = self._objectives.whole.estimates.evaluator.label(candidate)
                self._progress.note(
                    f"`{name}` is not tried: --stepwise tunes each step alone, and it changes several or one in which "
                    "nothing else varies"
                )

    @property
    def _budget(self) -> Budget:
        return self._objectives.whole.estimates.evaluator.budget

    async def _each_alone(
        self, steps: Sequence[str], calls: int
    ) -> tuple[Candidate, list[Candidate], dict[str, Effects | None]]:
        """Search each step by itself, the last first; return their winners together, their runners-up and effects.

        Steps with labels are evaluated on gold inputs; the others on the final metric, with the winners of later steps:
        what follows a step must be good before it shows what the step is worth.
        """
        winner, runners_up, effects = Candidate(), [], {}
        for number, step in enumerate(reversed(steps)):
            step_parameters = [parameter for parameter in self._parameters if parameter.step == step]
            objective = self._objectives.steps.get(step)
            base = Candidate() if objective is not None else winner
            share = calls // (len(steps) - number)
            before = self._budget.spent
            own = [candidate for candidate in self._own if candidate == _of_step(candidate, step)]
            result = await self._search(
                objective or self._objectives.whole, step_parameters, step, share, base=base, own=own
            )
            if objective is not None:
                self._alone[step] = result
            calls -= int(self._budget.spent - before)
            winner = Candidate({**winner.choices, **_of_step(result.calibrated, step).choices})
            runners_up += [_of_step(candidate, step) for candidate in result.finalists[1:2]]
            effects[step] = result.effects
            self._result.incumbent = self._result.calibrated = winner
        return winner, runners_up, effects

    def _check_calls(self) -> int:
        """Return the calls of `_check_labelled_steps` if no row of the whole target was asked before."""
        whole = self._objectives.whole
        start = whole.estimates.means(Candidate(), whole.split.search[:SMOKE_ROWS])
        return ceil(CHECK_ROWS * start.calls) if self._objectives.steps else 0

    async def _check_labelled_steps(self) -> None:
        """Note each step that is much worse on what the final earlier steps give than on the inputs of the data."""
        whole, final = self._objectives.whole, self._result.incumbent
        evaluator, rows = whole.estimates.evaluator, whole.split.search[:CHECK_ROWS]
        lacking = sum(evaluator.result(final, row) is None for row in rows)
        needed = lacking / max(1, len(rows)) * self._check_calls()
        if not self._alone or self._budget.spent + needed > self._budget.most:
            return
        with suppress(BudgetSpent):
            await evaluator.evaluate([final], rows)
            for step, alone in self._alone.items():
                # Offsets that were added since change what a step answers.
                if _of_step(final, step) == _of_step(alone.calibrated, step):
                    self._check_labelled_step(step, alone.incumbent, final)

    def _check_labelled_step(self, step: str, alone: Candidate, final: Candidate) -> None:
        """Compare a step's own scores on the inputs of the data with those of its results in the whole target."""
        objective, whole = self._objectives.steps[step], self._objectives.whole.estimates.evaluator
        evaluator = objective.estimates.evaluator
        rows = [row for row in objective.split.search[:CHECK_ROWS] if whole.result(final, row) is not None]
        if evaluator.metric.asks or evaluator.metric.costly or not rows:
            return
        gold = objective.estimates.means(alone, rows).score
        real = sum(_step_score(evaluator, row, whole.result(final, row), step) for row in rows) / len(rows)
        if gold - real > MOST_DROP:
            self._progress.note(
                f"`{step}` is right on {gold:.0%} of {len(rows)} rows with the inputs of the data, "
                f"but on {real:.0%} with the outputs of the chosen earlier steps"
            )

    async def _together(
        self, winner: Candidate, runners_up: Sequence[Candidate], effects: Mapping[str, Effects | None]
    ) -> SearchResult:
        """Race the winner of all steps, the start, and the winner with one step swapped, on the final metric.

        Joint configurations of the choices in question are screened beside them: two choices may help each other that
        are worse alone.
        """
        swapped_back = [_without_step(winner, step) for step in effects]
        next_best = [Candidate({**winner.choices, **candidate.choices}) for candidate in runners_up]
        entrants = [winner, *swapped_back, *next_best]
        parameters = [
            _in_question(parameter, [winner, *runners_up], effects[parameter.step]) for parameter in self._parameters
        ]
        parameters = [parameter for parameter in parameters if len(parameter.choices) > 1]
        return await self._search(
            self._objectives.whole, parameters, None, None, entrants=distinct(entrants), own=self._own
        )

    async def _search(
        self,
        objective: Objective,
        parameters: Sequence[Parameter],
        step: str | None,
        calls: int | None,
        *,
        base: Candidate | None = None,
        entrants: Sequence[Candidate] = (),
        own: Sequence[Candidate] = (),
    ) -> SearchResult:
        is_whole = objective is self._objectives.whole
        step_result = self._result if is_whole else SearchResult()
        search = Search(
            objective.estimates,
            objective.split.search,
            parameters,
            progress=self._progress,
            base=base,
            step=step,
            seed=self._seed,
            reserve=self._reserve,
            entrants=entrants,
            own=own,
            prior=self._warm_start.prior(objective.estimates.evaluator, parameters) if self._warm_start else None,
            proposer=self._open_proposer(objective, step)
            if self._open_proposer is not None and step is not None
            else None,
            result=step_result,
        )
        try:
            result = await search.run(calls)
            if self._warm_start is not None and (step is not None or self._mode == "joint"):
                self._warm_start.learn(objective.estimates, base or Candidate(), parameters, result)
            return result
        finally:
            if not is_whole and step is not None:  # An error here still leaves the best so far of this step.
                self._result.stages += step_result.stages
                best = Candidate({**self._result.incumbent.choices, **_of_step(step_result.calibrated, step).choices})
                self._result.incumbent = self._result.calibrated = best


def _step_score(evaluator: Evaluator, row: int, result: RowResult | None, step: str) -> float:
    """Return the score in [0, 1] of a step's result within the whole target, by the step's own evaluator."""
    if result is None or step not in result.steps:
        return 0.0
    value = evaluator.score_output(row, result.steps[step], result.steps).value
    return 0.0 if value is None else evaluator.normalized(value)


def _of_step(candidate: Candidate, step: str) -> Candidate:
    """Return a candidate's changes in one step."""
    return Candidate(
        {parameter: choice for parameter, choice in candidate.choices.items() if parameter.split(".")[0] == step}
    )


def _without_step(candidate: Candidate, step: str) -> Candidate:
    """Return a candidate with one step as written."""
    return Candidate(
        {parameter: choice for parameter, choice in candidate.choices.items() if parameter.split(".")[0] != step}
    )


def _in_question(parameter: Parameter, chosen: Sequence[Candidate], effects: Effects | None) -> Parameter:
    """Return a parameter with the choices left in question by the steps alone: the start's, and those of `chosen`.

    If these are few, the next best by `effects` are added: a choice that is worse alone may be better together.
    """
    screened = next((other for other in effects.parameters if other.name == parameter.name), None) if effects else None
    others = effects.ranked(screened) if effects and screened else parameter.choices
    kept = [
        parameter.choices[0],
        *(choice for candidate in chosen if (choice := candidate.choices.get(parameter.name)) is not None),
    ]
    kept = list(dict.fromkeys(kept))
    kept += [choice for choice in others if choice not in kept][: max(0, CHOICES_IN_QUESTION - len(kept))]
    return Parameter(name=parameter.name, step=parameter.step, kind=parameter.kind, choices=tuple(kept))
