"""The evaluation of a suite: counts its data, runs its cells, summarizes and keeps the result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from os.path import relpath
from typing import Any, Literal, NamedTuple

from promptkit.errors import InputError
from promptkit.evaluation.cells.execution import Execution
from promptkit.evaluation.cells.keys import digests_of_files
from promptkit.evaluation.cells.pair_scoring import PairOutcomes, PairScorer
from promptkit.evaluation.cells.progress import EvalOptions, VariantRun
from promptkit.evaluation.comparison.compare import BaselineComparisons
from promptkit.evaluation.comparison.records import baseline_record
from promptkit.evaluation.comparison.run_rows import RunRows, run_rows
from promptkit.evaluation.main_effects import main_effects
from promptkit.evaluation.metrics.base import Estimate, Metric, Sample
from promptkit.evaluation.provenance import shared_files
from promptkit.evaluation.ranking import rankings
from promptkit.evaluation.record import (
    AnsweringModel,
    Defect,
    EvalRecord,
    MetricRecord,
    ServingRecord,
    VariantRecord,
)
from promptkit.evaluation.same_requests import same_requests
from promptkit.evaluation.serving.figures import serving_record
from promptkit.evaluation.serving.measurement import ServingMeasurement, check_serving
from promptkit.evaluation.stored_run import KIND, StoredRun, kind_record
from promptkit.evaluation.suite.binding import row_problems
from promptkit.evaluation.suite.data import DataCount
from promptkit.evaluation.suite.generated import generated_note
from promptkit.evaluation.suite.suite import Suite
from promptkit.evaluation.summary import ReportRules, estimate_record, summarize, variant_cost, with_same_requests
from promptkit.evaluation.thresholds.check import ThresholdInput, check_thresholds
from promptkit.evaluation.thresholds.definition import threshold_baselines
from promptkit.evaluation.thresholds.serving import check_serving_thresholds
from promptkit.runtimes.base import Model
from promptkit.runtimes.models import Models
from promptkit.runtimes.servers.server_identity import weights_are_stated
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store

FIRST_ROWS = 50
"""Rows that are checked before anything is asked: if all are wrong, the suite is."""

RECENT_RUNS = 20
"""Earlier runs among which the last one before a change is looked for."""

Status = Literal["done", "incomplete", "interrupted", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """A finished run of a suite. `record` is the output of `--json`, `failure` the first reason for a missing cell.

    `wrong` cells belong to invalid rows. `notices` are those of the requests that were made this time.
    """

    number: int
    status: Status
    record: EvalRecord
    failure: str = ""
    gave_up: bool = False
    wrong: int = 0
    notices: tuple[str, ...] = ()


class Evaluation:
    """One run of a suite, which may be read while it goes on. Make it where the event loop runs.

    `against` is the baseline of its record's comparison, besides those that its thresholds name; `notes` go into the
    record. Raises InputError for data that cannot be read or that has no row which can be used.
    """

    def __init__(
        self,
        suite: Suite,
        *,
        models: Models,
        store: Store,
        options: EvalOptions | None = None,
        rules: ReportRules | None = None,
        against: RunRows | None = None,
        notes: Sequence[str] = (),
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        self.suite = suite
        self.against = against
        self.counted: DataCount = suite.data.count()
        self.options = options or EvalOptions()
        self.rules = rules or ReportRules()
        self.execution = Execution(
            suite,
            counted=self.counted,
            models=models,
            store=store,
            options=self.options,
            on_saved=on_saved,
        )
        self.model: Model | None = None
        self.number = 0
        self._notes = notes
        self._before: int | None = None
        self._models = models
        self._store = store
        self._pairs: Mapping[str, PairOutcomes] = {}
        self._baselines: Mapping[str, RunRows | str | None] = {}
        self._serving: ServingRecord | None = None
        self._started = time.monotonic()
        self._files: dict[str, dict[str, str]] = {}  # of each variant, with digests

    async def open(self) -> Model:
        """Open the models and return the baseline's; nothing is asked.

        Raises RuntimeFailure where a model is not there, and InputError for a threshold that compares with a file that
        is not a baseline, and where serving cannot be measured.
        """
        self.model = await self.execution.open()
        check_serving(
            self.suite,
            self._models,
            [name for run in self.execution.variants for name in run.runner.session.answered],
        )
        self._baselines = threshold_baselines(self.suite, self._store, self._model_record())
        return self.model

    async def run(self) -> EvalResult:
        """Run every cell, and return the result; cancelled, it leaves the run `interrupted`.

        Raises StoreFailed, and InputError where the suite can take none of the first rows.
        """
        model = self.model or await self.open()
        if wrong := row_problems(self.suite, FIRST_ROWS):
            raise InputError(wrong)
        answered_by = {"reference": model.reference, "digest": model.digest}
        self._files = await asyncio.to_thread(_digests_by_variant, self.suite)
        self._store.close_dead_runs()
        self._before = self._changed_since()
        self.number = self._store.begin_run(KIND, self.suite.name, model=answered_by, inputs=self.settings())
        self._started = time.monotonic()
        try:
            with frozen_files():
                await self.execution.run(self.number)
                if not self.execution.progress.gave_up:
                    await self._score_pairs()
                    self._serving = await self._measure_serving()
        except asyncio.CancelledError:
            self._end("interrupted")
            raise
        except BaseException:
            self._end("failed")
            raise
        return self._end("incomplete" if self.execution.lacks() else "done")

    async def _measure_serving(self) -> ServingRecord | None:
        """Return the serving of the variants, None where the suite does not measure it."""
        if self.suite.serving is None:
            return None
        progress = self.execution.progress

        def show(done: int, total: int) -> None:
            progress.serving = f"serving: {done} of {total} blocks"

        measurement = ServingMeasurement(
            self.suite,
            self.suite.serving,
            models=self._models,
            settings=self.execution.settings,
            on_progress=show,
        )
        return serving_record(await measurement.run())

    async def _score_pairs(self) -> None:
        scorer = PairScorer(
            self.suite, self.execution.variants, models=self._models, store=self._store, number=self.number
        )
        self._pairs = scorer.outcomes
        await scorer.score()
        progress = self.execution.progress
        progress.failure = progress.failure or scorer.failure

    def _changed_since(self) -> int | None:
        """Return the number of the suite's last run, where only the target has changed since."""
        now, digest = self.settings(), self.model.digest if self.model else ""
        for run in self._store.runs(kind=KIND, target=self.suite.name, limit=RECENT_RUNS):
            was = run.inputs or {}
            if run.status == "done" and was.get("limited") == now["limited"] and run.model.get("digest") == digest:
                return run.number if any(was.get(key) != now[key] for key in ("contents", "set")) else None
        return None

    def settings(self) -> dict[str, Any]:
        """Return the run's settings: those that compared runs must share, and those that build its metrics again."""
        suite, options = self.suite, self.options
        return {
            "file": suite.file.name,
            "folder": relpath(suite.file.parent, suite.project.root),
            "target": suite.target,
            "data": self.counted.hash,
            "rows": self.counted.rows,
            "cluster": suite.data.spec.cluster,
            "metrics": [measure.name for measure in suite.measures],
            "keys": {measure.name: measure.key for measure in suite.measures},
            "kinds": {measure.name: kind_record(measure.metric) for measure in suite.measures},
            "variants": {variant.name: dict(variant.sets) for variant in suite.variants},
            # A key that only runs with margins have.
            **({"margins": dict(suite.compare.margins)} if suite.compare.margins else {}),
            "contents": {variant.name: variant.content.hex() for variant in suite.variants},
            "files": self._files,
            "models": self._variant_models(),
            "release": version("promptkit"),
            "fallbacks": {run.variant.name: [asdict(one) for one in run.fallbacks] for run in self.execution.variants},
            "set": list(suite.sets),
            "repeat": suite.repeat,
            "exact": options.exact,
            "in_flight": self._in_flight,
            "limited": self._is_limited,
        }

    @property
    def _in_flight(self) -> int | None:
        if self.options.exact:
            return 1
        return self.options.in_flight or (self.model.parallel if self.model else None)

    @property
    def _is_limited(self) -> bool:
        return self.suite.data.limit is not None or bool(self.suite.data.only)

    def _variant_models(self) -> dict[str, dict[str, Any]]:
        """Return the models of the first variant, and of those that others answer."""
        found: dict[str, dict[str, Any]] = {}
        for run in self.execution.variants:
            record = self._answering(run)
            if record and record not in list(found.values())[:1]:
                found[run.variant.name] = record
        return found

    def so_far(self) -> EvalRecord:
        """Return the record of the run as it is now; its intervals do not hold if they decide when to stop."""
        return self._record("running", ReportRules(so_far=True))

    def _end(self, status: Status) -> EvalResult:
        rules = self.rules if status in ("done", "incomplete") else ReportRules(so_far=True)
        record = self._record(status, rules)
        self._store.end_run(self.number, status, record.to_json())
        progress = self.execution.progress
        return EvalResult(
            number=self.number,
            status=status,
            record=record,
            failure=progress.failure,
            gave_up=progress.gave_up,
            wrong=progress.wrong,
            notices=tuple(self.execution.notices),
        )

    def _record(self, status: str, rules: ReportRules) -> EvalRecord:
        execution = self.execution
        summary = summarize(self.suite, execution.variants, execution.clusters.array(), self.counted.rows, rules)
        variants, comparisons = with_same_requests(summary, self._same_requests(rules))
        defects = [Defect.model_validate(defect) for defect in execution.progress.defects.record()]
        names = [run.variant.name for run in execution.variants]
        ranked = [] if rules.so_far else list(rankings(self._pairs, names, execution.clusters.array()))
        # Keys that only some runs have.
        rare: dict[str, Any] = {"defects": defects} if defects else {}
        rare |= {"serving": self._serving} if self._serving else {}
        rare |= {"rankings": ranked} if ranked else {}
        generated, rows = self.counted.generated, self.counted.rows
        rare |= {"generated": generated} if generated else {}
        return EvalRecord(
            run=None if self._store.is_temporary else self.number,
            suite=self.suite.name,
            about=self.suite.about,
            target=self.suite.target,
            status=status,
            model=AnsweringModel(
                **self._model_record(),
                why=self._models.why(execution.model_name),
                replayed=self._models.replayed(execution.model_name),
            ),
            exact=self.options.exact,
            in_flight=self._in_flight,
            limited=self._is_limited,
            data=self.counted.hash,
            known=execution.progress.known,
            seconds=round(time.monotonic() - self._started, 3),
            before=self._before,
            notes=[
                *([generated_note(generated, rows)] if generated else []),
                *self._notes,
                *execution.clusters.notes(),
                *execution.changed_files.notes(),
                *self._weights_notes(),
            ],
            **rare,
            rows=rows,
            repeat=self.suite.repeat,
            variants=variants,
            comparisons=comparisons,
            **self._effects(rules),
            **self._gated(variants, rules),
        )

    def _effects(self, rules: ReportRules) -> dict[str, Any]:
        """Return the main effects of the matrix, a key that only runs with some have."""
        if rules.so_far or not self.suite.matrix:
            return {}
        execution, cells = self.execution, self.counted.rows * self.suite.repeat
        found = main_effects(self.suite, execution.variants, cells, execution.clusters.array(), rules)
        return {"main_effects": found} if found else {}

    def _same_requests(self, rules: ReportRules) -> dict[str, str]:
        """Map each variant to the first before it that sent the same requests; nothing of a run that goes on."""
        run = None if rules.so_far or len(self.suite.variants) < 2 else self._store.run(str(self.number))
        if run is None:
            return {}
        models = {
            variant.variant.name: {model.digest for model in variant.runner.session.answered.values()}
            for variant in self.execution.variants
        }
        return same_requests(StoredRun(self._store, run), models)

    def _weights_notes(self) -> Iterator[str]:
        """Yield the models whose cached answers may be of other weights under the same name."""
        known = self.execution.progress.known
        sessions = (run.runner.session for run in self.execution.variants)
        models = {model.reference: model for session in sessions for model in session.answered.values()}
        for model in models.values():
            if known and not weights_are_stated(model):
                yield (
                    f"{model.reference}: its server does not say which weights answer, so cached answers are known by "
                    "its name; --fresh asks again"
                )

    def _model_record(self) -> dict[str, Any]:
        """Return the default model, and others that the first variant's steps name, by their digests."""
        if self.model is None:
            return {"reference": "", "digest": ""}
        return self._answering(self.execution.variants[0], self.model)

    def _answering(self, run: VariantRun, default: Model | None = None) -> dict[str, Any]:
        """Return the default model of a variant, and others that its steps name, by their digests."""
        answered = list(run.runner.session.answered.values())
        model = default or (answered[0] if answered else None)
        if model is None:
            return {}
        others = {other.reference: other.digest for other in answered if other.reference != model.reference}
        record: dict[str, Any] = {"reference": model.reference, "digest": model.digest}
        return {**record, "others": others} if others else record

    def _gated(self, variants: Sequence[VariantRecord], rules: ReportRules) -> dict[str, Any]:
        """Return the results of a finished run's thresholds, and of the comparison that was asked for."""
        run = self._store.run(str(self.number))
        if rules.so_far or run is None or self.model is None:
            return {"missing_allowed": False, "thresholds": [], "against": None}
        view, first = StoredRun(self._store, run), self.execution.variants[0]
        against = BaselineComparisons(
            self._rows_of(view, first, "this run"),
            {measure.name: measure.metric for measure in self.suite.measures},
            allow_missing=rules.allow_missing,
        )
        checked = ThresholdInput(
            suite=self.suite,
            variant=variants[0],
            tally=first.tally,
            clusters=self.execution.clusters.array(),
            cells=variants[0].cases,
            limited=self._is_limited,
            against=against,
            baselines={**self._baselines, **self._variant_baselines(view)},
        )
        compared = None if self.against is None else against.compare(self.against)
        margins = self.suite.compare.margins
        return {
            "missing_allowed": all(
                checked.may_miss(variant.missing + _unscored(variant), checked.cells) for variant in variants
            ),
            "thresholds": [
                *check_thresholds(checked),
                *check_serving_thresholds(self.suite, self._serving, limited=checked.limited),
            ],
            "against": compared and baseline_record(compared, smallest=rules.smallest, margins=margins),
        }

    def _variant_baselines(self, view: StoredRun) -> dict[str, RunRows]:
        """Return the variants of this run that thresholds compare the first one with."""
        named = {str(threshold.bounds.get("against")) for threshold in self.suite.thresholds}
        runs = [run for run in self.execution.variants[1:] if run.variant.name in named - self._baselines.keys()]
        return {run.variant.name: self._rows_of(view, run, run.variant.name) for run in runs}

    def _rows_of(self, view: StoredRun, run: VariantRun, name: str) -> RunRows:
        timed = not run.tally.untimed
        return run_rows(view, run.variant.name, name, model=self._model_record(), timed=timed)


