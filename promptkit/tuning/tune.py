"""A tuning from beginning to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from os.path import relpath
from typing import Any, Final

from promptkit.errors import InputError, PromptkitError, nearest
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.metrics.base import Metric
from promptkit.evaluation.metrics.human import Human
from promptkit.evaluation.stored_run import kind_record
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.runtimes.base import Model
from promptkit.runtimes.models import Models
from promptkit.storage.files import frozen_files
from promptkit.storage.records import reading_record
from promptkit.storage.store import Store
from promptkit.tuning.budget import BudgetShares, Plan, estimated_calls, share_budget
from promptkit.tuning.confirmation.forgetting import KeptSuite, load_kept_suite, without_searched
from promptkit.tuning.confirmation.looks import detectable_gain
from promptkit.tuning.confirmation.verdict import LEAST_ROWS
from promptkit.tuning.confirmed_run import CONFIRM_ROWS, CONFIRM_SETTINGS
from promptkit.tuning.costs import relative_requests
from promptkit.tuning.data_split import DataSplit, data_notes, holdout_units, read_data_split, step_data_split
from promptkit.tuning.dspy_bridge.extra import require_dspy
from promptkit.tuning.evaluator import without_reasons
from promptkit.tuning.options import OPTIMIZERS, TuneOptions
from promptkit.tuning.own_variants import own_candidates, own_variants, with_own_choices
from promptkit.tuning.prior.history import TuningHistory
from promptkit.tuning.prior.warm_start import PooledTunings, WarmStart, kept_prior, pool_tunings, prior_text
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.proposals.teacher import NO_TEACHER, named_teacher
from promptkit.tuning.run import TuningResult, TuningRun
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search_space.candidate import KINDS, dearest_candidate, prune_costly
from promptkit.tuning.search_space.demonstration import GeneratedDemos
from promptkit.tuning.search_space.space import SearchSpace, derive_search_space, open_named_models, step_models
from promptkit.tuning.setup import Setup
from promptkit.tuning.tune_record import TUNE
from promptkit.tuning.weights.tasks import planned_notes, weights_steps
from promptkit.tuning.weights.trainer import Trainer
from promptkit.tuning.weights.trainers import open_trainers

RECENT_RUNS: Final = 20
CALLS_A_CANDIDATE: Final = 10
DSPY_SPACE_NOTE: Final = "it varies instructions and examples by its own rules"


class Tuning:
    """A tuning of one target. Create it where the event loop runs.

    `suite` was loaded with the target as its `start`. `history` has the effects that earlier tunings found, by default
    those of the user's data folder. `open_trainers` returns what trains weights with the models of a run. `progress`
    may be read while it runs; `result` holds what there was at the end, however it ended. Raises InputError for a
    metric that cannot be optimized, and MissingExtra if the optimizer is not installed.
    """

    def __init__(
        self,
        suite: Suite,
        *,
        models: Models,
        store: Store,
        options: TuneOptions | None = None,
        eval_options: EvalOptions | None = None,
        history: TuningHistory | None = None,
        open_trainers: Callable[[Models], Sequence[Trainer]] = open_trainers,
    ) -> None:
        options = options or TuneOptions()
        self.options = replace(options, teacher=named_teacher(options.teacher, suite.project))
        if self.options.optimizer != OPTIMIZERS[0]:
            if suite.conversation is not None:
                message = f"`{self.options.optimizer}` asks a row once, and the rows are conversations"
                raise InputError(message, hint=f"--optimizer {OPTIMIZERS[0]} plays them")
            require_dspy(self.options.optimizer)
        self.suite = replace(suite, measures=(_objective_measure(suite, self.options.metric),))
        self.progress = TuningProgress()
        self.result: TuningResult | None = None
        self._models = models
        self._store = store
        self._eval_options = eval_options or EvalOptions()
        self._history = history or TuningHistory()
        self._open_trainers = open_trainers
        self._setup: Setup | None = None

    async def plan(self) -> Plan:
        """Return the plan: parameters, candidates, and the most that they can cost. Sends no request.

        Raises InputError for unusable rows, space or budget, and the error of a missing model.
        """
        setup = await self._prepare()
        split = setup.split
        shares = self._planned_shares(setup)
        parameters, skipped = prune_costly(setup.space.parameters, shares.most_cost)
        rate, pooled = self._seconds_a_call(setup), self._prior(setup)
        warm = [prior_text(pooled.tunings)] if pooled.tunings else []
        own = [f"a variant of your own races: {candidate.name}" for candidate in setup.space.own]
        return Plan(
            target=self.suite.target,
            suite=self.suite.name,
            metric=self.suite.measures[0].name,
            optimizer=self.options.optimizer,
            search=len(split.search),
            demo_pool=len(split.demo_pool),
            holdout=len(split.holdout),
            clusters=None if split.clusters is None else split.independent_holdout,
            parameters=parameters,
            candidates=min(prod(len(parameter.choices) for parameter in parameters), shares.search // CALLS_A_CANDIDATE)
            if parameters
            else 0,
            calls=shares.total,
            search_calls=shares.search,
            confirm_calls=shares.confirmation,
            limits=self.options.limits,
            minutes=None if rate is None else shares.total * rate / 60,
            smallest_gain=setup.smallest_gain,
            notes=(
                *own,
                *setup.space.notes,
                *skipped,
                *self._weights_notes(setup),
                *data_notes(split),
                *warm,
                *self._history.notes,
            ),
        )

    async def run(self) -> TuningResult:
        """Tune, and return the result; when cancelled, leave the best so far in `result`.

        An error in the middle is in the result, and the same tuning resumes from there. Raises InputError before the
        first request, StoreFailed, and the error of a missing model.
        """
        with frozen_files():
            setup = await self._prepare()
            shares = self._planned_shares(setup)
            prior = self._prior(setup)
            run = TuningRun(
                self.suite,
                setup,
                options=self.options,
                models=self._models,
                store=self._store,
                progress=self.progress,
                number=self._begin(setup, prior),
                eval_options=self._eval_options,
                shares=lambda calls_a_row: self._shares(setup, calls_a_row),
                warm_start=self._warm_start(setup, prior),
                open_trainers=self._open_trainers,
            )
            self.progress.budget = run.budget
            run.budget.most = shares.total
            try:
                await run.run()
            except asyncio.CancelledError:
                self.result = run.end("interrupted", "interrupted")
                raise
            except InputError:
                run.end("failed", "failed")
                raise
            except PromptkitError as failure:
                self.result = run.end("incomplete", "failed", failure)
                return self.result
            except BaseException:
                run.end("failed", "failed")
                raise
            self.result = run.end("done")
        return self.result

    async def _prepare(self) -> Setup:
        if self._setup is None:
            model = await (await self._models.get(self.suite.baseline.model)).model()
            if self.options.teacher not in (
                None,
                NO_TEACHER,
            ):  # A missing teacher would be noticed only after many requests.
                await (await self._models.get(self.options.teacher)).model()
            tunings, name = self._store.tunings, suite_name(self.suite)
            split = read_data_split(self.suite, tunings.split(name), seed=self.options.seed)
            _check_rows(split)
            kept: KeptSuite | None = None
            if self.options.keep is not None:
                kept = without_searched(load_kept_suite(self.options.keep, self.suite, self.options.margins), split)
            step_splits, too_few = _step_splits(self.suite, split)
            models = await step_models(self.suite, self._models)
            is_ours = self.options.optimizer == OPTIMIZERS[0]
            variants, untried = own_variants(self.suite, self.options.tried) if is_ours else ([], [])

            def space_with(demos: GeneratedDemos) -> SearchSpace:
                space = self._space(split, step_splits, models, demos)
                return replace(
                    space,
                    parameters=with_own_choices(space.parameters, variants, self.suite),
                    own=tuple(own_candidates(variants, space.parameters)),
                    notes=(*space.notes, *too_few, *untried),
                )

            space = (
                space_with({})
                if is_ours
                else SearchSpace((), (f"`{self.options.optimizer}` is DSPy's: {DSPY_SPACE_NOTE}",))
            )
            pipeline = self.suite.baseline.pipeline
            steps = weights_steps(pipeline, self.options.only) if self.options.weights else []
            if is_ours:
                if not steps:
                    _check_space(space, split)
                await open_named_models(space.parameters, self.suite, self._models)
            tunings.keep_split(name, split.salt, split.share)
            smallest = detectable_gain(split.independent_holdout) if split.independent_size >= LEAST_ROWS else None
            self._setup = Setup(
                model=model,
                split=split,
                step_splits=step_splits,
                space=space,
                models=models,
                space_with=space_with,
                smallest_gain=smallest,
                kept=kept,
                trained_steps=tuple(steps),
            )
        return self._setup

    def _weights_notes(self, setup: Setup) -> list[str]:
        splits = {step: setup.step_splits.get(step, setup.split) for step in setup.trained_steps}
        trainers = self._open_trainers(self._models) if splits else ()
        notes = list(planned_notes(setup.split, splits, setup.models, setup.trained_steps, trainers))
        if (kept := setup.kept) is not None:
            notes.append(f"start and incumbent are compared on {len(kept.rows)} rows of `{kept.suite.name}` too")
        return notes

    def _space(
        self, split: DataSplit, step_splits: Mapping[str, DataSplit], models: Mapping[str, Model], demos: GeneratedDemos
    ) -> SearchSpace:
        """Return the search space; a step with labels of its own derives its examples from its own rows."""
        options = self.options
        whole = derive_search_space(split, models, only=options.only, seed=options.seed, generated=demos)
        parameters, notes = {parameter.name: parameter for parameter in whole.parameters}, list(whole.notes)
        for step, step_split in step_splits.items():
            only = [name for name in options.only if name in KINDS or name.split(".")[0] == step]
            if only or not options.only:
                of_step = derive_search_space(step_split, models, only=only, seed=options.seed, generated=demos)
                parameters |= {parameter.name: parameter for parameter in of_step.parameters}
                # The step's own rows may have what the whole target's rows lack.
                notes = [note for note in notes if not note.startswith((f"{step}: ", f"{step}."))] + list(of_step.notes)
        return SearchSpace(tuple(parameters.values()), tuple(dict.fromkeys(notes)), whole.kinds)

    def _shares(self, setup: Setup, calls_a_row: float) -> BudgetShares:
        def dearest(most: float) -> float:
            candidate = dearest_candidate(prune_costly(setup.space.parameters, most)[0])
            return max(1.0, relative_requests(candidate, self.suite.baseline.pipeline))

        return share_budget(
            self.options.limits,
            search_rows=len(setup.split.search),
            asked=setup.confirmation_rows,
            calls_a_row=calls_a_row,
            dearest=dearest,
        )

    def _planned_shares(self, setup: Setup) -> BudgetShares:
        least, likely = float(_least_calls(self.suite)), estimated_calls(setup.split)
        if self.options.limits.calls is None:
            return self._shares(setup, likely)
        try:  # A given budget is refused only for calls that are certain; the first rows show the rest.
            return self._shares(setup, least)
        except InputError:  # Its hint should still hold once they have.
            return self._shares(setup, max(least, likely))

    def _seconds_a_call(self, setup: Setup) -> float | None:
        """Return the wall-clock time per request in the last runs on the same model; None if there are none."""
        for run in self._store.runs(limit=RECENT_RUNS):
            with self._store.damage.skipping(), reading_record(f"runs {run.number}, `record`"):
                record = run.record
                sides = record.get("variants", [record])
                calls, cached = (sum(side.get(key, 0) for side in sides) for key in ("calls", "cached"))
                asked = calls - cached
                is_same = run.model.get("digest") == setup.model.digest
                # Otherwise cached answers take most of the time.
                if is_same and run.ended and asked >= max(CALLS_A_CANDIDATE, cached):
                    return float((run.ended - run.started) / asked)
        return None

    def _prior(self, setup: Setup) -> PooledTunings:
        """Return the prior of the run: that of an earlier run of the same command, else from the history."""
        if self.options.cold or self.options.optimizer != OPTIMIZERS[0]:
            return PooledTunings()
        kept = kept_prior(self._store, TUNE, self.suite.target, setup.model, self._inputs())
        steps = self.suite.baseline.pipeline.steps
        return pool_tunings(self._history, steps, setup.models, setup.split) if kept is None else kept

    def _warm_start(self, setup: Setup, prior: PooledTunings) -> WarmStart:
        steps = self.suite.baseline.pipeline.steps
        return WarmStart(prior, self._history, steps=steps, models=setup.models, split=setup.split)

    def _begin(self, setup: Setup, prior: PooledTunings) -> int:
        self._store.close_dead_runs()
        model = {"reference": setup.model.reference, "digest": setup.model.digest}
        inputs = {
            **self._inputs(),
            **({"prior": prior.record()} if prior.tunings else {}),
            CONFIRM_SETTINGS: self._confirm_settings(setup),
        }
        return self._store.begin_run(TUNE, self.suite.target, model=model, inputs=inputs)

    def _inputs(self) -> dict[str, Any]:
        """Return the settings that the store keeps with a run."""
        options = self.options
        return {
            "suite": suite_name(self.suite),
            "optimizer": options.optimizer,
            "budget": options.limits.record(),
            "seed": options.seed,
            **({"cold": True} if options.cold else {}),
            **({"weights": True} if options.weights else {}),
            **({"keep": options.keep} if options.keep is not None else {}),
        }

    def _confirm_settings(self, setup: Setup) -> dict[str, Any]:
        """Return the settings with which a stored tuning is read as an evaluation of its confirm rows."""
        suite, split, options = self.suite, setup.split, self._eval_options
        measures = [without_reasons(measure) for measure in suite.measures]
        held = replace(suite.data, held=tuple(row.row for row in split.rows), only=(), limit=None)
        return {
            "folder": relpath(suite.file.parent, suite.project.root),
            "target": suite.target,
            "data": held.count().hash,
            "rows": len(split.holdout),
            "cluster": suite.data.spec.cluster,
            "metrics": [measure.name for measure in measures],
            "keys": {measure.name: measure.key for measure in measures},
            "kinds": {measure.name: kind_record(measure.metric) for measure in measures},
            "set": list(suite.sets),
            "repeat": suite.repeat,
            "exact": options.exact,
            "in_flight": options.in_flight or setup.model.parallel,
            "limited": False,
            CONFIRM_ROWS: [split.rows[place].row.number for unit in holdout_units(split) for place in unit],
        }


def suite_name(suite: Suite) -> str:
    """Return a suite's name in the store: its path within the project."""
    return relpath(suite.file, suite.project.root)


