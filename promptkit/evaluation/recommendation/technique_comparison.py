"""Techniques compared on one step: a suite in memory with a variant for each, evaluated as `promptkit eval` does.

The same rows, model and settings for all. So a comparison is a run of the store: it can be looked at, compared and
resumed, and each technique is tested against the first one on the same rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from promptkit.answers.text import Text
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.results import Totals, calls_of
from promptkit.engine.run import Runner
from promptkit.engine.scope import CompiledValue, Location, Unplaced, compile_value
from promptkit.engine.session import RunSettings
from promptkit.engine.step_rows import EXPECTED_FIELDS, MAX_PROBLEMS
from promptkit.errors import InputError, MissingExtra, Problem, PromptkitError, Unsupported, place
from promptkit.evaluation.cells.cell import Cell, RunView
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.metrics.base import MetricContext
from promptkit.evaluation.metrics.registry import kind_named
from promptkit.evaluation.recommendation.evidence import (
    BASELINE,
    Evidence,
    MeasuredData,
    MeasuredModel,
    files_hash,
    now,
)
from promptkit.evaluation.record import EvalRecord
from promptkit.evaluation.statistics.interval import Interval, wilson
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.binding import row_problems
from promptkit.evaluation.suite.contamination import refuse_contamination
from promptkit.evaluation.suite.data import Data, DataSpec
from promptkit.evaluation.suite.suite import Measure, Suite, TargetSource, Variant, answer_type, read_variant
from promptkit.runtimes.base import Model
from promptkit.runtimes.models import Models
from promptkit.storage.models import Problems
from promptkit.storage.store import Store
from promptkit.storage.yaml import load
from promptkit.techniques.artifacts import read_artifact
from promptkit.techniques.context import Spec
from promptkit.techniques.spec import check_spec, spec_text
from promptkit.techniques.warnings import WarnedBy, in_table_order, merged_sources

ACCURACY = "accuracy"
UNFIT = (InputError, Unsupported, MissingExtra)
"""Errors that say something of one technique: the others are compared without it."""

State = Literal["measured", "incomplete", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TechniqueUsage:
    """The cost of some rows together. `calls` as papers count them, `requests` as the runtime does, `cached` of these
    answered from the store; `seconds` is the model's own time."""

    calls: int = 0
    requests: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def __add__(self, other: TechniqueUsage) -> TechniqueUsage:
        names = self.__dataclass_fields__
        return TechniqueUsage(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class TechniqueResult:
    """One technique on the rows of a comparison.

    Of `rows`, `missing` have no answer because a server or tool failed (`reason` is the first failure); all other
    numbers are about the rest. An `unparsed` or `truncated` answer is wrong; `warnings` counts rows by the name of a
    warning. `seen` rows were part of the technique's preparation. `spent` is the cost of the answered rows. `reason`
    also says why a technique is `unavailable`: its needs are not met here, or it was not prepared. `dominated_by` is a
    technique that is right at least as often for no more requests, and better in one of the two.
    """

    spec: Spec
    name: str
    rows: int
    right: int = 0
    unparsed: int = 0
    truncated: int = 0
    warnings: Mapping[str, int] = field(default_factory=dict)
    warned_by: WarnedBy = field(default_factory=dict)
    missing: int = 0
    seen: int = 0
    spent: TechniqueUsage = TechniqueUsage()
    reason: str = ""
    available: bool = True
    dominated_by: str | None = None

    @property
    def n(self) -> int:
        """The number of rows with an answer, right or wrong."""
        return self.rows - self.missing

    @property
    def state(self) -> State:
        return "unavailable" if not self.available else "incomplete" if self.missing else "measured"

    @property
    def accuracy(self) -> float:
        return self.right / self.n if self.n else 0.0

    @property
    def interval(self) -> Interval:
        return wilson(self.right, self.n)

    def per_row(self, amount: str) -> float:
        """Return one of the amounts of `spent` per answered row."""
        total: float = getattr(self.spent, amount)
        return total / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TechniqueSuite:
    """The suite of a comparison and what is not part of it.

    `specs` are all techniques by the names of their variants, in the order given; those in `unavailable` have no
    variant, for the reason given there. `file` holds the rows, and their field `expect` the expected answers. `seen`
    counts the rows that were part of a technique's preparation.
    """

    pipeline: Pipeline
    step: Step
    suite: Suite
    specs: Mapping[str, Spec]
    file: Path
    expect: str
    unavailable: Mapping[str, str]
    seen: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TechniqueComparison:
    """The results of a comparison, best first, and the record of its run, which holds the tests of differences.

    `record` is None where no technique could be asked. `answered` are the models that were used.
    """

    techniques: TechniqueSuite
    rows: int
    rows_hash: str
    record: EvalRecord | None
    results: Sequence[TechniqueResult]
    model: Model
    answered: Mapping[str | None, Model]

    @property
    def totals(self) -> Totals:
        """The cost of the run: `calls` are requests, `seconds` the model's own."""
        names = ("calls", "cached", "tokens_in", "tokens_out", "seconds")
        variants = self.record.variants if self.record else ()
        return Totals(**{name: sum(getattr(variant, name) for variant in variants) for name in names})

    def evidence(self) -> Iterator[Evidence]:
        """Yield the measurements to keep for recommending: complete ones, on rows that no preparation saw."""
        techniques = self.techniques
        for result in self.results:
            if result.state == "measured" and not result.seen:
                yield Evidence(
                    pipeline=techniques.pipeline.name,
                    step=techniques.step.name,
                    files=files_hash(techniques.pipeline, techniques.step),
                    technique=result.spec if isinstance(result.spec, str) else dict(result.spec),
                    model=MeasuredModel(reference=self.model.reference, digest=self.model.digest),
                    data=MeasuredData(file=techniques.file.name, rows=self.rows_hash),
                    n=result.n,
                    right=result.right,
                    low=result.interval.low,
                    high=result.interval.high,
                    gain=self._gain(result.name),
                    unparsed=result.unparsed,
                    truncated=result.truncated,
                    warnings=dict(result.warnings),
                    calls=result.per_row("calls"),
                    requests=result.per_row("requests"),
                    tokens=result.per_row("tokens_in") + result.per_row("tokens_out"),
                    tokens_out=result.per_row("tokens_out"),
                    seconds=result.per_row("seconds"),
                    date=now(),
                )

    def _gain(self, name: str) -> tuple[float, float, float] | None:
        """Return a technique's difference from the baseline with the ends of its interval, None without a test."""
        comparisons = self.record.comparisons if self.record else ()
        found = next(
            (found for found in comparisons if (found.a, found.b, found.metric) == (name, BASELINE, ACCURACY)), None
        )
        if found is None or found.difference is None or found.low is None or found.high is None:
            return None
        return float(found.difference), float(found.low), float(found.high)


Watch = Callable[[TechniqueSuite, Evaluation], AbstractContextManager[None]]
"""Watches the run of a comparison; its suite has the available techniques only."""


def parse_specs(text: str) -> list[Spec]:
    """Return the techniques that a list names: `vanilla,{self_consistency: {samples: 3}}`, each once.

    Raises InputError for text that is not a list of techniques.
    """
    listed = load(f"[{text}]", file="--techniques").value
    wrong = [item for item in listed if not isinstance(item, str | dict)]
    if wrong or not listed:
        problem = f"`{wrong[0]}` is not a technique" if wrong else "there is no technique to compare"
        raise InputError(Problem(f"--techniques: {problem}", hint='name,"{name: {parameter: value}}"'))
    return list({spec_text(spec): spec for spec in listed}.values())


def technique_suite(
    pipeline: Pipeline,
    step: Step,
    specs: Sequence[Spec],
    file: Path,
    *,
    expect: str | None = None,
    limit: int | None = None,
    sets: Sequence[str] = (),
    allow_seen: bool = False,
) -> TechniqueSuite:
    """Return the suite that measures techniques on a step over the rows of a file; nothing is asked.

    `expect` is the field of the expected answers, left out the first of EXPECTED_FIELDS that the first row has and the
    step does not take. A technique that does not suit the step's inputs is unavailable.

    Raises InputError for an unknown technique or parameter, all at once, for data without rows or with wrong ones, and,
    unless `allow_seen`, for rows that were part of a technique's preparation.
    """
    _check_specs(specs, pipeline)
    data = Data(
        spec=DataSpec(file=str(file)), file=file, function=None, where=Problem("", str(place(file))), limit=limit
    )
    fields = _first_fields(data)
    expect = _expected_field(fields, step, file, expect)
    source = TargetSource(
        target=pipeline.file,
        folder=pipeline.file.parent,
        project=pipeline.project,
        sets=tuple(sets),
        step=step.name,
        given=frozenset(fields),
    )
    variants, unavailable = _variants(specs, source)
    expression = f"{{{{ row[{json.dumps(expect)}] }}}}"
    name = ".".join(dict.fromkeys((pipeline.name, step.name, "techniques")))
    suite = Suite(
        name=name,
        about=f"techniques on the step `{step.name}`",
        file=pipeline.file.with_name(f"{name}.yaml"),  # No such file: the suite is in memory only.
        project=pipeline.project,
        target=f"{pipeline.name}, step {step.name}",
        data=data,
        inputs=None,
        expect=_compiled(expression),
        measures=(_accuracy(pipeline, variants, expression),) if variants else (),
        variants=tuple(variants),
        source=source,
        sets=tuple(sets),
    )
    if variants and (wrong := row_problems(suite)):
        raise InputError(wrong[:MAX_PROBLEMS])
    contamination = refuse_contamination(suite, allow=allow_seen) if variants else []
    return TechniqueSuite(
        pipeline=pipeline,
        step=step,
        suite=suite,
        specs={spec_text(spec): spec for spec in specs},
        file=file,
        expect=expect,
        unavailable=unavailable,
        seen={found.variant: found.seen for found in contamination},
    )


async def compare_techniques(
    techniques: TechniqueSuite,
    *,
    models: Models,
    store: Store,
    options: EvalOptions | None = None,
    watch: Watch = lambda techniques, evaluation: nullcontext(),
) -> TechniqueComparison:
    """Evaluate the suite of a comparison as a run of the store. `watch` is entered around the run.

    A technique whose needs the model does not meet, or that was not prepared, is unavailable. A row on which a server
    or tool failed is missing. Raises what the absence of the model raises, and StoreFailed.
    """
    options = options or EvalOptions()
    model = await (await models.get(techniques.step.model)).model()
    techniques = await _available(techniques, models, strict=options.strict)
    if not techniques.suite.variants:
        counted = techniques.suite.data.count()
        results = [_unavailable(techniques, name, counted.rows) for name in techniques.specs]
        return TechniqueComparison(
            techniques=techniques,
            rows=counted.rows,
            rows_hash=counted.hash,
            record=None,
            results=results,
            model=model,
            answered={},
        )
    evaluation = Evaluation(techniques.suite, models=models, store=store, options=options)
    await evaluation.open()
    with watch(techniques, evaluation):
        await evaluation.run()
    return comparison_of(techniques, evaluation, store)


def comparison_of(techniques: TechniqueSuite, evaluation: Evaluation, store: Store) -> TechniqueComparison:
    """Return the comparison that an evaluation of its suite came to, or has come to so far."""
    run = store.run(str(evaluation.number))
    assert run is not None and evaluation.model is not None, "an evaluation that began is in the store"
    view = StoredRun(store, run)
    return TechniqueComparison(
        techniques=techniques,
        rows=evaluation.counted.rows,
        rows_hash=evaluation.counted.hash,
        record=view.record,
        results=_results(techniques, evaluation, view),
        model=evaluation.model,
        answered=evaluation.execution.variants[0].runner.session.answered,
    )


def _check_specs(specs: Sequence[Spec], pipeline: Pipeline) -> None:
    problems = [
        replace(problem, message=f"--techniques: {problem.message}") if problem.file is None else problem
        for spec in specs
        for problem in check_spec(spec, pipeline.project, None, pipeline.file.parent)
    ]
    if problems:
        raise InputError(problems)


def _first_fields(data: Data) -> Mapping[str, Any]:
    """Return the first row that can be read. Raises InputError where there is none."""
    for row in data.rows():
        if row.problem is None:
            return row.fields
    data.count()
    raise AssertionError("data without a row that can be read is refused")


def _expected_field(fields: Collection[str], step: Step, file: Path, expect: str | None) -> str:
    assert step.prompt_call is not None, "only a step that asks has a technique"
    taken = {*step.prompt_call.inputs, *(name for argument in step.arguments.values() for name in argument.names)}
    names = EXPECTED_FIELDS if expect is None else (expect,)
    found = next((name for name in names if name in fields and (expect or name not in taken)), None)
    if found is not None:
        return found
    missing = ", ".join(f"`{name}`" for name in names)
    hint = f"the rows' fields are {', '.join(f'`{name}`' for name in fields)}; --expect FIELD names another"
    raise InputError(Problem(f"there is no field {missing} with the expected answer", place(file), hint=hint))


def _variants(specs: Sequence[Spec], source: TargetSource) -> tuple[list[Variant], dict[str, str]]:
    """Return a variant for each technique that suits the step, and why others do not."""
    variants: list[Variant] = []
    unavailable: dict[str, str] = {}
    for spec in specs:
        name = spec_text(spec)
        try:
            variant = read_variant(name, {f"{source.step}.technique": spec}, source, lambda key: Problem(""))
            for step in variant.pipeline.steps.values():
                for file in step.prompt_call.artifacts.values() if step.prompt_call is not None else ():
                    read_artifact(file)
            variants.append(variant)
        except InputError as error:
            unavailable[name] = _reason(error).replace(f"variant `{name}`: ", "")
    return variants, unavailable


def _compiled(expression: str) -> CompiledValue:
    return compile_value(expression, Location(Unplaced()), Problems())


def _accuracy(pipeline: Pipeline, variants: Sequence[Variant], expression: str) -> Measure:
    """Return the metric of a comparison: the expected answer by the answer's type, free text by its words."""
    answer = answer_type(variants[0].pipeline)
    kind = kind_named("normalized" if isinstance(answer, Text) else "exact")
    context = MetricContext(project=pipeline.project, folder=pipeline.file.parent, answer=answer)
    return Measure(metric=kind(ACCURACY, kind.Parameters(), context), texts=(None, expression))


async def _available(techniques: TechniqueSuite, models: Models, *, strict: bool) -> TechniqueSuite:
    """Return the comparison without the techniques whose needs the model or the step does not meet."""
    unavailable = dict(techniques.unavailable)
    variants = []
    for variant in techniques.suite.variants:
        runner = Runner(variant.pipeline, models=models, settings=RunSettings(strict=strict, repairs=0))
        try:
            await runner.open()
        except UNFIT as error:
            unavailable[variant.name] = _reason(error)
        else:
            variants.append(variant)
    return replace(techniques, suite=replace(techniques.suite, variants=tuple(variants)), unavailable=unavailable)


def _results(techniques: TechniqueSuite, evaluation: Evaluation, view: StoredRun) -> list[TechniqueResult]:
    cached = {variant.name: variant.cached for variant in view.record.variants} if view.record else {}
    rows, failure = evaluation.counted.rows, evaluation.execution.progress.failure
    results = []
    for name in techniques.specs:
        if name in techniques.unavailable:
            results.append(_unavailable(techniques, name, rows))
        else:
            result = _result(techniques, name, rows, view)
            result = replace(result, spent=replace(result.spent, cached=cached[name]))
            results.append(result if result.reason or not result.missing else replace(result, reason=failure))
    return rank(results)


def _unavailable(techniques: TechniqueSuite, name: str, rows: int) -> TechniqueResult:
    reason = techniques.unavailable[name]
    return TechniqueResult(spec=techniques.specs[name], name=name, rows=rows, reason=reason, available=False)


def _result(techniques: TechniqueSuite, name: str, rows: int, view: RunView) -> TechniqueResult:
    """Return the numbers of a technique's cells; a row without a cell is missing too."""
    counts: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    warned_by: dict[str, list[str]] = {}
    spent, reason = TechniqueUsage(), ""
    for cell in view.cells(name):
        if cell.flag == "error":
            reason = reason or cell.problem
            continue
        spent += _usage(cell, view)
        score = cell.scores.get(ACCURACY)
        counts["right"] += score is not None and score.value == 1
        counts[cell.flag or "parsed"] += 1
        warnings.update(cell.warned)
        warned_by = merged_sources((warned_by, cell.warned_by))
    return TechniqueResult(
        spec=techniques.specs[name],
        name=name,
        rows=rows,
        right=counts["right"],
        unparsed=counts["unparsed"],
        truncated=counts["truncated"],
        warnings=in_table_order(warnings),
        warned_by=warned_by,
        missing=rows - counts["parsed"] - counts["unparsed"] - counts["truncated"],
        seen=techniques.seen.get(name, 0),
        spent=spent,
        reason=reason,
    )


def _usage(cell: Cell, view: RunView) -> TechniqueUsage:
    """Return the cost of a cell.

    A call is one rendered template and its reply: the request that decides its answer after thoughts is part of it.
    """
    calls = list(calls_of(view.trace(cell.number) or {}))
    first = Counter(call["call"] for call in calls if not call["deciding"])
    deciding = Counter(call["call"] for call in calls if call["deciding"])
    return TechniqueUsage(
        calls=sum((first | deciding).values()),
        requests=cell.calls,
        cached=cell.cached,
        tokens_in=cell.tokens_in,
        tokens_out=cell.tokens_out,
        seconds=cell.seconds,
    )


def rank(results: Iterable[TechniqueResult]) -> list[TechniqueResult]:
    """Return results by quality against cost, each with the technique that dominates it.

    First those that no other dominates (none is right at least as often for no more requests a row, and better in one
    of the two), the most accurate first and the cheapest of equals: for each further right answer one pays more. Then
    the dominated ones, then the incomplete ones, which are compared with none, then the unavailable ones.
    """
    results = list(results)
    complete = [result for result in results if result.state == "measured"]
    ranked = [replace(result, dominated_by=_dominating(result, complete)) for result in complete]
    rest = [result for state in ("incomplete", "unavailable") for result in results if result.state == state]
    return [*sorted(ranked, key=lambda result: (result.dominated_by is not None, *_worth(result))), *rest]


def _worth(result: TechniqueResult) -> tuple[float, float]:
    return -result.accuracy, result.per_row("requests")


def _dominating(result: TechniqueResult, others: Sequence[TechniqueResult]) -> str | None:
    """Return the name of the most accurate (of equals the cheapest) technique that dominates one."""
    dominating = [other for other in others if _dominates(other, result)]
    return min(dominating, key=_worth).name if dominating else None


def _dominates(one: TechniqueResult, other: TechniqueResult) -> bool:
    better, cheaper = one.accuracy - other.accuracy, other.per_row("requests") - one.per_row("requests")
    return better >= 0 and cheaper >= 0 and (better > 0 or cheaper > 0)


def _reason(error: PromptkitError) -> str:
    """Return an error's problems with their places and hints in one line."""
    problems = error.problems if isinstance(error, InputError) else [Problem(error.message, hint=error.hint)]
    return "; ".join(
        f"{replace(problem, hint=None)}{f' ({problem.hint})' if problem.hint else ''}" for problem in problems
    )
