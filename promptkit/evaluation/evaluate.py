"""A suite from beginning to end: its data counted, its cells had, its numbers said, and all of it kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os.path import relpath
from typing import TYPE_CHECKING, Any, Literal

from promptkit.errors import InputError, Problem
from promptkit.evaluation.cells.execution import Execution
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.scoring import score_pairs
from promptkit.evaluation.comparison.matching import Beside
from promptkit.evaluation.comparison.run_rows import RunRows
from promptkit.evaluation.record import AnsweringModel, ComparisonRecord, Defect, EvalRecord, VariantRecord
from promptkit.evaluation.stored_run import StoredRun, kind_record, sent_the_same
from promptkit.evaluation.suite.binding import row_problems
from promptkit.evaluation.suite.data import DataCount
from promptkit.evaluation.suite.suite import Suite
from promptkit.evaluation.summary import ReportRules, summarize
from promptkit.evaluation.thresholds.check import ThresholdInput, check_thresholds
from promptkit.evaluation.thresholds.definition import threshold_baselines
from promptkit.storage.files import frozen_files

if TYPE_CHECKING:
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.models import Models
    from promptkit.storage.store import Store

KIND = "eval"
FIRST_ROWS = 50
"""How many rows are looked at before anything is asked: if all are wrong, it is the suite that is."""

RECENT_RUNS = 20
"""How many runs back the one before a change is looked for."""

Status = Literal["done", "incomplete", "interrupted", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """A run of a suite that ended. `record` is what `--json` prints, `failure` the first reason for a missing cell.

    `wrong` cells are of rows that are wrong. `notices` are what the runs had to say that were made this time.
    """

    number: int
    status: Status
    record: EvalRecord
    failure: str = ""
    gave_up: bool = False
    wrong: int = 0
    notices: tuple[str, ...] = ()


class Evaluation:
    """One run of a suite, which may be looked at while it goes on. Make it where the event loop runs.

    `against` is what its record compares it with, beside what its thresholds name; `notes` are to be known of the run.
    Raises InputError for data that cannot be read or that has no row which can be used.
    """

    def __init__(
        self,
        suite: Suite,
        *,
        models: Models,
        store: Store,
        options: EvalOptions | None = None,
        judging: ReportRules | None = None,
        against: RunRows | None = None,
        notes: Sequence[str] = (),
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        self.suite = suite
        self.against = against
        self.counted: DataCount = suite.data.count()
        self.options = options or EvalOptions()
        self.judging = judging or ReportRules()
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
        self._references: Mapping[str, RunRows | str | None] = {}
        self._started = time.monotonic()

    async def open(self) -> Model:
        """Open the models and return the baseline's; nothing is asked. Raises what their absence raises.

        Raises InputError for a threshold that compares with a file that is no baseline.
        """
        self.model = await self.execution.open()
        self._references = threshold_baselines(self.suite, self._store, self._models_told())
        return self.model

    async def run(self) -> EvalResult:
        """Have every cell, and return what they say; cancelled, it leaves the run `interrupted`.

        Raises StoreFailed, and InputError where the suite can take none of the first rows.
        """
        model = self.model or await self.open()
        if wrong := row_problems(self.suite, FIRST_ROWS):
            raise InputError(wrong)
        told = {"reference": model.reference, "digest": model.digest}
        self._store.close_dead_runs()
        self._before = self._changed_since()
        self.number = self._store.begin_run(KIND, self.suite.name, model=told, inputs=self.settings())
        self._started = time.monotonic()
        try:
            with frozen_files():
                await self.execution.run(self.number)
                if not self.execution.progress.gave_up:
                    await score_pairs(
                        self.suite,
                        self.execution.contenders,
                        models=self._models,
                        store=self._store,
                        number=self.number,
                    )
        except asyncio.CancelledError:
            self._end("interrupted")
            raise
        except BaseException:
            self._end("failed")
            raise
        return self._end("incomplete" if self.execution.lacks() else "done")

    def _changed_since(self) -> int | None:
        """Return the suite's last run, where it asked something else of the same model in the same way."""
        now, digest = self.settings(), self.model.digest if self.model else ""
        for run in self._store.runs(kind=KIND, target=self.suite.name, limit=RECENT_RUNS):
            was = run.inputs or {}
            if run.status == "done" and was.get("limited") == now["limited"] and run.model.get("digest") == digest:
                return run.number if any(was.get(key) != now[key] for key in ("contents", "set")) else None
        return None

    def settings(self) -> dict[str, Any]:
        """Return how the run is made: what two runs that are compared must share, and what builds its metrics."""
        suite, options = self.suite, self.options
        return {
            "file": suite.file.name,
            "folder": relpath(suite.file.parent, suite.project.root),
            "target": suite.target,
            "data": self.counted.hash,
            "rows": self.counted.rows,
            "cluster": suite.data.spec.cluster,
            "metrics": [each.name for each in suite.measures],
            "keys": {each.name: each.key for each in suite.measures},
            "kinds": {each.name: kind_record(each.metric) for each in suite.measures},
            "variants": {each.name: dict(each.sets) for each in suite.variants},
            "contents": {each.name: each.content.hex() for each in suite.variants},
            "fallbacks": {
                each.variant.name: [asdict(one) for one in each.fallbacks] for each in self.execution.contenders
            },
            "set": list(suite.sets),
            "repeat": suite.repeat,
            "exact": options.exact,
            "in_flight": 1 if options.exact else options.in_flight or (self.model.parallel if self.model else None),
            "limited": suite.data.limit is not None or bool(suite.data.only),
        }

    def so_far(self) -> EvalRecord:
        """Return the record of the run as it is now; its intervals do not hold for one who stops when they please."""
        return self._record("running", ReportRules(so_far=True))

    def _end(self, status: Status) -> EvalResult:
        judging = self.judging if status in ("done", "incomplete") else ReportRules(so_far=True)
        record = self._record(status, judging)
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

    def _record(self, status: str, judging: ReportRules) -> EvalRecord:
        execution, settings = self.execution, self.settings()
        summary = summarize(self.suite, execution.contenders, execution.clusters.array(), self.counted.rows, judging)
        defects = [Defect.model_validate(each) for each in execution.progress.defects.record()]
        # A key that only runs with defects have.
        rare: dict[str, Any] = {"defects": defects} if defects else {}
        return EvalRecord(
            run=self.number,
            suite=self.suite.name,
            about=self.suite.about,
            target=self.suite.target,
            status=status,
            model=AnsweringModel(
                **self._models_told(),
                why=self._models.why(execution.named),
                replayed=self._models.replayed(execution.named),
            ),
            exact=settings["exact"],
            in_flight=settings["in_flight"],
            limited=settings["limited"],
            data=settings["data"],
            known=execution.progress.known,
            seconds=round(time.monotonic() - self._started, 3),
            before=self._before,
            notes=list(self._notes),
            **rare,
            rows=self.counted.rows,
            repeat=self.suite.repeat,
            variants=summary.variants,
            comparisons=self._with_sameness(summary.comparisons),
            **self._gated(summary.variants, judging),
        )

    def _with_sameness(self, comparisons: Sequence[ComparisonRecord]) -> list[ComparisonRecord]:
        """Return comparisons, each with whether its two variants sent the same requests."""
        run = self._store.run(str(self.number)) if comparisons else None
        if run is None:
            return []
        view = StoredRun(self._store, run)
        same = {pair: sent_the_same(view, *pair) for pair in {(each.a, each.b) for each in comparisons}}
        return [each.model_copy(update={"same_requests": same[each.a, each.b]}) for each in comparisons]

    def _models_told(self) -> dict[str, Any]:
        """Return the default model, and others that the first variant's steps name, by their digests."""
        if self.model is None:
            return {"reference": "", "digest": ""}
        answered = self.execution.contenders[0].runner.session.answered.values()
        others = {each.reference: each.digest for each in answered if each.reference != self.model.reference}
        told = {"reference": self.model.reference, "digest": self.model.digest}
        return {**told, "others": others} if others else told

    def _gated(self, variants: Sequence[VariantRecord], judging: ReportRules) -> dict[str, Any]:
        """Return what a run that ended says of its thresholds, and against what it was to be compared with."""
        run = self._store.run(str(self.number))
        if judging.so_far or run is None or self.model is None:
            return {"missing_allowed": False, "thresholds": [], "against": None}
        settings, baseline = self.settings(), self.execution.contenders[0]
        beside = Beside(
            self.suite,
            StoredRun(self._store, run),
            rows=self.counted.rows,
            model=self._models_told(),
            exact=settings["exact"],
            in_flight=settings["in_flight"],
            allow_missing=judging.allow_missing,
        )
        gated = ThresholdInput(
            suite=self.suite,
            variant=variants[0],
            tally=baseline.tally,
            clusters=self.execution.clusters.array(),
            cells=variants[0].cases,
            limited=settings["limited"],
            beside=beside,
            references=self._references,
        )
        return {
            "missing_allowed": all(gated.may_lack(each.missing + _unscored(each)) for each in variants),
            "thresholds": check_thresholds(gated),
            "against": None if self.against is None else beside.record(self.against, smallest=judging.smallest),
        }


def _unscored(variant: VariantRecord) -> int:
    """Return how many answers of a variant have no score by the metric that lacks most."""
    return max((metric.unscored for metric in variant.metrics.values()), default=0)


def refuse_contamination(suite: Suite, *, allow: bool = False) -> list[str]:
    """Return which techniques saw rows of the suite when they were prepared: on these they look better than they are.

    Raises InputError where there are any and they are not to be allowed.
    """
    from promptkit.evaluation.suite.contamination import contaminated_rows

    found = contaminated_rows(suite)
    if found and not allow:
        hint = "evaluate on other rows, or add --allow-seen, which marks the result"
        raise InputError(Problem(told, suite.data.where.file, suite.data.where.line, hint=hint) for told in found)
    return found
