"""One tuning run: search, choice of the incumbent, confirmation, record."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from promptkit.errors import BudgetSpent, InputError, Problem, PromptkitError, place
from promptkit.evaluation.cells.progress import Defects
from promptkit.evaluation.record import Defect
from promptkit.evaluation.suite.suite import read_variant
from promptkit.tuning.budget import BudgetShares, TuningBudget, row_cost
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.confirmation.ablation import ablate
from promptkit.tuning.confirmation.confirm import VERDICT_REASONS, Confirmation, confirm, holdout_key, pair_key
from promptkit.tuning.data_split import data_notes, step_data_split
from promptkit.tuning.dspy_bridge import open_search
from promptkit.tuning.evaluator import Evaluator, SearchFailed
from promptkit.tuning.pareto import preferred_candidate
from promptkit.tuning.proposals.proposer import Proposer, find_teacher
from promptkit.tuning.record import TuningState, tuning_record
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search.steps import Objective, Objectives, StepsSearch
from promptkit.tuning.search_space.bootstrap import generate_demonstrations
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Candidate
from promptkit.tuning.trials import Estimates, Stage
from promptkit.tuning.tune_record import TuneRecord

if TYPE_CHECKING:
    from promptkit.evaluation.cells.progress import EvalOptions
    from promptkit.evaluation.suite.suite import Suite
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.budget import Budget
    from promptkit.runtimes.models import Models
    from promptkit.storage.store import Store
    from promptkit.tuning.data_split import DataSplit
    from promptkit.tuning.options import TuneOptions
    from promptkit.tuning.progress import TuningProgress
    from promptkit.tuning.search_space.examples import GeneratedDemos
    from promptkit.tuning.search_space.space import SearchSpace

KEY_BYTES: Final = 16
Status = Literal["done", "incomplete", "interrupted", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResult:
    """A tuning that ended. `record` is what `--json` prints; `failure` is what ended it before it was through.

    `chosen` is what is worth writing, None where nothing is. `notices` are what the requests had to say that were made
    this time: a tuning that goes on from another has others.
    """

    number: int
    status: Status
    record: TuneRecord
    chosen: Candidate | None = None
    failure: PromptkitError | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is known before the first call. `alone` are the rows as the steps take them that have labels of their own.

    `models` answer the steps; `respaced` gives the space anew with demonstrations that were made. `smallest` is the
    gain that the confirmation could show, None where it can show none.
    """

    model: Model
    ground: DataSplit
    alone: Mapping[str, DataSplit]
    space: SearchSpace
    models: Mapping[str, Model]
    respaced: Callable[[GeneratedDemos], SearchSpace]
    smallest: float | None


