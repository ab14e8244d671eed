"""A tuning from beginning to end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Final

from promptkit.errors import InputError, MissingExtra, PromptkitError, nearest
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.project import Project, is_suite
from promptkit.runtimes.models import Models
from promptkit.storage.files import frozen_files
from promptkit.storage.records import reading_record
from promptkit.storage.store import Store
from promptkit.tuning.budget import BudgetShares, Plan, estimated_calls, share_budget
from promptkit.tuning.confirmation.verdict import LEAST_ROWS, smallest_detectable_gain
from promptkit.tuning.data_split import DataSplit, data_notes, read_data_split, step_data_split
from promptkit.tuning.dspy_bridge import require_dspy
from promptkit.tuning.options import OPTIMIZERS, TuneOptions
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.run import Setup, TuningResult, TuningRun
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search_space.candidate import KINDS
from promptkit.tuning.search_space.space import SearchSpace, derive_search_space, open_named_models, step_models

if TYPE_CHECKING:
    from promptkit.evaluation.suite.suite import Measure
    from promptkit.runtimes.base import Model
    from promptkit.tuning.search_space.examples import GeneratedDemos

KIND: Final = "tune"
RECENT_RUNS: Final = 20
CALLS_A_CANDIDATE: Final = 10
DSPY_SPACE_NOTE: Final = "it varies instructions and examples, and decides itself which"


class Tuning:
    """A tuning of one target. `suite` was loaded with the target as its `start`. Make it where the event loop runs.

    `standing` may be looked at meanwhile; `tuned` has what was there when it ended, however it ended. Raises InputError
    for a metric that cannot be an aim, and MissingExtra where the optimizer is not installed.
    """

    def __init__(
        self,
        suite: Suite,
        *,
        models: Models,
        store: Store,
        wishes: TuneOptions | None = None,
        options: EvalOptions | None = None,
    ) -> None:
        self.wishes = wishes or TuneOptions()
        if self.wishes.optimizer != OPTIMIZERS[0]:
            require_dspy(self.wishes.optimizer)
        self.suite = replace(suite, measures=(_objective_measure(suite, self.wishes.metric),))
        self.standing = TuningProgress()
        self.tuned: TuningResult | None = None
        self._models = models
        self._store = store
        self._options = options or EvalOptions()
        self._ready: Setup | None = None

    async def plan(self) -> Plan:
        """Return what would be tried and the most it can cost; nothing is asked.

        Raises InputError for rows, a space or a budget that nothing can be made of, and what the absence of the model
        raises.
        """
        ready = await self._prepared()
        ground, axes = ready.ground, ready.space.axes
        shares = self._shares(ready, self._likely_calls(ground))
        rate = self._seconds_a_call(ready)
        return Plan(
            target=self.suite.target,
            suite=self.suite.name,
            metric=self.suite.measures[0].name,
            optimizer=self.wishes.optimizer,
            search=len(ground.order),
            pool=len(ground.pool),
            confirm=len(ground.confirm),
            clusters=None if self.suite.data.spec.cluster is None else ground.independent,
            axes=axes,
            candidates=min(prod(len(axis.levels) for axis in axes), shares.search // CALLS_A_CANDIDATE) if axes else 0,
            calls=shares.total,
            confirm_calls=shares.confirm,
            limits=self.wishes.limits,
            minutes=None if rate is None else shares.total * rate / 60,
            smallest=ready.smallest,
            notes=(*ready.space.notes, *data_notes(ground)),
        )

    async def run(self) -> TuningResult:
        """Tune, and return what was found; cancelled, it leaves the best so far in `tuned`.

        What fails in the middle is in the result, and the same tuning goes on from there. Raises InputError before
        anything is asked, StoreFailed, and what the absence of the model raises.
        """
        with frozen_files():
            ready = await self._prepared()
            shares = self._shares(ready, self._likely_calls(ready.ground))
            work = TuningRun(
                self.suite,
                ready,
                wishes=self.wishes,
                models=self._models,
                store=self._store,
                standing=self.standing,
                number=self._begin(ready),
                options=self._options,
                shares=lambda calls_a_row: self._shares(ready, calls_a_row),
            )
            self.standing.budget = work.budget
            work.budget.most = shares.total
            try:
                await work.run()
            except asyncio.CancelledError:
                self.tuned = work.end("interrupted", "interrupted")
                raise
            except InputError:
                work.end("failed", "failed")
                raise
            except PromptkitError as failure:
                self.tuned = work.end("incomplete", "failed", failure)
                return self.tuned
            except BaseException:
                work.end("failed", "failed")
                raise
            self.tuned = work.end("done")
        return self.tuned

    async def _prepared(self) -> Setup:
        if self._ready is None:
            model = await (await self._models.get(self.suite.baseline.model)).model()
            if self.wishes.teacher is not None:  # One that is not there would be missed when much is asked.
                await (await self._models.get(self.wishes.teacher)).model()
            tunings, name = self._store.tunings, suite_name(self.suite)
            ground = read_data_split(self.suite, tunings.split(name), seed=self.wishes.seed)
            _check_rows(ground)
            alone, too_few = _step_splits(self.suite, ground)
            models = await step_models(self.suite, self._models)

            def respaced(made: GeneratedDemos) -> SearchSpace:
                space = self._space(ground, alone, models, made)
                return replace(space, notes=(*space.notes, *too_few))

            is_ours = self.wishes.optimizer == OPTIMIZERS[0]
            space = (
                respaced({})
                if is_ours
                else SearchSpace((), (f"`{self.wishes.optimizer}` is DSPy's: {DSPY_SPACE_NOTE}",))
            )
            if is_ours:
                _check_space(space, ground)
                await open_named_models(space.axes, self.suite, self._models)
            tunings.keep_split(name, ground.salt, ground.share)
            smallest = smallest_detectable_gain(ground.independent) if ground.size >= LEAST_ROWS else None
            self._ready = Setup(
                model=model,
                ground=ground,
                alone=alone,
                space=space,
                models=models,
                respaced=respaced,
                smallest=smallest,
            )
        return self._ready

    def _space(
        self, ground: DataSplit, alone: Mapping[str, DataSplit], models: Mapping[str, Model], made: GeneratedDemos
    ) -> SearchSpace:
        """Return what may vary; of a step with labels of its own its rows say what its examples can be."""
        wishes = self.wishes
        whole = derive_search_space(ground, models, only=wishes.only, seed=wishes.seed, made=made)
        axes, notes = {axis.name: axis for axis in whole.axes}, list(whole.notes)
        for step, own in alone.items():
            only = [each for each in wishes.only if each in KINDS or each.split(".")[0] == step]
            if only or not wishes.only:
                found = derive_search_space(own, models, only=only, seed=wishes.seed, made=made)
                axes |= {axis.name: axis for axis in found.axes}
                # What the rows of the whole do not have, those of the step may.
                notes = [each for each in notes if not each.startswith((f"{step}: ", f"{step}."))] + list(found.notes)
        return SearchSpace(tuple(axes.values()), tuple(dict.fromkeys(notes)), whole.kinds)

    def _shares(self, ready: Setup, calls_a_row: float) -> BudgetShares:
        return share_budget(
            self.wishes.limits,
            order=len(ready.ground.order),
            confirm=len(ready.ground.confirm),
            calls_a_row=calls_a_row,
            prices=[[level.requests for level in axis.levels] for axis in ready.space.axes],
        )

    def _likely_calls(self, ground: DataSplit) -> float:
        # A budget that is named is refused for what is sure alone; the first rows tell the rest.
        return estimated_calls(ground) if self.wishes.limits.calls is None else float(_least_calls(self.suite))

    def _seconds_a_call(self, ready: Setup) -> float | None:
        """Return how long a request took in the last runs on the same model, by the clock; None where there is none."""
        for run in self._store.runs(limit=RECENT_RUNS):
            with self._store.damage.skipping(), reading_record(f"runs {run.number}, `record`"):
                told = run.record
                sides = told.get("variants", [told])
                calls, cached = (sum(each.get(key, 0) for each in sides) for key in ("calls", "cached"))
                asked = calls - cached
                is_same = run.model.get("digest") == ready.model.digest
                # Else what was known takes most of the time.
                if is_same and run.ended and asked >= max(CALLS_A_CANDIDATE, cached):
                    return float((run.ended - run.started) / asked)
        return None

    def _begin(self, ready: Setup) -> int:
        self._store.close_dead_runs()
        told = {"reference": ready.model.reference, "digest": ready.model.digest}
        wishes = self.wishes
        settings = {"suite": suite_name(self.suite), "optimizer": wishes.optimizer, "budget": wishes.limits.record()}
        return self._store.begin_run(KIND, self.suite.target, model=told, inputs={**settings, "seed": wishes.seed})


def suite_name(suite: Suite) -> str:
    """Return what a suite is called in the store: its file as the project has it."""
    return relpath(suite.file, suite.project.root)


def _objective_measure(suite: Suite, name: str | None) -> Measure:
    """Return the measure of that name, left out the first. Raises InputError where a search cannot aim at it."""
    measures = {each.name: each for each in suite.measures}
    if name is not None and name not in measures:
        raise InputError(f"the suite `{suite.name}` has no metric `{name}`", hint=nearest(name, measures))
    measure = measures[name] if name is not None else suite.measures[0]
    able = [each.name for each in suite.measures if each.metric.bounds is not None and not each.metric.pairs]
    if measure.name in able:
        return measure
    why = (
        "compares with another answer"
        if measure.metric.pairs
        else "has no bounds: less of it is not the aim of a prompt"
    )
    hint = f"--metric {able[0]}" if able else "give the suite a metric such as `accuracy: label`"
    raise InputError(f"a search cannot aim at `{measure.name}`, which {why}", hint=hint)


def _least_calls(suite: Suite) -> int:
    """Return how many calls a row of the start takes at least, unless `when` leaves a step out."""
    return suite.repeat * max(1, sum(step.asking is not None for step in suite.baseline.pipeline.steps.values()))


def _step_splits(suite: Suite, ground: DataSplit) -> tuple[dict[str, DataSplit], list[str]]:
    """Return the rows as the steps take them that have labels of their own, and which steps have too few for it."""
    alone, notes = {}, []
    for each in suite.steps:
        own, step = step_data_split(replace(each, measures=each.measures[:1]), ground), each.wanted.step
        assert step is not None, "the suite of a step names it"
        if len(own.order) >= min(SMOKE_ROWS, len(ground.order)):
            alone[step] = own
        else:
            told = f"{step}: {len(own.order)} of the search rows have labels of its own"
            notes.append(f"{told}, too few to search on: it is searched by the final metric")
    return alone, notes


def _check_rows(ground: DataSplit) -> None:
    """Raise InputError for rows on which a search would learn nothing, or the wrong thing."""
    suite = ground.suite
    if ground.labels is not None and len(ground.labels) > 1 and len(set(ground.labels)) == 1:
        told = f"all {len(ground.rows)} rows of `{suite.name}` expect `{ground.labels[0]}`"
        raise InputError(f"{told}: a prompt that always says so would win", hint="add rows of the other labels")
    if not ground.order or not ground.confirm:
        clusters = "" if suite.data.spec.cluster is None else " of too few clusters"
        told = f"`{suite.name}` has {len(ground.rows)} rows{clusters}, {ground.size} without repeats"
        raise InputError(
            f"{told}: too few to search on some and confirm on others",
            hint="200 rows show a gain of about 10 points, 30 are the least",
        )


def _check_space(space: SearchSpace, ground: DataSplit) -> None:
    """Raise InputError where nothing can be varied, nor calibrated, nor shown once the model has made it."""
    suite = ground.suite
    asking = [each.asking for each in suite.baseline.pipeline.steps.values() if each.asking is not None]
    calibrates = any(each.decide == "score" and each.calibrate is None for each in asking)
    shows = asking and ground.pool and "examples" in space.kinds
    if not (space.axes or calibrates or shows):
        hint = "; ".join(space.notes) or "`tune:` of the pipeline and `--only` say what may vary"
        raise InputError(f"there is nothing to tune in `{suite.target}`", hint=hint)


def load_tuning_suite(target: str, suite: str | None, *, sets: Sequence[str] = (), run_code: bool = True) -> Suite:
    """Return the suite that measures a target, with the target as its start, changed by `sets`.

    Without `run_code` its data function, if it has one, is not run.
    Both are named or paths; a suite is left out where one of the project names the target. Raises InputError.
    """
    if is_suite(Path(target)):
        raise InputError(f"`{target}` is a suite, which is measured", hint=f"promptkit tune TARGET --suite {target}")
    here = Project.find(Path.cwd())
    project = Project.find(Path(target), otherwise=here.root) if os.path.exists(target) else here
    file = project.target(target)
    path = project.suite(suite) if suite is not None else _only_suite(file, project)
    return load_suite(path, project, sets=sets, start=file, run_code=run_code)


def _only_suite(target: Path, project: Project) -> Path:
    """Return the one suite of a project that names a target. Raises InputError where none does, or several do."""
    found: list[tuple[str, Path]] = []
    of_steps: list[tuple[str, Path]] = []
    for name in project.names("evals"):
        path = project.suite(name)
        try:
            suite = load_suite(path, project, run_code=False)
        except (InputError, MissingExtra):
            continue  # What is wrong in it is told by `check`; it is not the one that is meant.
        if suite.wanted.target == target:
            (found if suite.wanted.step is None else of_steps).append((name, path))
    if not found:
        hint = "name the one that is meant by --suite"
        if of_steps:
            hint = f"`{of_steps[0][0]}` measures one of its steps: {hint}"
        raise InputError(f"no suite measures `{target.stem}`", hint=hint)
    if len(found) > 1:
        raise InputError(f"several suites measure `{target.stem}`", hint=f"--suite {found[0][0]}, or {found[1][0]}")
    return found[0][1]


def separate_models(suite: Suite, teacher: str | None) -> list[str]:
    """Return the models that the one which is tuned on does not stand for: those that judge, and the teacher."""
    judges = [each.metric.model for each in suite.measures if each.metric.model]
    return [*judges, *([teacher] if teacher else [])]
