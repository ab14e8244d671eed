"""The part of a tuning that trains weights for the search's prompt, and compares them with it on search rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import numpy as np

from promptkit.errors import BudgetSpent, InputError, Unsupported
from promptkit.runtimes.base import Model
from promptkit.tuning.costs import Amounts
from promptkit.tuning.options import WEIGHTS
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.reserve import ConfirmationReserve
from promptkit.tuning.search.race_runner import DROP_REASONS, RaceRunner
from promptkit.tuning.search.steps import Objective, Objectives
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.trials import SearchResult, Trial
from promptkit.tuning.weights.tasks import split_search_rows, task_problem, training_task
from promptkit.tuning.weights.trained_files import trained_file
from promptkit.tuning.weights.trainer import Trainer, TrainingCost, TrainingResult, TrainingTask, WeightsKind

CALLS_SHARE, TIME_SHARE = 0.3, 0.5
"""The largest shares of the search's calls (and tokens) and of its time that are kept for training and comparing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedChoice:
    """A training of a step's weights of one kind on `rows` rows; `skipped`: why there is none.

    `candidate`: the prompt with the weights, None where there are none. `kept`: they are of an earlier run.
    """

    step: str
    kind: WeightsKind
    rows: int
    skipped: str | None = None
    candidate: Candidate | None = None
    training: TrainingResult | None = None
    kept: bool = False

    def record(self) -> dict[str, Any]:
        """Return the training as JSON has it."""
        training = self.training
        cost, validation = (training.cost, training.validation) if training else (TrainingCost(), None)
        found: dict[str, Any] = {
            "step": self.step,
            "kind": self.kind,
            "rows": self.rows,
            "skipped": self.skipped,
            "calls": cost.calls,
            "tokens": cost.tokens,
            "seconds": round(cost.seconds, 3),
            "kept": self.kept,
        }
        if validation is not None:
            ends = {"low": validation.low, "high": validation.high}
            found["validation"] = {"mean": validation.accuracy, **ends, "n": validation.rows}
        return found


@dataclass(slots=True, kw_only=True)
class WeightsResult:
    """The trainings of a tuning and the `prompt` that they are for, the best candidate without weights.

    `compared` are the places of the search rows that compare them.
    """

    prompt: Candidate = field(default_factory=Candidate)
    trained: list[TrainedChoice] = field(default_factory=list)
    compared: tuple[int, ...] = ()

    @property
    def parameters(self) -> list[str]:
        """The parameters that have trained choices."""
        return [f"{choice.step}.{WEIGHTS}" for choice in self.trained if choice.candidate is not None]


