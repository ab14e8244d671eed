"""One tuning run: search, choice of the incumbent, confirmation, record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isnan
from typing import Final, Literal

from promptkit.errors import BudgetSpent, InputError, Problem, PromptkitError, place
from promptkit.evaluation.cells.progress import Defects, EvalOptions
from promptkit.evaluation.record import Defect
from promptkit.evaluation.suite.suite import Suite, read_variant
from promptkit.runtimes.base import Model
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.models import Models
from promptkit.storage.hashes import content_key
from promptkit.storage.store import Store
from promptkit.tuning.budget import BudgetShares, TuningBudget, row_cost
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.confirmation.ablation import ablate
from promptkit.tuning.confirmation.confirm import VERDICT_REASONS, Confirmation, confirm, holdout_key, pair_key
from promptkit.tuning.data_split import DataSplit, data_notes, step_data_split
from promptkit.tuning.dspy_bridge.extra import open_search
from promptkit.tuning.evaluator import Evaluator, SearchFailed
from promptkit.tuning.options import TuneOptions
from promptkit.tuning.pareto import preferred_candidate
from promptkit.tuning.prior.warm_start import WarmStart
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.proposals.proposer import Proposer
from promptkit.tuning.proposals.teacher import NO_TEACHER, find_teacher
from promptkit.tuning.record import TuningState, tuning_record
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search.steps import Objective, Objectives, StepsSearch
from promptkit.tuning.search_space.bootstrap import generate_demonstrations
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Candidate
from promptkit.tuning.search_space.examples import GeneratedDemos
from promptkit.tuning.search_space.space import SearchSpace
from promptkit.tuning.trials import Estimates, Stage
from promptkit.tuning.tune_record import TuneRecord

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The state of a tuning run before its first request.

    `step_splits`: the split as each step binds it that has labels of its own. `models` answer the steps. `space_with`
    derives the space again with generated demonstrations. `smallest_gain`: the smallest gain that the confirmation
    could detect, None if it can detect none.
    """

    model: Model
    split: DataSplit
    step_splits: Mapping[str, DataSplit]
    space: SearchSpace
    models: Mapping[str, Model]
    space_with: Callable[[GeneratedDemos], SearchSpace]
    smallest_gain: float | None


