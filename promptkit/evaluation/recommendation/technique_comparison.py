"""Techniques compared on one step: the same rows, model and settings."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from promptkit.engine.results import Totals, Trace
from promptkit.engine.single_step import SingleStep, with_technique
from promptkit.errors import (
    InputError,
    MissingExtra,
    Problem,
    PromptkitError,
    RuntimeFailure,
    TechniqueFailed,
    ToolFailed,
    UnexpectedError,
    Unsupported,
    catching_unexpected,
    first_error,
    place,
)
from promptkit.evaluation.cells.cell import REQUEST_FAILURES
from promptkit.evaluation.recommendation.evidence import Evidence, MeasuredData, MeasuredModel, files_hash, now
from promptkit.evaluation.statistics.interval import Interval, wilson
from promptkit.storage.yaml import load
from promptkit.techniques.artifacts import read_artifact
from promptkit.techniques.context import Spec
from promptkit.techniques.perform import perform, require
from promptkit.techniques.spec import ConfiguredTechnique, check_spec, configure

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.engine.session import OnEvent, RunSettings
    from promptkit.engine.step_rows import StepRow, StepRows
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.models import Models
    from promptkit.techniques.context import Answer, CallRecord, StepContext

State = Literal["measured", "incomplete", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What rows took together. `calls` as papers count them, `requests` as the runtime does, `cached` of them known
    before; `seconds` is the model's own time."""

    calls: int = 0
    requests: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        names = self.__dataclass_fields__
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class TechniqueResult:
    """One technique on the rows of a comparison.

    Of `rows`, `missing` have no answer because a server or tool failed (`reason` is the first failure); all else is of
    the others. An `unparsed` and a `truncated` answer is wrong. `seen` of the rows were seen when the technique was
    prepared. `spent` is what the answered rows took, `lost` what was asked for the missing ones. `reason` also says why
    a technique is `unavailable`: what it needs is not at hand, or not prepared. `dominated_by` is a technique
    that is at least as often right for no more requests, and better in one of the two.
    """

    spec: Spec
    name: str
    rows: int
    right: int = 0
    unparsed: int = 0
    truncated: int = 0
    missing: int = 0
    seen: int = 0
    spent: Usage = Usage()
    lost: Usage = Usage()
    reason: str = ""
    available: bool = True
    dominated_by: str | None = None

    @property
    def n(self) -> int:
        """How many rows have an answer, right or wrong."""
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

    def per_row(self, what: str) -> float:
        """Return one of the amounts of `spent`, per answered row."""
        amount: float = getattr(self.spent, what)
        return amount / self.n if self.n else 0.0


def rank(measured: Iterable[TechniqueResult]) -> list[TechniqueResult]:
    """Return techniques by what one gets for what one pays, each with what it is dominated by.

    First those that no other dominates (none is at least as often right for no more requests a row, and better in one
    of the two), the most accurate first, and of equals the cheapest: for each further right answer one pays more. Then
    the dominated ones, then the incomplete ones, which are compared with none, then those that could not be asked.
    """
    every = list(measured)
    whole = [each for each in every if each.state == "measured"]
    told = [replace(each, dominated_by=_dominating(each, whole)) for each in whole]
    rest = [each for state in ("incomplete", "unavailable") for each in every if each.state == state]
    return [*sorted(told, key=lambda each: (each.dominated_by is not None, *_worth(each))), *rest]


def _worth(each: TechniqueResult) -> tuple[float, float]:
    return -each.accuracy, each.per_row("requests")


def _dominating(each: TechniqueResult, others: Sequence[TechniqueResult]) -> str | None:
    """Return the name of the most accurate (of equals the cheapest) technique that dominates one."""
    found = [other for other in others if _dominates(other, each)]
    return min(found, key=_worth).name if found else None


def _dominates(one: TechniqueResult, other: TechniqueResult) -> bool:
    better, cheaper = one.accuracy - other.accuracy, other.per_row("requests") - one.per_row("requests")
    return better >= 0 and cheaper >= 0 and (better > 0 or cheaper > 0)


def spec_text(spec: Any) -> str:
    """Return a technique's spec in one line, as YAML: `name`, or `{name: {parameter: value}}`."""
    if isinstance(spec, Mapping):
        return "{" + ", ".join(f"{key}: {spec_text(value)}" for key, value in spec.items()) + "}"
    if isinstance(spec, list | tuple):
        return "[" + ", ".join(map(spec_text, spec)) + "]"
    plain = isinstance(spec, str) and _PLAIN.fullmatch(spec)
    return str(spec) if plain else json.dumps(spec, ensure_ascii=False)


_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")


AT_ONCE = 32
"""Rows in work: more than any runtime takes."""

MOST_FAILURES = 10
"""Failures one after the other after which no further row is asked: a dead server is not asked a thousand times."""

UNFIT = (InputError, Unsupported, MissingExtra)