class WeightsStage:
    """Trains weights for a prompt and compares them with it on search rows that trained none of them.

    `models` answer the `steps`. `trainers` send their requests within the budget that `reserve` limits.
    """

    def __init__(
        self,
        objectives: Objectives,
        trainers: Sequence[Trainer],
        models: Mapping[str, Model],
        steps: Sequence[str],
        *,
        reserve: ConfirmationReserve,
        progress: TuningProgress,
        seed: int,
    ) -> None:
        self._objectives = objectives
        self._trainers = tuple(trainers)
        self._models = models
        self._steps = tuple(steps)
        self._reserve = reserve
        self._progress = progress
        self._seed = seed
        rows = split_search_rows(objectives.whole.split)
        self._compared, self._training = rows.compared, rows.training

    def amounts(self) -> Amounts:
        """Return the calls, tokens and seconds to keep from the search for training and comparing, (3,)."""
        whole, budget = self._objectives.whole, self._objectives.whole.estimates.evaluator.budget
        tasks = [self._task(step, Candidate()) for step in self._steps]
        planned = [(trainer, task) for task in tasks for trainer in self._trainers if not task_problem(trainer, task)]
        start = whole.estimates.means(Candidate(), whole.split.search)
        needed = len(planned) * len(self._compared) * np.array([max(1.0, start.calls), start.tokens, start.latency])
        for trainer, task in planned:
            cost = trainer.cost(task)
            needed += [cost.calls, cost.tokens, cost.seconds]
        left = np.array([self._reserve.calls_left, budget.most_tokens - budget.spent_tokens, budget.seconds_left])
        most = np.array([CALLS_SHARE, CALLS_SHARE, TIME_SHARE]) * np.maximum(left, 0.0)
        return np.where(np.isfinite(left), np.minimum(needed, most), 0.0)

    async def run(self, result: SearchResult) -> WeightsResult:
        """Train for a result's incumbent, and make the best trained candidate the incumbent if it is better.

        Raises SearchFailed and StoreFailed; trainings so far are kept.
        """
        found, prompt = WeightsResult(prompt=result.calibrated, compared=self._compared), result.incumbent
        for step in self._steps:
            task = self._task(step, prompt)
            for trainer in self._trainers:
                self._progress.begin_stage(f"train {trainer.kind}", 1, step)
                found.trained.append(await self._train(trainer, task, prompt))
        if found.parameters:
            await self._compare(prompt, found.trained, result)
        return found

    def _task(self, step: str, prompt: Candidate) -> TrainingTask:
        objective = self._objective(step)
        pipeline = objective.estimates.evaluator.variant(prompt).pipeline
        return training_task(
            objective.split,
            pipeline,
            step,
            self._models[step],
            training=self._training,
            prompt=prompt,
            seed=self._seed,
        )

    def _objective(self, step: str) -> Objective:
        return self._objectives.steps.get(step, self._objectives.whole)

    async def _train(self, trainer: Trainer, task: TrainingTask, prompt: Candidate) -> TrainedChoice:
        """Train one task if it is possible and fits in the budget."""
        choice = TrainedChoice(step=task.step, kind=trainer.kind, rows=len(task.rows))
        seconds = self._seconds_left(prompt)
        why = task_problem(trainer, task) or self._lack(trainer.cost(task), seconds)
        if why is not None:
            return replace(choice, skipped=why)
        evaluator = self._objective(task.step).estimates.evaluator
        content, budget = evaluator.variant(prompt).content, evaluator.budget
        try:
            made = await trained_file(trainer, task, content, budget, seconds=seconds)
        except BudgetSpent as spent:
            return replace(choice, skipped=f"the training did not finish: {spent.message}")
        except InputError as error:
            return replace(choice, skipped=error.problems[0].message)
        except Unsupported as error:
            return replace(choice, skipped=error.message)
        about = f"trained on {len(task.rows)} search rows"
        trained = Choice(trainer.kind, trainer.changes(task, made.reference), about)
        candidate = prompt.with_choice(f"{task.step}.{WEIGHTS}", trained)
        return replace(choice, candidate=candidate, training=made.training, kept=made.kept)

    def _seconds_left(self, prompt: Candidate) -> float:
        """Return the seconds that a training may take: without those of the confirmation and of its comparison."""
        estimates, rows = self._objectives.whole.estimates, self._compared
        return estimates.evaluator.budget.seconds_left - len(rows) * estimates.means(prompt, rows).latency

    def _lack(self, cost: TrainingCost, seconds: float) -> str | None:
        """Return the reason why the budget does not hold a training with its comparison; None if it does.

        `seconds` are those that a training may take.
        """
        budget = self._objectives.whole.estimates.evaluator.budget
        if cost.calls and cost.calls + len(self._compared) > self._reserve.calls_left:
            return f"its {cost.calls} requests do not fit in the budget beside the confirmation"
        if cost.tokens > budget.most_tokens - budget.spent_tokens:
            return f"its {cost.tokens:,} tokens do not fit in the budget beside the confirmation"
        if cost.seconds > seconds:
            return f"its {ceil(cost.seconds)} seconds do not fit in the time beside the confirmation"
        return None

    async def _compare(self, prompt: Candidate, trained: Sequence[TrainedChoice], result: SearchResult) -> None:
        """Race the prompt with each of its trained choices, then with the best of each step together."""
        candidates = [choice.candidate for choice in trained if choice.candidate is not None]
        await self._race([prompt, *candidates], result)
        estimates, finalists = self._objectives.whole.estimates, {candidate.key for candidate in result.finalists}
        best: dict[str, Candidate] = {}
        for choice in trained:
            candidate, other = choice.candidate, best.get(choice.step, prompt)
            if candidate is not None and candidate.key in finalists:
                ours, others = (estimates.mean_value(compared, self._compared) for compared in (candidate, other))
                best[choice.step] = candidate if ours > others or choice.step not in best else other
        if len(best) > 1:
            chosen = {name: choice for candidate in best.values() for name, choice in candidate.choices.items()}
            await self._race([result.incumbent, Candidate(chosen)], result)

    async def _race(self, candidates: Sequence[Candidate], result: SearchResult) -> None:
        """Race candidates over the compared rows, the first being the one to beat; the winner becomes the incumbent."""
        estimates, order = self._objectives.whole.estimates, self._compared

        async def calls_left(alive: Sequence[Candidate]) -> float:
            await self._reserve.hold(alive)
            return self._reserve.calls_left

        runner = RaceRunner(
            estimates,
            order,
            candidates,
            calls=await calls_left(candidates),
            calls_left=calls_left,
            weight=self._reserve.weight,
        )
        self._progress.begin_stage(WEIGHTS, len(runner.candidates))
        with suppress(BudgetSpent):
            async for block in runner.blocks():
                result.incumbent, rows = runner.incumbent, order[: block.rows.stop]
                self._progress.lead(runner.incumbent, rows, estimates.leader(runner.incumbent, rows))
        if not any(entry.rows for entry in runner.race.entries):
            self._progress.note("the budget held no comparison of the trained weights with the prompt")
            return
        result.finalists = runner.finalists
        for candidate, entry in zip(runner.candidates, runner.race.entries, strict=True):
            before = result.trials.get(candidate.key)
            if before is None or len(before.rows) < entry.rows:
                why = DROP_REASONS[entry.why] if entry.why else ""
                rows = order[: entry.rows]
                result.add_trial(
                    Trial(candidate=candidate, stage=WEIGHTS, rows=rows, dropped_at=entry.dropped_at, why=why)
                )
        asked = result.trials[result.incumbent.key].rows
        result.calibrated = await estimates.calibration.freeze(result.incumbent, asked)
