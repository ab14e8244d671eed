"""One tuning run: search, choice of the incumbent, confirmation, record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from promptkit.errors import BudgetSpent, PromptkitError
from promptkit.evaluation.cells.progress import Defects, EvalOptions
from promptkit.evaluation.record import Defect
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.suite import Suite
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.models import Models
from promptkit.storage.hashes import content_key
from promptkit.storage.store import Store
from promptkit.tuning.budget import BudgetShares, TuningBudget
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.confirmation.ablation import ablate
from promptkit.tuning.confirmation.confirm import VERDICT_REASONS, Confirmation, confirm, holdout_key, pair_key
from promptkit.tuning.confirmation.constant_answer import constant_answer
from promptkit.tuning.confirmation.forgetting import KEEP, measure_forgetting
from promptkit.tuning.confirmation.weights_gain import weights_gain
from promptkit.tuning.costs import CandidateCosts, RowCost
from promptkit.tuning.data_split import DataSplit, data_notes
from promptkit.tuning.dspy_bridge.extra import open_search
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.measured_start import measured_start
from promptkit.tuning.minimal import STAGE as ELIMINATE
from promptkit.tuning.minimal import known_contributions, minimize, search_calls
from promptkit.tuning.options import OPTIMIZERS, WEIGHTS, TuneOptions
from promptkit.tuning.pareto import preferred_candidate
from promptkit.tuning.preference import Preference
from promptkit.tuning.prior.warm_start import WarmStart
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.proposals.proposer import Proposer
from promptkit.tuning.proposals.teacher import NO_TEACHER, find_teacher
from promptkit.tuning.record import TuningState, tuning_record
from promptkit.tuning.repeatability import repeatability
from promptkit.tuning.reserve import ConfirmationReserve
from promptkit.tuning.search.race import SMOKE_ROWS, most_cost
from promptkit.tuning.search.steps import Objective, Objectives, StepsSearch
from promptkit.tuning.search_space.bootstrap import generate_demonstrations
from promptkit.tuning.search_space.candidate import Candidate, dearest_candidate, prune_costly
from promptkit.tuning.search_space.demonstration import GeneratedDemos
from promptkit.tuning.search_space.technique_traces import add_own_traces
from promptkit.tuning.setup import Setup
from promptkit.tuning.trials import Estimates, Stage
from promptkit.tuning.tune_record import TuneRecord
from promptkit.tuning.weights.stage import WeightsStage
from promptkit.tuning.weights.trainer import Trainer

KEY_BYTES: Final = 16
Status = Literal["done", "incomplete", "interrupted", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResult:
    """The result of a tuning run.

    `record` is what `--json` prints. `candidate` is worth writing, None if there is none. `failure` is the error that
    ended the run early. `notices` come from the requests of this run; a resumed run has others.
    """

    number: int
    status: Status
    record: TuneRecord
    candidate: Candidate | None = None
    failure: PromptkitError | None = None
    notices: tuple[str, ...] = ()


class TuningRun:
    """A run of tuning under a run number.

    `shares` returns the budget's shares for a cost per row, `open_trainers` what trains weights with given models.
    """

    def __init__(
        self,
        suite: Suite,
        setup: Setup,
        *,
        options: TuneOptions,
        models: Models,
        store: Store,
        progress: TuningProgress,
        number: int,
        eval_options: EvalOptions,
        shares: Callable[[float], BudgetShares],
        warm_start: WarmStart,
        open_trainers: Callable[[Models], Sequence[Trainer]],
    ) -> None:
        self._suite = suite
        self._setup = setup
        self._options = options
        self._models = models
        self._store = store
        self._progress = progress
        self._number = number
        self._eval_options = eval_options
        self._shares = shares
        self._warm_start = warm_start
        self._open_trainers = open_trainers
        self._space_notes = setup.space.notes
        self._budget = TuningBudget(options.limits)
        self._reserve = ConfirmationReserve(self._budget.budget)
        split = setup.split
        self._evaluators: list[Evaluator] = []
        self._evaluator = self._open_evaluator(suite, split.rows, clusters=split.clusters)
        whole = self._objective(self._evaluator, split)
        evaluators = {
            step: self._open_evaluator(part.suite, part.rows, prefix=f"{step} alone: ", clusters=part.clusters)
            for step, part in setup.step_splits.items()
        }
        alone = {step: self._objective(evaluator, setup.step_splits[step]) for step, evaluator in evaluators.items()}
        self._objectives = Objectives(whole=whole, steps=alone)
        self._weights: WeightsStage | None = None
        self._state = TuningState(
            number=number,
            target=suite.target,
            model=setup.model,
            why=models.why(suite.baseline.model),
            options=options,
            split=split,
            estimates=whole.estimates,
            smallest_gain=setup.smallest_gain,
        )

    @property
    def budget(self) -> Budget:
        """The budget: what is spent, and what may be."""
        return self._budget.budget

    async def run(self) -> None:
        """Measure the start, search, choose, take back what brings nothing, train weights, confirm and ablate.

        Raises the error that ends it early.
        """
        cost = await measured_start(
            self._evaluator, self._setup.split, self._budget, self._options.limits, parallel=self._setup.model.parallel
        )
        most = await self._set_aside(cost)
        if self._options.optimizer == OPTIMIZERS[0]:
            await self._race(most)
        else:
            await self._optimize()
        await self._choose()
        await self._minimize()
        await self._train()
        await self._confirm()
        await self._measure_forgetting()
        await self._ablate()

    def end(self, status: Status, stopped_by: str = "done", failure: PromptkitError | None = None) -> TuningResult:
        """Store what there is as the run's record, and return the result."""
        state = self._state
        is_spent = stopped_by == "done" or isinstance(failure, BudgetSpent)
        state.stopped_by = self.budget.ended or stopped_by if is_spent else stopped_by
        if status == "done":
            self._warm_start.keep()
        record = self._record(status)
        self._store.end_run(self._number, status, record.to_json())
        candidate = state.result.calibrated if state.confirmation and state.result.calibrated.changes else None
        notices = tuple(dict.fromkeys(notice for evaluator in self._evaluators for notice in evaluator.notices))
        return TuningResult(
            number=self._number, status=status, record=record, candidate=candidate, failure=failure, notices=notices
        )

    async def _set_aside(self, cost: RowCost) -> float:
        """Set aside what the confirmation takes, and return the most that a row of a candidate may cost in the race.

        `cost` is that of the start, to which the result is relative.
        """
        split, budget, limits = self._setup.split, self.budget, self._options.limits
        shares = self._shares(cost.calls)
        budget.most = shares.total
        is_sized = limits.tokens is not None or limits.minutes is not None
        costs = CandidateCosts(self._evaluator, split.search, cost, sized=is_sized)
        rows = self._setup.confirmation_rows
        self._reserve = ConfirmationReserve(budget, costs, rows=rows, search_rows=len(split.search))
        await self._reserve.hold([])
        if self._setup.trained_steps:
            self._weights = WeightsStage(
                self._objectives,
                self._open_trainers(self._models.within(budget)),
                self._setup.models,
                self._setup.trained_steps,
                reserve=self._reserve,
                progress=self._progress,
                seed=self._options.seed,
            )
            self._reserve.keep(self._weights.amounts())
        rows_left = self._reserve.calls_left / cost.calls
        most = min(shares.most_cost, most_cost(rows_left, len(split.search)))
        await self._reserve.hold([dearest_candidate(prune_costly(self._setup.space.parameters, most)[0])])
        return most

    async def _optimize(self) -> None:
        """Search by one of DSPy's optimizers."""
        options = self._options
        search = open_search(
            options.optimizer,
            self._objectives.whole,
            progress=self._progress,
            models=self._models.within(self.budget),
            teacher=None if options.teacher == NO_TEACHER else options.teacher,
            seed=options.seed,
        )
        self._state.result = search.found
        await search.run(int(self._reserve.calls_left))

    async def _race(self, most: float) -> None:
        """Search by promptkit's own race, without candidates that cost more than `most`."""
        search = await self._open_race(most)
        start = self._state.estimates.means(Candidate(), self._setup.split.search[:SMOKE_ROWS])
        calls = search_calls(int(self._reserve.calls_left), start.calls, self._reserve.dearest_calls)
        with self._reserve.share(calls):
            await search.run()

    async def _open_race(self, most: float) -> StepsSearch:
        """Return promptkit's own search, over the space with the demonstrations that the model generates for it."""
        options, setup, space = self._options, self._setup, self._setup.space
        demos: GeneratedDemos = {}
        if "examples" in setup.space.kinds:
            self._progress.begin_stage("examples", 1)
            before, calls = self.budget.spent, int(self._reserve.calls_left)
            with suppress(BudgetSpent):  # Tokens or time ran out; what is left may still cover a search without them.
                demos = await generate_demonstrations(
                    self._objectives, prune_costly(space.parameters, most)[0], setup.models, calls=calls
                )
            if self.budget.spent > before:
                self._stage("examples", 1, before, rows=len(setup.split.demo_pool))
        if demos:
            space = setup.space_with(demos)
            self._space_notes = space.notes
        parameters, skipped = prune_costly(space.parameters, most)
        self._space_notes = (*self._space_notes, *skipped)
        if any(parameter.kind == "technique" for parameter in parameters):
            before, calls = self.budget.spent, int(self._reserve.calls_left)
            with suppress(BudgetSpent):
                parameters = await add_own_traces(self._objectives, parameters, calls=calls)
            if self.budget.spent > before:
                self._stage("examples", 1, before, rows=len(setup.split.demo_pool))
        tuned_model, models = self._suite.baseline.model, self._models.within(self.budget)
        teacher = None
        if "wording" in setup.space.kinds:
            teacher = await find_teacher(options.teacher, tuned_model, setup.model, models, self._progress)
        elif options.teacher not in (None, NO_TEACHER):
            self._progress.note("the teacher is not asked: wording may not vary here")

        def open_proposer(objective: Objective, step: str) -> Proposer:
            assert teacher is not None, "a proposer needs a teacher"
            return Proposer(objective.estimates.evaluator, objective.split, step, teacher, self._progress)

        return StepsSearch(
            self._objectives,
            parameters,
            progress=self._progress,
            mode=options.mode,
            seed=options.seed,
            reserve=self._reserve,
            result=self._state.result,
            own=space.own,
            open_proposer=open_proposer if teacher is not None else None,
            warm_start=self._warm_start,
        )

    async def _choose(self) -> None:
        """Choose by `--prefer` among the late trials; choose nothing if the metric scores every answer the same."""
        result, estimates = self._state.result, self._state.estimates
        trials = list(result.trials.values())
        score = estimates.common_score((trial.candidate, trial.rows) for trial in trials)
        if score is not None:
            metric, value = estimates.evaluator.metric.name, estimates.in_units(score)
            self._progress.note(f"`{metric}` is {value:g} for every answer: it cannot tell prompts apart")
            result.incumbent = result.calibrated = Candidate()
            return
        if result.incumbent.key not in result.trials and self._options.prefer != "best":
            self._progress.note(
                "--prefer was applied within each step only: no candidate was evaluated on the whole target"
                if estimates.preference.is_formula
                else "--prefer is not applied: steps were tuned alone, no candidate was evaluated on the whole target"
            )
        preferred = preferred_candidate(estimates, result.incumbent, trials)
        if preferred.key != result.incumbent.key:
            result.incumbent = preferred
            result.calibrated = await estimates.calibration.freeze(preferred, result.trials[preferred.key].rows)

    async def _minimize(self) -> None:
        """Take back the changes of the incumbent that are not sent or bring nothing."""
        state, before = self._state, self.budget.spent
        await self._reserve.hold([state.result.incumbent])
        self._progress.begin_stage(ELIMINATE, len(state.result.incumbent.choices))
        state.taken_back = await minimize(
            state.estimates, state.result, self._setup.split.search, int(self._reserve.calls_left)
        )
        if self.budget.spent > before:
            tried = [trial for trial in state.result.trials.values() if trial.stage == ELIMINATE]
            self._stage(ELIMINATE, len(tried), before, rows=max((len(trial.rows) for trial in tried), default=0))

    async def _train(self) -> None:
        """Train weights for the incumbent, and keep those that bring something."""
        state, result, before = self._state, self._state.result, self.budget.spent
        if self._weights is None:
            return
        self._reserve.keep(np.zeros(3))
        await self._reserve.hold([result.incumbent])
        state.weights = found = await self._weights.run(result)
        if result.incumbent.choices.keys() & found.parameters:
            calls = int(self._reserve.calls_left)
            state.taken_back = [
                *state.taken_back,
                *await minimize(state.estimates, result, found.compared, calls, only=found.parameters),
            ]
        self._stage(WEIGHTS, len(found.parameters), before, rows=len(found.compared) if found.parameters else 0)

    async def _confirm(self) -> None:
        """Store the incumbent, then evaluate start and incumbent on the held-out rows that the budget holds."""
        state, split, incumbent = self._state, self._setup.split, self._state.result.calibrated
        if not incumbent.changes:
            why = VERDICT_REASONS["start is best" if len(state.result.trials) > 1 else "nothing tried"]
            state.confirmation = Confirmation(outcome="not shown", why=why)
            return
        self._reserve.release()
        prompt = self._prompt_of_weights()
        asked = [state.result.incumbent, *([prompt] if prompt is not None and prompt.changes else [])]
        pairs = await self._reserve.pairs_held(*asked)
        all_rows = len(split.holdout)
        digests = map(self._candidate_digest, (Candidate(), incumbent))
        key = pair_key(*digests, rows=pairs if pairs < all_rows else None)
        ordinal = self._store.tunings.ordinal(holdout_key(split), key)
        state.confirmation = Confirmation(outcome="not shown", why="the confirmation did not finish", ordinal=ordinal)
        self._store.update_run(self._number, self._record("running").to_json())
        self._progress.begin_stage("confirm", 2)
        before = self.budget.spent
        found = await confirm(self._evaluator, Candidate(), incumbent, split, ordinal=ordinal, most_rows=pairs)
        state.confirmation = found
        self._stage("confirm", 2, before, rows=len(found.rows))
        state.constant = constant_answer(self._evaluator, split, incumbent)
        if prompt is not None and found.rows:
            before = self.budget.spent
            state.weights_gain = await weights_gain(self._evaluator, prompt, incumbent, split, found)
            self._stage("prompt", 1, before, rows=len(found.rows))
        if pairs < all_rows and found.outcome != "improved":
            self._progress.note(
                f"the budget held {pairs} of the {all_rows} confirm rows: a larger one may show a smaller gain"
            )
        if found.outcome == "improved" and found.look < found.looks:
            self._progress.note(
                "the confirmation ended at the first look that showed the gain: its size is rather over- than "
                "underestimated"
            )
        if found.is_cheaper and found.outcome != "improved":
            self._progress.note("the incumbent takes at most 80 % of the start's tokens and is at most 2 points worse")

    def _prompt_of_weights(self) -> Candidate | None:
        """Return the prompt that the incumbent's weights were trained for; None if it has none."""
        state = self._state
        if state.weights is None or not state.result.incumbent.choices.keys() & state.weights.parameters:
            return None
        return state.weights.prompt

    async def _measure_forgetting(self) -> None:
        """Evaluate start and incumbent on the kept suite, as far as the budget allows."""
        kept, incumbent, before = self._setup.kept, self._state.result.calibrated, self.budget.spent
        if kept is None or not incumbent.changes:
            return
        evaluator = self._open_evaluator(kept.suite, kept.rows, prefix=f"{kept.suite.name}: ")
        self._progress.begin_stage(KEEP, 2)
        found = self._state.forgetting = await measure_forgetting(evaluator, kept, incumbent)
        self._stage(KEEP, 2, before, rows=0 if found is None else found.rows)
        if found is None or found.rows < len(kept.rows):
            asked = 0 if found is None else found.rows
            self._progress.note(f"the budget held {asked} of the {len(kept.rows)} rows of `{kept.suite.name}`")

    async def _ablate(self) -> None:
        """Take each change back by itself on the rows of the confirmation, with what is left of the budget."""
        state, incumbent = self._state, self._state.result.calibrated
        if state.confirmation is None or not state.confirmation.rows:
            return
        rows, before = state.confirmation.rows, self.budget.spent
        self._progress.begin_stage("ablation", len(incumbent.choices))
        known = known_contributions(state.estimates, state.result)
        trained = state.weights.parameters if state.weights is not None else ()
        state.ablation = await ablate(self._evaluator, incumbent, rows, known, trained=trained)
        self._stage("ablation", len(incumbent.choices), before, rows=len(rows))

    def _stage(self, name: str, candidates: int, before: int, *, rows: int) -> None:
        calls = self.budget.spent - before
        self._state.result.stages.append(Stage(name=name, step=None, candidates=candidates, rows=rows, calls=calls))

    def _candidate_digest(self, candidate: Candidate) -> bytes:
        """Return a key of a candidate of this target, model and metric."""
        start = self._suite.baseline.content.hex()
        text = json.dumps([start, self._setup.model.digest, self._suite.measures[0].key, candidate.key])
        return content_key(text, KEY_BYTES)

    def _record(self, status: str) -> TuneRecord:
        state = self._state
        state.repeatability = repeatability(self._evaluator, state.split, state.result.calibrated)
        state.seconds, state.leads = self._budget.seconds, self._progress.leads
        missing = Counter(problem for evaluator in self._evaluators for problem in evaluator.problems())
        unanswered = [
            f"missing answers: {missing.total()}, most often: {problem}" for problem, _ in missing.most_common(1)
        ]
        state.prior = self._warm_start.record()
        state.notes = [
            *self._space_notes,
            *data_notes(self._setup.split),
            *self._warm_start.notes(),
            *self._progress.notes,
            *unanswered,
        ]
        defects = Defects()
        for evaluator in self._evaluators:
            defects.add(evaluator.defects)
        record, found = tuning_record(state, status), defects.record()
        return record.model_copy(
            update={"defects": [Defect.model_validate(defect) for defect in found]} if found else {}
        )

    def _open_evaluator(
        self, suite: Suite, rows: Sequence[BoundRow], *, prefix: str = "", clusters: Sequence[str] | None = None
    ) -> Evaluator:
        evaluator = Evaluator(
            suite,
            rows,
            models=self._models,
            store=self._store,
            budget=self._budget.budget,
            number=self._number,
            eval_options=self._eval_options,
            prefix=prefix,
            clusters=clusters,
        )
        self._evaluators.append(evaluator)
        return evaluator

    def _objective(self, evaluator: Evaluator, split: DataSplit) -> Objective:
        calibration, preference = CandidateCalibration(evaluator, split.labels), Preference(self._options.prefer)
        return Objective(estimates=Estimates(evaluator, calibration, preference), split=split)