def _objective_measure(suite: Suite, name: str | None) -> Measure:
    """Return the measure of a name, the first for None. Raises InputError for one that cannot be optimized."""
    measures = {measure.name: measure for measure in suite.measures}
    if name is not None and name not in measures:
        raise InputError(f"the suite `{suite.name}` has no metric `{name}`", hint=nearest(name, measures))
    measure = measures[name] if name is not None else suite.measures[0]
    able = [measure.name for measure in suite.measures if _why_no_objective(measure.metric) is None]
    why = _why_no_objective(measure.metric)
    if why is None:
        return measure
    hint = f"--metric {able[0]}" if able else "give the suite a metric such as `accuracy: label`"
    raise InputError(f"`{measure.name}` cannot be optimized: it {why}", hint=hint)


def _why_no_objective(metric: Metric) -> str | None:
    """Return the reason why a metric cannot be optimized, None where it can."""
    if metric.pairs:
        return "compares with another answer"
    if metric.bounds is None:
        return "has no bounds"
    return "reads people's labels, which a new prompt's answers do not have yet" if metric.kind == Human.kind else None


def _least_calls(suite: Suite) -> int:
    """Return the least number of calls that a row of the start takes, unless `when` skips a step."""
    return suite.repeat * max(1, sum(step.prompt_call is not None for step in suite.baseline.pipeline.steps.values()))


