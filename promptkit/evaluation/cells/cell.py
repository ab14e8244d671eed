"""A cell: a row under a variant, once; planned, then answered, scored and saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Literal, Protocol

from promptkit.engine.results import Result, Trace, tool_calls_of, trace_record
from promptkit.errors import (
    ContextOverflow,
    InputError,
    PromptkitError,
    RequestRefused,
    RuntimeFailure,
    UnexpectedError,
    UnparsedAnswer,
)
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.suite.data import BoundRow
from promptkit.storage.cells import CellRecord, KeptCell, RunCell
from promptkit.storage.records import read_record
from promptkit.storage.shapes import MOST_COUNT, OutcomeShape, ScoresShape
from promptkit.storage.strict_json import compact, plain, trace_bytes
from promptkit.techniques.warnings import WarnedBy, in_table_order, merged_sources

CellFlag = Literal["", "unparsed", "truncated", "error"]
REQUEST_FAILURES = (RequestRefused, ContextOverflow)
"""Failures that belong to the request; they say nothing about the server."""

_OUTCOME: Final = (
    "output",
    "flag",
    "problem",
    "steps",
    "calls",
    "cached",
    "tokens_in",
    "tokens_out",
    "seconds",
    "warnings",
    "warned_by",
    "simulated_user",
    "reads",
    "asked",
)
_OPTIONAL: Final = ("warned_by", "simulated_user", "reads")
"""Fields of an outcome that are left out where they are empty."""


@dataclass(slots=True, kw_only=True)
class Cell:
    """A row under a variant, once: its answer, its scores, and its number in the store.

    `row` counts from 1, `repeat` from 0. `fields` are the row's, `expect` the suite's expected answer (None: none),
    `case` is `BoundRow.case` in hexadecimal digits (empty: not recorded).
    A cell whose `flag` is `error` is missing, and `problem` says why; `defect` is the type and place of an unexpected
    exception. `seconds` is the model's own time for all requests; a cached reply counts with the time it once took.
    `warnings` are the kinds that occurred in each step; None where an earlier promptkit did not record them.
    `warned_by` maps those that techniques gave to their techniques. `asked` is the time (Unix seconds) at which the
    answer was made, None where an earlier promptkit did not record it, and `reads` the project's files that its Python
    read for it, with their digests. `simulated_user` is what a user that a model plays took: `calls`, `cached`,
    `tokens_in`, `tokens_out` and `seconds`, which are not among the cell's own.

    While a run goes on, `source` is the bound row, `place` the variant's among the variants, and `key` the hash of all
    that the target reads. `is_kept`: the answer was in the store, or is that of another cell; `kept_scores` are the
    scores of slow metrics that came with it. `is_timed`: all its requests were sent in this run, none was answered by a
    cache. `outcome_text` and `trace_text` are a new cell's as JSON. A cell that a metric of each turn sees is the
    `turn` of a conversation.
    """

    variant: str
    row: int
    repeat: int
    fields: Mapping[str, Any]
    expect: Any = None
    case: str = ""
    output: Any = None
    flag: CellFlag = ""
    problem: str = ""
    defect: str = ""
    steps: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    warnings: Mapping[str, Sequence[str]] | None = None
    warned_by: WarnedBy = field(default_factory=dict)
    simulated_user: Mapping[str, Any] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=dict)
    asked: float | None = None
    read_trace: Callable[[], Mapping[str, Any]] = dict
    scores: Mapping[str, Score] = field(default_factory=dict)
    number: int = 0
    source: BoundRow | None = None
    place: int = 0
    key: bytes = b""
    is_kept: bool = False
    is_timed: bool = False
    kept_scores: Mapping[str, Score] = field(default_factory=dict)
    outcome_text: str | None = None
    trace_text: bytes | None = None
    turn: Mapping[str, Any] | None = None

    @property
    def trace(self) -> Mapping[str, Any]:
        """The record of `engine.trace_record`, read when it is asked for."""
        return self.read_trace()

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls of tools in the trace, in order: `step`, `name`, `arguments`, `result` and `failure`.

        Raises ValueError where there is no trace, since the calls are then not known.
        """
        trace = self.trace
        if not trace:
            raise ValueError("the answer's trace is not there, so the calls of tools are not known")
        return list(tool_calls_of(trace))

    @property
    def warned(self) -> list[str]:
        """The warnings that occurred in some step, each once."""
        return list(in_table_order(Counter(chain.from_iterable((self.warnings or {}).values()))))

    @property
    def bound(self) -> BoundRow:
        """The row as the suite binds it; a cell that was read from the store alone has none."""
        assert self.source is not None, "only cells of a running evaluation are bound"
        return self.source

    def take(self, other: Cell) -> None:
        """Take the answer of a saved cell that has the same key."""
        self.take_outcome({name: getattr(other, name) for name in (*_OUTCOME, "defect")}, other.number)
        self.read_trace, self.is_timed = other.read_trace, other.is_timed

    def take_outcome(self, outcome: Mapping[str, Any], number: int) -> None:
        """Take the outcome that the store keeps under a number."""
        for name, value in outcome.items():
            setattr(self, name, value)
        self.number, self.is_kept = number, True

    def fail(self, problem: str, defect: str = "") -> None:
        """Mark the cell as missing, with nothing of an answer."""
        self.output, self.flag, self.problem, self.defect, self.steps = None, "error", problem, defect, {}
        self.calls = self.cached = self.tokens_in = self.tokens_out = 0
        self.seconds, self.warnings, self.warned_by, self.simulated_user, self.read_trace = 0.0, {}, {}, {}, dict
        self.trace_text = self.outcome_text = None

    def encode(self) -> None:
        """Write the outcome and the trace as the store keeps them. Raises ValueError where JSON cannot hold them."""
        record = {name: value for name in _OUTCOME if (value := getattr(self, name)) is not None or name == "output"}
        for name in _OPTIONAL:
            if not record[name]:
                del record[name]
        self.outcome_text = compact({**record, "defect": self.defect} if self.defect else record)
        trace = self.trace
        self.trace_text = trace_bytes(trace) if trace else None


