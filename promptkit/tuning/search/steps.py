"""The search over a target of several steps: each step alone, then all steps together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from promptkit.errors import BudgetSpent
from promptkit.runtimes.budget import Budget
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.options import Mode
from promptkit.tuning.prior.warm_start import WarmStart
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.proposals.proposer import Proposer
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search.screening import Effects
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
    """The objective of the whole target, and those of steps with labels of their own, each alone on its rows' inputs.

    `recorded` returns an evaluator of such a step on the real outputs of earlier steps, at the same places.
    """

    whole: Objective
    steps: Mapping[str, Objective]
    recorded: Callable[[str], Evaluator]


class StepsSearch:
    """The search over all parameters. `result` is filled as it goes on, so an interrupted search leaves it.

    `own` are a person's variants, which race beside the start. `open_proposer` returns the proposer of a step on an
    objective; None without a teacher. `warm_start` gives priors from earlier tunings and learns from this one.
    """

    def __init__(
        self,
        objectives: Objectives,
        parameters: Sequence[Parameter],
        *,
        progress: TuningProgress,
        mode: Mode,
        seed: int,
        most_requests: float,
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
        self._most_requests = most_requests
        self._own = tuple(own)
        self._open_proposer = open_proposer
        self._warm_start = warm_start
        self._result = result or SearchResult()

    async def run(self, calls: int) -> SearchResult:
        """Search within a number of calls, and return the result on the whole target.

        Raises SearchFailed if the model is gone, and StoreFailed.
        """
        steps = list(dict.fromkeys(parameter.step for parameter in self._parameters))
        if len(steps) < 2 or self._mode == "joint":
            only = steps[0] if len(steps) == 1 else None
            if self._open_proposer is not None and only is None:
                self._progress.note("the teacher is not asked: it proposes for steps alone, which --joint skips")
            return await self._search(self._objectives.whole, self._parameters, only, calls)
        if self._mode == "stepwise":
            self._note_variants_of_several_steps()
        before = self._budget.spent
        winner, runners_up, effects = await self._each_alone(
            steps, calls if self._mode == "stepwise" else int(calls * ALONE_SHARE)
        )
        if self._mode == "stepwise":
            return self._result
        return await self._together(winner, runners_up, effects, calls - int(self._budget.spent - before))

    def _note_variants_of_several_steps(self) -> None:
        for candidate in self._own:
            if len({parameter.partition(".")[0] for parameter in candidate.choices}) > 1:
                name = self._objectives.whole.estimates.evaluator.label(candidate)
                self._progress.note(f"`{name}` is not tried: it changes several steps, and --stepwise tunes each alone")

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
            result = await self._search(objective or self._objectives.whole, step_parameters, step, share, base=base)
            if objective is not None:
                await self._check_recorded(objective, step, result)
            calls -= int(self._budget.spent - before)
            winner = Candidate({**winner.choices, **_of_step(result.calibrated, step).choices})
            runners_up += [_of_step(candidate, step) for candidate in result.finalists[1:2]]
            effects[step] = result.effects
            self._result.incumbent = self._result.calibrated = winner
        return winner, runners_up, effects

    async def _check_recorded(self, objective: Objective, step: str, step_result: SearchResult) -> None:
        """Note if a step's winner on gold inputs is much worse on the real outputs of the steps before it.

        For the earlier steps as many calls are counted as the whole start takes, whether they are asked or cached.
        """
        rows, evaluator, whole = (
            objective.split.search[:CHECK_ROWS],
            self._objectives.recorded(step),
            self._objectives.whole,
        )
        chosen = objective.estimates.means(step_result.incumbent, rows)
        start = whole.estimates.means(Candidate(), whole.split.search[:SMOKE_ROWS])
        calls = self._budget.spent + ceil(len(rows) * (chosen.calls + start.calls))
        tokens = self._budget.spent_tokens + ceil(len(rows) * (chosen.tokens + start.tokens))
        if calls > self._budget.most:
            return
        try:
            await evaluator.evaluate([step_result.calibrated], rows)
        except BudgetSpent:
            return
        self._budget.reach(calls, tokens)
        gold = chosen.score
        scores = [
            result.score for result in evaluator.results(step_result.calibrated, rows) if result.score is not None
        ]
        real = sum(scores) / len(scores) if scores else gold
        if gold - real > MOST_DROP:
            self._progress.note(
                f"`{step}` is right on {gold:.0%} of {len(rows)} rows with the inputs of the data, "
                f"but on {real:.0%} with the outputs of earlier steps"
            )

    async def _together(
        self, winner: Candidate, runners_up: Sequence[Candidate], effects: Mapping[str, Effects | None], calls: int
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
        return await self._search(self._objectives.whole, parameters, None, calls, entrants=distinct(entrants))

    async def _search(
        self,
        objective: Objective,
        parameters: Sequence[Parameter],
        step: str | None,
        calls: int,
        *,
        base: Candidate | None = None,
        entrants: Sequence[Candidate] = (),
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
            most_requests=self._most_requests,
            entrants=entrants,
            own=[candidate for candidate in self._own if step is None or candidate == _of_step(candidate, step)],
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
