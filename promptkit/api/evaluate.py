"""`promptkit.evaluate`: a suite measured, with intervals and paired comparisons."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from promptkit.api.session import ModelArguments, ModelOptions, as_list, notify, open_session, run_sync, showing
from promptkit.errors import InputError
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.comparison.baseline import find_baseline
from promptkit.evaluation.comparison.run_rows import RunRows
from promptkit.evaluation.evaluate import EvalResult, Evaluation
from promptkit.evaluation.serving.spec import ServingSpec, typed_serving
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.comparison_settings import with_comparison_options
from promptkit.evaluation.suite.contamination import refuse_contamination, without_seen_rows
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.evaluation.summary import ReportRules
from promptkit.project import Project
from promptkit.reports.evaluation.report import evaluation_text
from promptkit.reports.evaluation.screen import EvaluationScreen
from promptkit.reports.progress import Progress
from promptkit.reports.text import counted, json_text
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.tuning.confirmed_run import tuned_notes


class EvalArguments(ModelArguments, total=False):
    """Keyword arguments of `evaluate`, as the options of `promptkit eval`.

    `in_flight`: concurrent requests; `retry_errors`: ask again what failed, and only that; `fresh`: ask everything
    again; `exact`: one request at a time; `allow_missing`: compare though up to 2 % are missing; `allow_seen`:
    measure on rows that a preparation saw; `unseen`: leave such rows out; `against`: a run or a baseline's file to
    compare with; `smallest`: the smallest relevant difference in points; `margin`: the largest loss that does not
    matter, as `METRIC=0.02`; `all_pairs`: compare each variant with each other one; `serving`: the numbers of
    concurrent requests at which serving is measured, as a list or a text (`1,4,16`; `none` measures nothing, though
    the suite says so).
    """

    in_flight: int | None
    retry_errors: bool
    fresh: bool
    exact: bool
    allow_missing: bool
    allow_seen: bool
    unseen: bool
    against: str | None
    smallest: float | None
    margin: str | Sequence[str]
    all_pairs: bool
    serving: str | Sequence[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """The options of an evaluation; `alone` tells that it is of one suite, for which a wrong `against` is an error.

    `serving` are the numbers of concurrent requests at which serving is measured; None: those of the suite.
    """

    model: ModelOptions = field(default_factory=ModelOptions)
    cells: EvalOptions = field(default_factory=EvalOptions)
    rules: ReportRules = field(default_factory=ReportRules)
    allow_seen: bool = False
    unseen: bool = False
    against: str | None = None
    margins: Sequence[str] = ()
    all_pairs: bool = False
    alone: bool = True
    serving: list[int] | None = None

    def measured(self, suite: Suite) -> Suite:
        """Return a suite with its serving measured as these options say."""
        if self.serving is None:
            return suite
        spec = suite.serving or ServingSpec()
        return replace(suite, serving=spec.model_copy(update={"concurrency": self.serving}) if self.serving else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult(EvalResult):
    """The result of an evaluation. As text it is the report, 80 columns wide.

    `steps` has a result for each step of the target with labels of its own.
    """

    text: str = ""
    steps: Mapping[str, SuiteResult] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no threshold was missed, here and in the steps."""
        missed = any(threshold.passed is False for threshold in self.record.thresholds)
        return not missed and all(step.passed for step in self.steps.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `promptkit eval --json` prints."""
        return self.record.to_json()

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return `to_dict()` as JSON."""
        return json_text(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        return self.text


def evaluate(
    suite: str | Path,
    *,
    target: str | Path | None = None,
    repeat: int | None = None,
    limit: int | None = None,
    filters: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    **options: Unpack[EvalArguments],
) -> SuiteResult:
    """Measure the target of a suite on its rows, and keep the run in the project's store.

    `suite` is a name or a path, and so is `target`, which is measured in place of the suite's own; `repeat` is the
    samples of each row; `limit` takes the first rows only, `filters` those with these fields. `options` are those of
    `EvalArguments` and `ModelArguments`. Cells that are finished are kept: the same call asks only for the rest. Raises
    InputError before a model is asked. A threshold that is missed and cells without an answer are in the result:
    `passed`, `status`, `failure`.
    """
    work = aevaluate(suite, target=target, repeat=repeat, limit=limit, filters=filters, progress=progress, **options)
    return run_sync("evaluate", work)


async def aevaluate(
    suite: str | Path,
    *,
    target: str | Path | None = None,
    repeat: int | None = None,
    limit: int | None = None,
    filters: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    **options: Unpack[EvalArguments],
) -> SuiteResult:
    """Measure the target of a suite, as `evaluate` does, in the event loop that runs."""
    given = read_options(**options)
    path, project = find_suite(str(suite))
    only = list((filters or {}).items())
    with frozen_files():
        start = None if target is None else project.target(str(target))
        loaded = load_suite(path, project, sets=given.model.sets, only=only, limit=limit, repeat=repeat, start=start)
        given = replace(given, alone=not loaded.steps)
        whole = await _with_text(loaded, given, progress)
        prefix = f"{loaded.name}."
        steps = {step.name.removeprefix(prefix): await _with_text(step, given, progress) for step in loaded.steps}
    return replace(whole, steps=steps)


def read_options(**options: Unpack[EvalArguments]) -> SuiteOptions:
    """Return the options of an evaluation as they are typed. Raises InputError."""
    smallest = options.get("smallest")
    if smallest is not None and not 0 < smallest <= 100:
        raise InputError(f"--smallest is a number of points above 0 and up to 100, not {smallest:g}")
    fresh, record = options.get("fresh", False), options.get("record")
    model = ModelOptions(
        model=options.get("model"),
        sets=tuple(as_list(options.get("sets", ()))),
        record=record,
        no_cache=options.get("no_cache", False) or fresh,
        strict=options.get("strict", False),
        strict_on=tuple(as_list(options.get("strict_on", ()))),
        timeout=options.get("timeout"),
    )
    cells = EvalOptions(
        in_flight=options.get("in_flight"),
        exact=options.get("exact", False),
        # A recording must hold every request, those of known cells too: kept replies answer them.
        fresh=fresh or record is not None,
        retry_errors=options.get("retry_errors", False),
        strict=model.strict,
        strict_on=frozenset(model.strict_on),
    )
    rules = ReportRules(allow_missing=options.get("allow_missing", False))
    return SuiteOptions(
        model=model,
        cells=cells,
        rules=rules if smallest is None else replace(rules, smallest=smallest / 100),
        allow_seen=options.get("allow_seen", False),
        unseen=options.get("unseen", False),
        against=options.get("against"),
        margins=as_list(options.get("margin", ())),
        all_pairs=options.get("all_pairs", False),
        serving=None if (serving := options.get("serving")) is None else typed_serving(serving),
    )


def find_suite(name: str) -> tuple[Path, Project]:
    """Return a suite's file with its project: a path belongs to the project that it lies in. Raises InputError."""
    here = Project.find(Path.cwd())
    path = here.suite(name)
    return path, Project.find(path, otherwise=here.root) if os.path.isfile(name) else here


async def evaluate_suite(
    suite: Suite,
    options: SuiteOptions,
    progress: Progress | None = None,
    report: Callable[[EvalResult, StoredRun], None] | None = None,
) -> EvalResult:
    """Run one suite and show how far it is. `report` gets the result and its cells while the store is open.

    Raises what ends the run.
    """
    ignored = None if options.alone else partial(notify, progress)
    suite = with_comparison_options(suite, options.margins, all_pairs=options.all_pairs, on_ignored=ignored)
    suite = options.measured(suite)
    if options.unseen:
        suite, seen = without_seen_rows(suite)
        if seen:
            notify(progress, f"{counted(seen, 'row')} left out, as preparation or training saw them")
    notes = refuse_contamination(suite, allow=options.allow_seen)
    if options.model.no_cache and any(variant.counted for variant in suite.variants):
        hint = "measure without --no-cache and --fresh, or let `feed: data` take the step's inputs from the rows"
        raise InputError("`feed: recorded` needs the kept answers of the steps before", hint=hint)
    cells = replace(options.cells, in_flight=options.cells.in_flight or suite.concurrency)
    async with open_session(
        suite.baseline.pipeline,
        options.model,
        progress,
        concurrency=1 if cells.exact else cells.in_flight,
        replies=partial(ReplyCache, exact=cells.exact),
        apart=[*(variant.model for variant in suite.variants if variant.model), *suite.other_models],
    ) as session:
        evaluation = Evaluation(
            suite,
            models=session.models,
            store=session.store,
            options=cells,
            rules=options.rules,
            against=_baseline(suite, options, session.store, progress),
            notes=[*map(str, notes), *suite.notes, *tuned_notes(session.store, suite)],
        )
        with showing(progress):
            await evaluation.open()
        screen = EvaluationScreen(evaluation, progress) if progress else None
        try:
            with screen.showing() if screen else nullcontext():
                result = await evaluation.run()
        except asyncio.CancelledError:
            if screen:
                screen.interrupted()
            raise
        for message in result.notices:
            notify(progress, message)
        if report:
            run = session.store.run(str(result.number))
            assert run is not None, "a run that ended is in the store"
            report(result, StoredRun(session.store, run))
    return result


async def _with_text(suite: Suite, options: SuiteOptions, progress: Progress | None) -> SuiteResult:
    texts: list[str] = []
    result = await evaluate_suite(
        suite, options, progress, lambda result, view: texts.append(evaluation_text(result.record, view))
    )
    values = {field.name: getattr(result, field.name) for field in fields(EvalResult)}
    return SuiteResult(**values, text=texts[0])


def _baseline(suite: Suite, options: SuiteOptions, store: Store, progress: Progress | None) -> RunRows | None:
    """Return the run or file that `against` names for a suite. Raises InputError.

    None, with a notice, where the suite has no earlier run, and where a run or file is of another one of several
    suites.
    """
    if options.against is None:
        return None
    found = find_baseline(options.against, suite.name, store, folder=Path.cwd())
    if found is None:
        notify(progress, f"`{suite.name}` has no earlier run that is done and had all rows: nothing is compared")
        return None
    if found.suite == suite.name:
        return found
    mismatch = f"{found.name} is of the suite `{found.suite}`, not `{suite.name}`"
    if options.alone:
        raise InputError(mismatch)
    notify(progress, f"{mismatch}: nothing is compared")
    return None