@dataclass(frozen=True, slots=True, kw_only=True)
class TechniqueComparison:
    """What became of it. `measured` are the techniques in the order of their worth; `answered` the models used."""

    pipeline: Pipeline
    step: Step
    rows: StepRows
    model: Model
    measured: Sequence[TechniqueResult]
    answered: Mapping[str | None, Model]

    @property
    def incomplete(self) -> bool:
        return any(each.state == "incomplete" for each in self.measured)

    @property
    def totals(self) -> Totals:
        """What it took, as of a run: `calls` are requests, `seconds` the model's own."""
        spent = sum((each.spent + each.lost for each in self.measured), Usage())
        return Totals(
            calls=spent.requests,
            cached=spent.cached,
            tokens_in=spent.tokens_in,
            tokens_out=spent.tokens_out,
            seconds=spent.seconds,
        )

    def evidence(self) -> Iterator[Evidence]:
        """Yield what may be kept for recommending: whole measurements on rows that no preparation saw."""
        for each in self.measured:
            if each.state == "measured" and not each.seen:
                tokens = each.per_row("tokens_in") + each.per_row("tokens_out")
                yield Evidence(
                    pipeline=self.pipeline.name,
                    step=self.step.name,
                    files=files_hash(self.pipeline, self.step),
                    technique=each.spec if isinstance(each.spec, str) else dict(each.spec),
                    model=MeasuredModel(reference=self.model.reference, digest=self.model.digest),
                    data=MeasuredData(file=self.rows.file.name, rows=self.rows.hash),
                    n=each.n,
                    right=each.right,
                    low=each.interval.low,
                    high=each.interval.high,
                    unparsed=each.unparsed,
                    requests=each.per_row("requests"),
                    tokens=tokens,
                    date=now(),
                )


@dataclass(frozen=True, slots=True)
class Contender:
    """A technique to measure: its spec, and the step that asks by it, or why it cannot."""

    spec: Spec
    step: Step | None = None
    reason: str = ""
    seen: int = 0


def parse_specs(text: str) -> list[Spec]:
    """Return the techniques that a list names: `vanilla,{self_consistency: {samples: 3}}`, each once.

    Raises InputError for what is no list of them.
    """
    listed = load(f"[{text}]", file="--techniques").value
    wrong = [each for each in listed if not isinstance(each, str | dict)]
    if wrong or not listed:
        told = f"`{wrong[0]}` is no technique" if wrong else "there is no technique to compare"
        raise InputError(Problem(f"--techniques: {told}", hint='name,"{name: {parameter: value}}"'))
    return list({spec_text(each): each for each in listed}.values())


def contenders(
    pipeline: Pipeline, step: Step, specs: Sequence[Spec], rows: StepRows, *, allow_seen: bool = False
) -> list[Contender]:
    """Return the techniques to measure; nothing is asked. One that the step's inputs do not suit says why.

    Raises InputError for an unknown technique or parameter, all at once, and, without `allow_seen`, where a technique
    saw some of the rows when it was prepared: on these it would look better than it is.
    """
    problems = [
        replace(problem, message=f"--techniques: {problem.message}") if problem.file is None else problem
        for spec in specs
        for problem in check_spec(spec, pipeline.project, None, pipeline.file.parent)
    ]
    if problems:
        raise InputError(problems)
    found = [_contender(pipeline, step, spec, rows) for spec in specs]
    if not allow_seen:
        _refuse_seen(found, rows)
    return found


def _refuse_seen(found: Sequence[Contender], rows: StepRows) -> None:
    hint = "compare on other rows, or add --allow-seen, which marks the result"
    total = len(rows.rows)
    seen = [
        Problem(f"`{spec_text(each.spec)}` saw {each.seen} of {total} rows when it was prepared", place(rows.file))
        for each in found
        if each.seen
    ]
    if seen:
        raise InputError([*seen[:-1], replace(seen[-1], hint=hint)])


def _contender(pipeline: Pipeline, step: Step, spec: Spec, rows: StepRows) -> Contender:
    try:
        own = with_technique(pipeline, step, spec)
        assert own.prompt_call is not None, "a step with a technique asks"
        artifacts = [artifact for file in own.prompt_call.artifacts.values() if (artifact := read_artifact(file))]
    except InputError as error:
        return Contender(spec, reason=_reason(error))
    known = {each for artifact in artifacts for each in artifact.rows}
    return Contender(spec, own, seen=sum(row.hash in known for row in rows.rows))