def _digests_by_variant(suite: Suite) -> dict[str, dict[str, str]]:
    """Return the digests of each variant's files; a file that many variants read is looked for once."""
    with frozen_files():
        return shared_files({variant.name: digests_of_files(variant.pipeline) for variant in suite.variants})


def _unscored(variant: VariantRecord) -> int:
    """Return the number of a variant's answers without a score, by the metric that lacks most."""
    return max((metric.unscored for metric in variant.metrics.values()), default=0)


class LiveEstimate(NamedTuple):
    """The estimate of a variant's metric from the cells so far, and the CPU seconds that it took."""

    variant: str
    metric: str
    estimate: MetricRecord
    seconds: float


async def live_estimates(evaluation: Evaluation) -> AsyncIterator[LiveEstimate]:
    """Yield the estimate of each variant by each metric, one after the other.

    Scores are copied on the event loop and estimated in a thread: with a million cells a metric takes seconds. The
    intervals do not hold if they decide when to stop.
    """
    for run in evaluation.execution.variants:
        for metric in run.tally.metrics:
            began = time.thread_time()
            sample = run.tally.sample(metric, evaluation.execution.clusters.array())
            copied = time.thread_time() - began
            estimate, seconds = await asyncio.to_thread(_timed, metric, sample)
            yield LiveEstimate(run.variant.name, metric.name, estimate_record(metric, estimate), copied + seconds)


def live_cost(evaluation: Evaluation) -> float | None:
    """Return the cost of all variants' tokens by `prices` of `promptkit.yaml`; None without any."""
    costs = [variant_cost(run, evaluation.suite) for run in evaluation.execution.variants]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def _timed(metric: Metric, sample: Sample) -> tuple[Estimate, float]:
    began = time.thread_time()
    return metric.estimate(sample), time.thread_time() - began