class TuningRun:
    """The work of a tuning in the run of that number. `shares` says how calls are shared at a price a row."""

    def __init__(
        self,
        suite: Suite,
        ready: Setup,
        *,
        wishes: TuneOptions,
        models: Models,
        store: Store,
        standing: TuningProgress,
        number: int,
        options: EvalOptions,
        shares: Callable[[float], BudgetShares],
    ) -> None:
        self._suite = suite
        self._ready = ready
        self._wishes = wishes
        self._models = models
        self._store = store
        self._standing = standing
        self._number = number
        self._options = options
        self._shares = shares
        self._space_notes = ready.space.notes
        self._spending = TuningBudget(wishes.limits)
        ground = ready.ground
        self._fields: list[Evaluator] = []
        self._field = self._field_of(suite, ground)
        whole = self._bed(self._field, ground)
        fields = {step: self._field_of(own.suite, own, f"{step} alone: ") for step, own in ready.alone.items()}
        alone = {step: self._bed(field, ready.alone[step]) for step, field in fields.items()}
        self._beds = Objectives(whole=whole, alone=alone, recorded=self._recorded)
        self._state = TuningState(
            number=number,
            target=suite.target,
            model=ready.model,
            why=models.why(suite.baseline.model),
            wishes=wishes,
            ground=ground,
            evidence=whole.evidence,
            smallest=ready.smallest,
        )

    @property
    def budget(self) -> Budget:
        """What is spent, and what may be."""
        return self._spending.budget

    async def run(self) -> None:
        """Search, pick and confirm. Raises what ends it before it is through."""
        shares = await self._measured_shares()
        if self._wishes.optimizer == "race":
            search = await self._race(shares)
            await search.run(self._left())
        else:
            wishes = self._wishes
            bridged = open_search(
                wishes.optimizer,
                self._beds.whole,
                standing=self._standing,
                models=self._models.within(self.budget),
                teacher=wishes.teacher,
                seed=wishes.seed,
            )
            self._state.found = bridged.found
            await bridged.run(self._left())
        await self._choose()
        self._spending.rest(shares)
        if self._state.found.chosen.changes:
            await self._confirm()
        else:
            why = VERDICT_REASONS["start is best" if len(self._state.found.seen) > 1 else "nothing tried"]
            self._state.confirmed = Confirmation(outcome="not shown", why=why)

    def end(self, status: Status, stopped_by: str = "done", failure: PromptkitError | None = None) -> TuningResult:
        """Keep what there is as the run's record, and return it."""
        state = self._state
        is_spent = stopped_by == "done" or isinstance(failure, BudgetSpent)
        state.stopped_by = self.budget.ended or stopped_by if is_spent else stopped_by
        record = self._record(status)
        self._store.end_run(self._number, status, record.to_json())
        chosen = state.found.chosen if state.confirmed and state.found.chosen.changes else None
        notices = tuple(dict.fromkeys(told for field in self._fields for told in field.notices))
        return TuningResult(
            number=self._number, status=status, record=record, chosen=chosen, failure=failure, notices=notices
        )

    async def _measured_shares(self) -> BudgetShares:
        """Ask the start on a few rows, and set aside what the confirmation needs at what these took."""
        ground = self._ready.ground
        rows, before = ground.order[:SMOKE_ROWS], self._spending.seconds
        try:
            await self._field.have([Candidate()], rows)
        except BudgetSpent as spent:
            limit = self.budget.ended or "calls"
            told = f"--budget {limit}={self._wishes.limits.record().get(limit) or 0:g} is too small"
            raise InputError(f"{told}: it does not hold the start on {len(rows)} rows") from spent
        cells = list(self._field.cells(Candidate(), rows))
        if cells and all(each.score is None for each in cells):
            hint = f"`promptkit eval {place(self._suite.file)} --limit {len(rows)}` shows each"
            told = f"the start has an answer to none of the first {len(rows)} rows: {cells[0].problem}"
            raise SearchFailed(told, hint=hint)
        seconds = self._spending.seconds - before if self._field.asked else None
        price = row_cost(cells, seconds=seconds, parallel=self._ready.model.parallel)
        shares = self._shares(price.calls)
        self._spending.search(shares, price, confirm=len(ground.confirm))
        return shares

    def _left(self) -> int:
        return max(0, int(self.budget.most - self.budget.spent))

    async def _race(self, shares: BudgetShares) -> StepsSearch:
        """Return our own search, over the space with the demonstrations that the model makes for it."""
        wishes, ready, axes = self._wishes, self._ready, self._ready.space.axes
        made: GeneratedDemos = {}
        if "examples" in ready.space.kinds:
            self._standing.enter("examples", 1)
            before, calls = self.budget.spent, self._left()
            with suppress(BudgetSpent):  # Of tokens or time; what is left may still hold a search without them.
                made = await generate_demonstrations(
                    self._beds, axes, ready.models, calls=calls, most_requests=shares.most_requests
                )
            if self.budget.spent > before:
                self._stage("examples", 1, before, rows=len(ready.ground.pool))
        if made:
            space = ready.respaced(made)
            axes, self._space_notes = space.axes, space.notes
        own, models = self._suite.baseline.model, self._models.within(self.budget)
        teacher = None
        if "wording" in ready.space.kinds:
            teacher = await find_teacher(wishes.teacher, own, ready.model, models, self._standing)
        elif wishes.teacher is not None:
            self._standing.note("the teacher is not asked: wording is not among what may vary")

        def teach(bed: Objective, step: str) -> Proposer:
            assert teacher is not None, "without a teacher nothing is taught"
            return Proposer(bed.evidence.field, bed.ground, step, teacher, self._standing)

        return StepsSearch(
            self._beds,
            axes,
            standing=self._standing,
            mode=wishes.mode,
            seed=wishes.seed,
            most_requests=shares.most_requests,
            found=self._state.found,
            teach=teach if teacher is not None else None,
        )

    async def _choose(self) -> None:
        """Take what is preferred among what came far; nothing where the metric says the same of every answer."""
        found, evidence = self._state.found, self._state.evidence
        seen = list(found.seen.values())
        calibrating = evidence.calibrating
        scores = {each for one in seen for each in calibrating.scores(one.candidate, one.rows).tolist() if each == each}
        if len(scores) == 1:
            told = f"`{evidence.field.metric.name}` is {evidence.in_units(scores.pop()):g} for every answer"
            self._standing.note(f"{told}: it cannot tell prompts apart")
            found.pick = found.chosen = Candidate()
            return
        if found.pick.key not in found.seen and self._wishes.prefer != "best":
            self._standing.note("--prefer is not applied: each step was tuned alone, nothing on the whole")
        wanted = preferred_candidate(evidence, found.pick, seen, self._wishes.prefer)
        if wanted.key != found.pick.key:
            found.pick = wanted
            found.chosen = await calibrating.frozen(wanted, found.seen[wanted.key].rows)

    async def _confirm(self) -> None:
        """Keep the pick, then ask start and pick on the rows that no search has seen."""
        state, ground, chosen = self._state, self._ready.ground, self._state.found.chosen
        ordinal = self._store.tunings.ordinal(holdout_key(ground), pair_key(*map(self._told, (Candidate(), chosen))))
        state.confirmed = Confirmation(outcome="not shown", why="the confirmation is not through", ordinal=ordinal)
        self._store.update_run(self._number, self._record("running").to_json())
        self._standing.enter("confirm", 2)
        before = self.budget.spent
        try:
            state.confirmed = await confirm(self._field, Candidate(), chosen, ground, ordinal=ordinal)
        except BudgetSpent:
            why = "the budget was spent before the confirmation was through: a larger one goes on from there"
            state.confirmed = Confirmation(outcome="not shown", why=why, ordinal=ordinal)
            return
        self._stage("confirm", 2, before)
        if state.confirmed.is_cheaper and state.confirmed.outcome != "improved":
            told = "the pick takes at most 80 % of the start's tokens"
            self._standing.note(f"{told}, and is not worse by 2 points or more")
        before = self.budget.spent
        self._standing.enter("ablation", len(chosen.choices))
        state.ablation = await ablate(self._field, chosen, ground.confirm, state.found.effects)
        self._stage("ablation", len(chosen.choices), before)

    def _stage(self, name: str, candidates: int, before: int, *, rows: int | None = None) -> None:
        rows, calls = len(self._ready.ground.confirm) if rows is None else rows, self.budget.spent - before
        self._state.found.stages.append(Stage(name=name, step=None, candidates=candidates, rows=rows, calls=calls))

    def _told(self, candidate: Candidate) -> bytes:
        """Return what tells a candidate of this target, model and aim from others."""
        start = self._suite.baseline.content.hex()
        text = json.dumps([start, self._ready.model.digest, self._suite.measures[0].key, candidate.key])
        return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()

    def _record(self, status: str) -> TuneRecord:
        state = self._state
        state.seconds = self._spending.seconds
        missing = Counter(problem for field in self._fields for problem in field.problems())
        told = [f"missing answers: {missing.total()}, most often: {one}" for one, _ in missing.most_common(1)]
        state.notes = [*self._space_notes, *data_notes(self._ready.ground), *self._standing.noted, *told]
        defects = Defects()
        for field in self._fields:
            defects.add(field.defects)
        record, found = tuning_record(state, status), defects.record()
        return record.model_copy(update={"defects": [Defect.model_validate(each) for each in found]} if found else {})

    def _field_of(self, suite: Suite, ground: DataSplit, prefix: str = "") -> Evaluator:
        field = Evaluator(
            suite,
            ground.rows,
            models=self._models,
            store=self._store,
            budget=self._spending.budget,
            number=self._number,
            options=self._options,
            prefix=prefix,
        )
        self._fields.append(field)
        return field

    def _recorded(self, step: str) -> Evaluator:
        """Return what candidates give for a step with labels where the steps before it run as they are written."""
        labelled, ground = self._ready.alone[step].suite, self._ready.ground
        wanted = replace(self._suite.wanted, step=step, recorded=True)
        baseline = read_variant(AS_WRITTEN, {}, wanted, Problem)
        suite = replace(
            self._suite, wanted=wanted, variants=(baseline,), measures=labelled.measures, expect=labelled.expect
        )
        return self._field_of(suite, step_data_split(suite, ground), f"{step} after the others: ")

    def _bed(self, field: Evaluator, ground: DataSplit) -> Objective:
        return Objective(evidence=Estimates(field, CandidateCalibration(field, ground.labels)), ground=ground)