async def compare(
    pipeline: Pipeline,
    step: Step,
    techniques: Sequence[Contender],
    rows: StepRows,
    *,
    models: Models,
    settings: RunSettings | None = None,
    on_event: OnEvent | None = None,
    on_row: Callable[[], None] | None = None,
    on_measured: Callable[[TechniqueResult], None] | None = None,
) -> TechniqueComparison:
    """Measure each technique on a step over rows with expected answers, one technique after the other.

    An answer is right when it has the expected one's vote key. Nothing is repaired and no guard is asked, since what is
    measured is the prompt. A technique whose needs are not at hand, or that was not prepared, is told as unavailable. A
    row that a server or tool failed on is missing. Raises what the absence of the model raises, and StoreFailed.
    """
    alone = SingleStep(pipeline, step, models=models, settings=settings, on_event=on_event)
    model = await alone.model()
    measured = []
    for each in techniques:
        if each.step is None:
            result = _unavailable(each, rows, each.reason)
        else:
            own = SingleStep(pipeline, each.step, models=models, settings=settings, on_event=on_event)
            result = await _Measuring(each, own, rows, on_row).run()
        measured.append(result)
        if on_measured:
            on_measured(result)
    return TechniqueComparison(
        pipeline=pipeline, step=step, rows=rows, model=model, measured=rank(measured), answered=alone.answered
    )


class _Measuring:
    """One technique at work on the rows."""

    def __init__(
        self, contender: Contender, alone: SingleStep, rows: StepRows, on_row: Callable[[], None] | None
    ) -> None:
        assert alone.step.prompt_call is not None, "a step that is asked alone asks"
        self._contender = contender
        self._alone = alone
        self._rows = rows
        self._on_row = on_row
        self._counts: Counter[str] = Counter()
        self._spent = Usage()
        self._lost = Usage()
        self._failures = 0
        self._failure = ""

    async def run(self) -> TechniqueResult:
        """Return the technique as measured, or why it is unavailable."""
        try:
            context = await self._alone.context(self._rows.rows[0], _trace())
            chosen = configure(self._contender.spec, context.project)
            await require(chosen, context)
            await self._all(chosen)
        except UNFIT as error:
            return _unavailable(self._contender, self._rows, _reason(error))
        return TechniqueResult(
            spec=self._contender.spec,
            name=spec_text(self._contender.spec),
            rows=len(self._rows.rows),
            right=self._counts["right"],
            unparsed=self._counts["unparsed"],
            truncated=self._counts["truncated"],
            missing=self._counts["missing"],
            seen=self._contender.seen,
            spent=self._spent,
            lost=self._lost,
            reason=self._failure,
        )

    async def _all(self, chosen: ConfiguredTechnique) -> None:
        """Ask all rows, several at once. Raises the first error that no row can be blamed for."""
        left = iter(self._rows.rows)

        async def work() -> None:
            for row in left:
                await self._row(chosen, row)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        except BaseExceptionGroup as raised:
            raise first_error(raised) from None

    async def _row(self, chosen: ConfiguredTechnique, row: StepRow) -> None:
        trace = _trace()
        if self._failures >= MOST_FAILURES:
            self._counts["missing"] += 1
        else:
            try:
                with catching_unexpected():
                    context = await self._alone.context(row, trace)
                    answer = await perform(chosen, context)
                    is_right = answer.flag != "truncated" and _is_right(answer, row, context)
            except (RuntimeFailure, ToolFailed, TechniqueFailed, UnexpectedError) as failure:
                self._failures += not isinstance(failure, REQUEST_FAILURES)
                self._failure = self._failure or _reason(failure)
                self._counts["missing"] += 1
                self._lost += spent_on(trace.calls)
            else:
                self._failures = 0
                self._spent += spent_on(trace.calls)
                if answer.flag == "truncated":
                    self._counts["truncated"] += 1
                elif answer.value is None:
                    self._counts["unparsed"] += 1
                elif is_right:
                    self._counts["right"] += 1
        if self._on_row:
            self._on_row()


def _is_right(answer: Answer, row: StepRow, context: StepContext) -> bool:
    kind = context.answer
    return answer.value is not None and kind.vote_key(answer.value) == kind.vote_key(row.expect)


def spent_on(records: Sequence[CallRecord]) -> Usage:
    """Return what the requests of one row took.

    A call is one rendered template and its reply: the request that decides its answer after thoughts is of the same
    call.
    """
    first = Counter(record.call for record in records if not record.deciding)
    deciding = Counter(record.call for record in records if record.deciding)
    return Usage(
        calls=sum((first | deciding).values()),
        requests=sum(record.requests for record in records),
        cached=sum(record.requests for record in records if record.reply.cached),
        tokens_in=sum(record.reply.tokens_in or 0 for record in records),
        tokens_out=sum(record.reply.tokens_out or 0 for record in records),
        seconds=sum(record.reply.seconds for record in records),
    )


def _unavailable(contender: Contender, rows: StepRows, reason: str) -> TechniqueResult:
    name = spec_text(contender.spec)
    return TechniqueResult(spec=contender.spec, name=name, rows=len(rows.rows), reason=reason, available=False)


def _trace() -> Trace:
    return Trace(name="row", kind="item")


def _reason(error: PromptkitError) -> str:
    """Return what is wrong, where, and what would help, in one line."""
    problems = error.problems if isinstance(error, InputError) else [Problem(error.message, hint=error.hint)]
    return "; ".join(f"{replace(each, hint=None)}{f' ({each.hint})' if each.hint else ''}" for each in problems)