class RunView(Protocol):
    """A run in the store, as reports read it.

    `variants` are in the suite's order, the first is the baseline;
    `metrics` in the suite's order, the first is the primary one; `settings` maps a variant to its settings
    (`{"mood.layout": "prefix"}`).
    """

    @property
    def number(self) -> int: ...

    @property
    def suite(self) -> str: ...

    @property
    def status(self) -> str: ...

    @property
    def started(self) -> float: ...

    @property
    def variants(self) -> tuple[str, ...]: ...

    @property
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def settings(self) -> Mapping[str, Mapping[str, Any]]: ...

    def cells(self, variant: str | None = None) -> Iterator[Cell]:
        """Yield the cells in the order of rows, then variants, then repeats; of one variant where it is named."""
        ...

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        """Return a cell's trace record, None where it has none."""
        ...


def compared_values(cell: Cell, metric: str) -> tuple[Any, Any]:
    """Return the expected value and the value of a cell that a metric compared.

    Where the metric kept neither, these are the suite's expected answer and the output.
    """
    detail = cell.scores[metric].detail if metric in cell.scores else {}
    got = next((detail[key] for key in ("predicted", "got") if key in detail), cell.output)
    return detail.get("expected", cell.expect), got


def take_result(cell: Cell, result: Result, *, read: Collection[str], counted: str | None) -> PromptkitError | None:
    """Set a cell's outcome from a run of the target, and return the failure that the run met.

    An answer that does not parse, or was cut off, is a wrong answer; any other failure is a missing one. Only the
    steps that the output reads, `read`, decide: failures of others show in the output. Cost and warnings are those of
    the step `counted`, or of all steps.
    """
    nodes = tuple(result.trace.nodes())
    failure = _failure(result, nodes)
    if wrong := _implausible_counts(nodes):
        cell.fail(wrong)
        return failure
    trace = result.trace
    totals = result.totals if counted is None else result.steps.get(counted, result.totals)
    measured = next((tuple(child.nodes()) for child in trace.children if child.name == counted), nodes)
    cell.flag = _flag(result, read, failure)
    cell.output = result.output
    cell.problem = "" if failure is None else failure.message
    cell.defect = failure.defect if isinstance(failure, UnexpectedError) else ""
    cell.steps = {name: step.value for name, step in result.steps.items()}
    cell.warnings, cell.warned_by = ({}, {}) if cell.flag == "error" else _step_warnings(result, counted)
    cell.calls, cell.cached = totals.calls, totals.cached
    cell.tokens_in, cell.tokens_out = totals.tokens_in, totals.tokens_out
    # As short as it is kept: a cell is the same when it was asked and when it is known.
    cell.seconds = round(sum(call.reply.seconds for node in measured for call in node.calls), 6)
    cell.read_trace = lambda: trace_record(trace)
    return failure