class TuningRun:
    """A run of tuning under a run number. `shares` returns the budget's shares for a cost per row."""

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
        self._space_notes = setup.space.notes
        self._budget = TuningBudget(options.limits)
        split = setup.split
        self._evaluators: list[Evaluator] = []
        self._evaluator = self._open_evaluator(suite, split)
        whole = self._objective(self._evaluator, split)
        evaluators = {
            step: self._open_evaluator(step_split.suite, step_split, f"{step} alone: ")
            for step, step_split in setup.step_splits.items()
        }
        alone = {step: self._objective(evaluator, setup.step_splits[step]) for step, evaluator in evaluators.items()}
        self._objectives = Objectives(whole=whole, steps=alone, recorded=self._recorded)
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
        """Search, choose the incumbent and confirm it. Raises the error that ends it early."""
        shares = await self._measured_shares()
        if self._options.optimizer == "race":
            search = await self._race(shares)
            await search.run(self._left())
        else:
            options = self._options
            bridged = open_search(
                options.optimizer,
                self._objectives.whole,
                progress=self._progress,
                models=self._models.within(self.budget),
                teacher=None if options.teacher == NO_TEACHER else options.teacher,
                seed=options.seed,
            )
            self._state.result = bridged.found
            await bridged.run(self._left())
        await self._choose()
        self._budget.lift_limits(shares)
        if self._state.result.calibrated.changes:
            await self._confirm()
        else:
            why = VERDICT_REASONS["start is best" if len(self._state.result.trials) > 1 else "nothing tried"]
            self._state.confirmation = Confirmation(outcome="not shown", why=why)

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

    async def _measured_shares(self) -> BudgetShares:
        """Evaluate the start on a few rows, and set aside what the confirmation needs at their cost."""
        split = self._setup.split
        rows, before = split.search[:SMOKE_ROWS], self._budget.seconds
        try:
            await self._evaluator.evaluate([Candidate()], rows)
        except BudgetSpent as spent:
            limit = self.budget.ended or "calls"
            given = self._options.limits.record().get(limit) or 0
            raise InputError(
                f"--budget {limit}={given:g} is too small: it does not cover the start on {len(rows)} rows"
            ) from spent
        results = list(self._evaluator.results(Candidate(), rows))
        if results and all(result.score is None for result in results):
            hint = f"`promptkit eval {place(self._suite.file)} --limit {len(rows)}` shows each row"
            message = f"the start answers none of the first {len(rows)} rows: {results[0].problem}"
            raise SearchFailed(message, hint=hint)
        seconds = self._budget.seconds - before if self._evaluator.requests_sent else None
        cost = row_cost(results, seconds=seconds, parallel=self._setup.model.parallel)
        shares = self._shares(cost.calls)
        self._budget.limit_to_search(shares, cost, holdout_rows=len(split.holdout))
        return shares

    def _left(self) -> int:
        return max(0, int(self.budget.most - self.budget.spent))

    async def _race(self, shares: BudgetShares) -> StepsSearch:
        """Return promptkit's own search, over the space with the demonstrations that the model generates for it."""
        options, setup, space = self._options, self._setup, self._setup.space
        demos: GeneratedDemos = {}
        if "examples" in setup.space.kinds:
            self._progress.begin_stage("examples", 1)
            before, calls = self.budget.spent, self._left()
            with suppress(BudgetSpent):  # Tokens or time ran out; what is left may still cover a search without them.
                demos = await generate_demonstrations(
                    self._objectives, space.parameters, setup.models, calls=calls, most_requests=shares.most_requests
                )
            if self.budget.spent > before:
                self._stage("examples", 1, before, rows=len(setup.split.demo_pool))
        if demos:
            space = setup.space_with(demos)
            self._space_notes = space.notes
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
            space.parameters,
            progress=self._progress,
            mode=options.mode,
            seed=options.seed,
            most_requests=shares.most_requests,
            result=self._state.result,
            own=space.own,
            open_proposer=open_proposer if teacher is not None else None,
            warm_start=self._warm_start,
        )

    async def _choose(self) -> None:
        """Choose by `--prefer` among the late trials; choose nothing if the metric scores every answer the same."""
        result, estimates = self._state.result, self._state.estimates
        trials = list(result.trials.values())
        calibration = estimates.calibration
        scores = {
            score
            for trial in trials
            for score in calibration.scores(trial.candidate, trial.rows).tolist()
            if not isnan(score)
        }
        if len(scores) == 1:
            metric, value = estimates.evaluator.metric.name, estimates.in_units(scores.pop())
            self._progress.note(f"`{metric}` is {value:g} for every answer: it cannot tell prompts apart")
            result.incumbent = result.calibrated = Candidate()
            return
        if result.incumbent.key not in result.trials and self._options.prefer != "best":
            self._progress.note(
                "--prefer is not applied: steps were tuned alone, and no candidate was evaluated on the whole target"
            )
        preferred = preferred_candidate(estimates, result.incumbent, trials, self._options.prefer)
        if preferred.key != result.incumbent.key:
            result.incumbent = preferred
            result.calibrated = await calibration.freeze(preferred, result.trials[preferred.key].rows)

    async def _confirm(self) -> None:
        """Store the incumbent, then evaluate start and incumbent on the held-out rows."""
        state, split, incumbent = self._state, self._setup.split, self._state.result.calibrated
        ordinal = self._store.tunings.ordinal(
            holdout_key(split), pair_key(*map(self._candidate_digest, (Candidate(), incumbent)))
        )
        state.confirmation = Confirmation(outcome="not shown", why="the confirmation did not finish", ordinal=ordinal)
        self._store.update_run(self._number, self._record("running").to_json())
        self._progress.begin_stage("confirm", 2)
        before = self.budget.spent
        try:
            state.confirmation = await confirm(self._evaluator, Candidate(), incumbent, split, ordinal=ordinal)
        except BudgetSpent:
            why = "the budget was spent before the confirmation finished: a larger one resumes it"
            state.confirmation = Confirmation(outcome="not shown", why=why, ordinal=ordinal)
            return
        self._stage("confirm", 2, before)
        if state.confirmation.is_cheaper and state.confirmation.outcome != "improved":
            self._progress.note("the incumbent takes at most 80 % of the start's tokens and is at most 2 points worse")
        before = self.budget.spent
        self._progress.begin_stage("ablation", len(incumbent.choices))
        state.ablation = await ablate(self._evaluator, incumbent, split.holdout, state.result.effects)
        self._stage("ablation", len(incumbent.choices), before)

    def _stage(self, name: str, candidates: int, before: int, *, rows: int | None = None) -> None:
        rows, calls = len(self._setup.split.holdout) if rows is None else rows, self.budget.spent - before
        self._state.result.stages.append(Stage(name=name, step=None, candidates=candidates, rows=rows, calls=calls))

    def _candidate_digest(self, candidate: Candidate) -> bytes:
        """Return a key of a candidate of this target, model and metric."""
        start = self._suite.baseline.content.hex()
        text = json.dumps([start, self._setup.model.digest, self._suite.measures[0].key, candidate.key])
        return content_key(text, KEY_BYTES)

    def _record(self, status: str) -> TuneRecord:
        state = self._state
        state.seconds = self._budget.seconds
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

    def _open_evaluator(self, suite: Suite, split: DataSplit, prefix: str = "") -> Evaluator:
        evaluator = Evaluator(
            suite,
            split.rows,
            models=self._models,
            store=self._store,
            budget=self._budget.budget,
            number=self._number,
            eval_options=self._eval_options,
            prefix=prefix,
        )
        self._evaluators.append(evaluator)
        return evaluator

    def _recorded(self, step: str) -> Evaluator:
        """Return an evaluator of a labelled step on what the earlier steps give as they are written."""
        labelled, split = self._setup.step_splits[step].suite, self._setup.split
        settings = replace(self._suite.source, step=step, recorded=True)
        baseline = read_variant(AS_WRITTEN, {}, settings, Problem)
        suite = replace(
            self._suite, source=settings, variants=(baseline,), measures=labelled.measures, expect=labelled.expect
        )
        return self._open_evaluator(suite, step_data_split(suite, split), f"{step} after the others: ")

    def _objective(self, evaluator: Evaluator, split: DataSplit) -> Objective:
        return Objective(estimates=Estimates(evaluator, CandidateCalibration(evaluator, split.labels)), split=split)