def _step_splits(suite: Suite, split: DataSplit) -> tuple[dict[str, DataSplit], list[str]]:
    """Return the splits of steps with labels of their own, and notes on steps that have too few labels."""
    splits, notes = {}, []
    for step_suite in suite.steps:
        step_split = step_data_split(replace(step_suite, measures=step_suite.measures[:1]), split)
        step = step_suite.source.step
        assert step is not None, "the suite of a step names it"
        if len(step_split.search) >= min(SMOKE_ROWS, len(split.search)):
            splits[step] = step_split
        else:
            notes.append(
                f"{step}: only {len(step_split.search)} search rows have labels of its own, too few to search on: "
                "the final metric is used"
            )
    return splits, notes


def _check_rows(split: DataSplit) -> None:
    """Raise InputError for rows on which a search would learn nothing, or the wrong thing."""
    suite = split.suite
    if split.labels is not None and len(split.labels) > 1 and len(set(split.labels)) == 1:
        message = f"all {len(split.rows)} rows of `{suite.name}` expect `{split.labels[0]}`"
        raise InputError(f"{message}: a prompt that always says so would win", hint="add rows of the other labels")
    if not split.search or not split.holdout:
        clusters = "" if split.clusters is None else f", {len(set(split.clusters))} independent"
        raise InputError(
            f"`{suite.name}` has {len(split.rows)} rows, {split.size} without repeats{clusters}: "
            "too few to search on some and confirm on others",
            hint="at least 30 rows; 200 detect a gain of about 11 points",
        )


def _check_space(space: SearchSpace, split: DataSplit) -> None:
    """Raise InputError if there is nothing to vary, to calibrate, or to show as examples."""
    suite = split.suite
    asking = [step.prompt_call for step in suite.baseline.pipeline.steps.values() if step.prompt_call is not None]
    calibrates = any(settings.decide == "score" and settings.calibrate is None for settings in asking)
    shows = asking and split.demo_pool and "examples" in space.kinds
    if not (space.parameters or space.own or calibrates or shows):
        hint = "; ".join(space.notes) or "`tune:` of the pipeline and `--only` say what may vary"
        raise InputError(f"there is nothing to tune in `{suite.target}`", hint=hint)