def _step_warnings(result: Result, counted: str | None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the warnings of each step that has some, of the step `counted` alone where that ran, and the techniques
    that gave each.
    """
    alone = counted in result.steps
    steps = {name: step for name, step in result.steps.items() if step.warnings and (name == counted or not alone)}
    warned_by = merged_sources(step.warned_by for step in steps.values())
    return {name: list(step.warnings) for name, step in steps.items()}, warned_by


def _flag(result: Result, read: Collection[str], failure: PromptkitError | None) -> CellFlag:
    if failure is not None:
        # Once a model has answered, an expression that fails does so on its answer.
        if isinstance(failure, UnparsedAnswer) or (isinstance(failure, InputError) and result.totals.calls):
            return "truncated" if result.totals.truncated else "unparsed"
        return "error"
    if any(_is_cut(child) for child in result.trace.children if child.name in read):
        return "truncated"
    steps = (result.steps[name] for name in read if name in result.steps)
    return "unparsed" if any(step.unparsed and step.value is None for step in steps) else ""


def _failure(result: Result, nodes: Sequence[Trace]) -> PromptkitError | None:
    """Return the failure that ended a run, or that of a server which a step's `on_error` let pass: it is not an answer.

    A failure of the request itself (too long, refused) is the target's own doing, and `on_error` holds.
    """
    if result.error is not None:
        return result.error
    passed = (node.failure for node in nodes if isinstance(node.failure, RuntimeFailure))
    return next((failure for failure in passed if not isinstance(failure, REQUEST_FAILURES)), None)


def _implausible_counts(nodes: Sequence[Trace]) -> str:
    """Name the count of a server that cannot be true: a cell with it would change totals and scores."""
    for node in nodes:
        for call in node.calls:
            reply = call.reply
            counts = (
                ("prompt tokens", reply.tokens_in),
                ("reply tokens", reply.tokens_out),
                ("seconds", reply.seconds),
            )
            for name, count in counts:
                if count is not None and not 0 <= count <= MOST_COUNT:
                    return f"the model server's count of {name} cannot be true: {str(count)[:20]}"
    return ""


def _is_cut(step: Trace) -> bool:
    """Tell whether a step's answer, or one below it that stands, was cut off."""
    return any(node.truncated and (node is step or node.value is not None) for node in step.nodes())


def scores_text(cell: Cell) -> str:
    """Return a cell's scores, with the suite's expected answer, as the store keeps them."""
    scores = {name: score_parts(score) for name, score in cell.scores.items()}
    return compact({"expect": plain(cell.expect), "case": cell.case, "scores": scores})


def score_text(score: Score, row: bytes) -> str:
    """Return one score as the store keeps it: `[value, detail, why, row]`, and the files that it read, if any.

    The row is there by the key of what the metric reads of it.


    A metric may see the whole row, and the target may not: one answer of two rows can have two scores.
    """
    return compact([*score_parts(score), row.hex(), *([dict(score.reads)] if score.reads else [])])


def score_parts(score: Score) -> list[Any]:
    """Return a score as a list of plain data."""
    return [score.value, plain(score.detail), score.why]


def cell_record(cell: Cell) -> CellRecord:
    """Return a cell as the store takes it: a new one with its outcome, a kept one by its number."""
    if not cell.is_kept and cell.outcome_text is None:
        cell.encode()
    return CellRecord(
        variant=cell.variant,
        row=cell.row,
        repeat=cell.repeat,
        key=cell.key,
        row_key=cell.bound.key,
        fields=cell.bound.text,
        scores=scores_text(cell),
        outcome=None if cell.is_kept else cell.outcome_text,
        failed=cell.flag == "error",
        trace=cell.trace_text,
        number=cell.number if cell.is_kept else None,
    )


def read_outcome(kept: KeptCell | RunCell) -> OutcomeShape:
    """Return the outcome of a cell that the store kept. Raises DamagedRecord."""
    return read_record(kept.outcome, OutcomeShape, f"cells {kept.number}")


def read_cell(kept: RunCell, fields: Mapping[str, Any] | None = None) -> Cell:
    """Return a cell of a stored run, with its row's `fields` where they are known already. Raises DamagedRecord."""
    expect, case, scores = read_scores(kept)
    if fields is None:
        fields = read_record(kept.fields, dict[str, Any], f"data_rows of row {kept.row} of a run")
    cell = Cell(
        variant=kept.variant,
        row=kept.row,
        repeat=kept.repeat,
        fields=fields,
        expect=expect,
        case=case,
        scores=scores,
    )
    cell.take_outcome(read_outcome(kept), kept.number)
    return cell


def read_scores(kept: RunCell) -> tuple[Any, str, dict[str, Score]]:
    """Return the expected answer, the case and the scores of a cell of a stored run. Raises DamagedRecord."""
    where = f"run_cells {kept.variant} row {kept.row} repeat {kept.repeat}, `scores`"
    record = read_record(kept.scores, ScoresShape, where)
    scores = {name: Score(score.value, dict(score.detail), score.why) for name, score in record["scores"].items()}
    return record["expect"], record.get("case", ""), scores
