"""`promptkit.tune`: a target improved within a budget, with the proof on rows that the search never saw."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Unpack

from promptkit.api.session import ModelArguments, ModelOptions, as_list, notify, open_session, run_sync, showing
from promptkit.errors import InputError
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.suite.suite import Suite
from promptkit.reports.progress import Progress
from promptkit.reports.text import json_text
from promptkit.reports.tuning.report import tuning_text
from promptkit.reports.tuning.screen import TuningScreen
from promptkit.storage.files import frozen_files
from promptkit.tuning.budget import Plan
from promptkit.tuning.options import Limits, Mode, Optimizer, TuneOptions, read_budget, read_only
from promptkit.tuning.output.write import check_replaceable, write_result
from promptkit.tuning.record import metric_record
from promptkit.tuning.run import TuningResult
from promptkit.tuning.tune import Tuning
from promptkit.tuning.tuned_suite import load_tuning_suite, separate_models


class TuneArguments(ModelArguments, total=False):
    """Keyword arguments of `tune`, as the options of `promptkit tune`.

    `budget` is as "calls=300,minutes=10"; `only` lists what may vary; `teacher` is a model that proposes instructions;
    `mode` is "both", "stepwise" or "joint"; `cold` uses no earlier tunings as a prior; `tried` lists variants
    of your own, as `--try` names them; `weights` trains heads and adapters too; `keep` is a suite on which the result
    is compared with the start as well, with `margins` as of `--margin`; `write` tells whether the tuned
    files are written, `apply` whether they replace the original where the verdict is `improved`.
    """

    budget: str | None
    optimizer: Optimizer
    only: Sequence[str]
    teacher: str | None
    mode: Mode
    prefer: str
    metric: str | None
    seed: int
    cold: bool
    tried: Sequence[str]
    weights: bool
    keep: str | None
    margins: Sequence[str]
    write: bool
    apply: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSettings:
    """The options of a tuning, of the models, and of what becomes of the files."""

    tuning: TuneOptions = field(default_factory=TuneOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    write: bool = True
    apply: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult(TuningResult):
    """The result of a tuning. As text it is the report, 80 columns wide."""

    @property
    def verdict(self) -> str:
        """`improved`, `not shown` or another word for what the confirmation showed."""
        return self.record.verdict

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `promptkit tune --json` prints."""
        return self.record.to_json()

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return `to_dict()` as JSON."""
        return json_text(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        return tuning_text(self.record)


def tune(
    target: str | Path,
    suite: str | Path | None = None,
    *,
    progress: Progress | None = None,
    **options: Unpack[TuneArguments],
) -> TuneResult:
    """Tune a pipeline or a prompt on a suite, and write the result beside the original.

    Both are names or paths; `suite` is left out where one of the project names the target. `options` are those of
    `TuneArguments` and `ModelArguments`. Nobody is asked whether to begin: `smallest_shown` of the record is the gain
    that could be shown. Raises InputError before a model is asked, and what ended the tuning before it was through
    (RuntimeFailure, StoreFailed, KeyboardInterrupt): answers are kept, and the same call resumes.
    """
    return run_sync("tune", atune(target, suite, progress=progress, **options))


async def atune(
    target: str | Path,
    suite: str | Path | None = None,
    *,
    progress: Progress | None = None,
    **options: Unpack[TuneArguments],
) -> TuneResult:
    """Tune a pipeline or a prompt on a suite, as `tune` does, in the event loop that runs."""
    settings = read_options(**options)
    loaded = load_tunable(str(target), None if suite is None else str(suite), settings)
    result = await tune_suite(loaded, settings, progress)
    assert result is not None, "only `approve` ends a tuning without a result"
    if result.failure is not None:
        raise result.failure
    return TuneResult(**{field.name: getattr(result, field.name) for field in fields(TuningResult)})


def read_options(**options: Unpack[TuneArguments]) -> TuneSettings:
    """Return the options of a tuning as they are typed. Raises InputError."""
    write, apply = options.get("write", True), options.get("apply", False)
    if apply and not write:
        raise InputError("`apply=True` contradicts `write=False`", hint="leave one of them out")
    budget, only = options.get("budget"), options.get("only", ())
    tuning = TuneOptions(
        limits=read_budget(budget) if budget is not None else Limits(),
        optimizer=options.get("optimizer", "race"),
        only=read_only(only) if isinstance(only, str) else tuple(only),
        teacher=options.get("teacher"),
        mode=options.get("mode", "both"),
        prefer=options.get("prefer", "best"),
        metric=options.get("metric"),
        seed=options.get("seed", 0),
        cold=options.get("cold", False),
        tried=tuple(as_list(options.get("tried", ()))),
        weights=options.get("weights", False),
        keep=options.get("keep"),
        margins=tuple(as_list(options.get("margins", ()))),
    )
    model = ModelOptions(
        model=options.get("model"),
        sets=tuple(as_list(options.get("sets", ()))),
        record=options.get("record"),
        no_cache=options.get("no_cache", False),
        strict=options.get("strict", False),
        strict_on=tuple(as_list(options.get("strict_on", ()))),
        timeout=options.get("timeout"),
    )
    return TuneSettings(tuning=tuning, model=model, write=write, apply=apply)


def load_tunable(target: str, suite: str | None, settings: TuneSettings, *, run_code: bool = True) -> Suite:
    """Return the suite that measures a target, with the target as its start. Raises InputError."""
    with frozen_files():
        found = load_tuning_suite(target, suite, sets=settings.model.sets, run_code=run_code)
    if settings.apply:
        check_replaceable(found.source.target, found.project)
    return found


async def tune_suite(
    suite: Suite,
    settings: TuneSettings,
    progress: Progress | None = None,
    *,
    approve: Callable[[Plan], bool] | None = None,
    report: Callable[[TuningResult], None] | None = None,
) -> TuningResult | None:
    """Plan, tune, and write the result. Return None where `approve`, which gets the plan first, returns False.

    What ends the tuning is the result's `failure`. Cancelled, it hands the best so far to `report`.
    """
    async with open_session(
        suite.baseline.pipeline,
        settings.model,
        progress,
        concurrency=suite.concurrency,
        replies=ReplyCache,
        apart=separate_models(suite, settings.tuning.teacher),
    ) as session:
        # A recording must hold every request, those of known cells too: kept replies answer them.
        fresh = settings.model.no_cache or settings.model.record is not None
        cells = EvalOptions(fresh=fresh, strict=settings.model.strict, strict_on=frozenset(settings.model.strict_on))
        tuning = Tuning(suite, models=session.models, store=session.store, options=settings.tuning, eval_options=cells)
        if approve is not None:
            with showing(progress):
                plan = await tuning.plan()
            if not approve(plan):
                return None
        metric = metric_record(tuning.suite.measures[0].metric)
        try:
            with TuningScreen(tuning.progress, progress, metric).showing() if progress else nullcontext():
                result = await tuning.run()
        except asyncio.CancelledError:
            if tuning.result is not None:
                best = write_result(tuning.result, tuning.suite, session.store, writing=settings.write)
                if report:
                    report(best)
            raise
        for message in result.notices:
            notify(progress, message)
        result = write_result(result, tuning.suite, session.store, in_place=settings.apply, writing=settings.write)
        if report:
            report(result)
        return result
