"""A cell (a row under a variant, once), its outcome, and the keys under which the store keeps cells."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from promptkit.engine.dependencies import files_of
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.results import Result, trace_record
from promptkit.errors import (
    ContextOverflow,
    InputError,
    PromptkitError,
    RequestRefused,
    RuntimeFailure,
    UnexpectedError,
    UnparsedAnswer,
)
from promptkit.evaluation.metrics.base import Score
from promptkit.project import LIBRARY
from promptkit.storage.files import SETTINGS_FILE, read_bytes
from promptkit.storage.records import read_record
from promptkit.storage.shapes import MOST_COUNT, OutcomeShape
from promptkit.storage.strict_json import compact
from promptkit.storage.yaml import load_file

if TYPE_CHECKING:
    from promptkit.engine.results import Trace
    from promptkit.evaluation.suite.suite import Variant
    from promptkit.runtimes.base import Model
    from promptkit.storage.cells import KeptCell, RunCell

CellFlag = Literal["", "unparsed", "truncated", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a run. `row` counts from 1, `repeat` from 0; `error` is missing, and `problem` says why.

    `cell` is what `RunView.trace` takes. `expect` is what the suite expects of the row, None where it says nothing.
    `defect` is the type and place of an exception that nothing foresaw.
    """

    variant: str
    row: int
    repeat: int
    fields: Mapping[str, Any]
    output: Any
    expect: Any
    flag: CellFlag = ""
    problem: str = ""
    defect: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    cell: int = 0


def compared_values(cell: Cell, metric: str) -> tuple[Any, Any]:
    """Return what was expected of a cell and what it gave, as a metric compared them.

    Where it compared the output with what the suite expects of the row, these are the two.
    """
    detail = cell.scores[metric].detail if metric in cell.scores else {}
    got = next((detail[key] for key in ("predicted", "got") if key in detail), cell.output)
    return detail.get("expected", cell.expect), got


class RunView(Protocol):
    """A run in the store.

    `variants` are in the suite's order, the first is the baseline;
    `metrics` in the suite's order, the first is the aim; `settings` maps a variant to what it sets (`{"mood.layout":
    "prefix"}`).
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


OutcomeFlag = Literal["", "unparsed", "truncated", "error"]
CELL_KEY_BYTES = 16
# Keys are hashed in the order in which they stand: it is that in which labels and examples are shown.
_CELL_VERSION = 1  # of what a cell means: a change here makes all cells new
REQUEST_FAILURES = (RequestRefused, ContextOverflow)
"""Failures that say something of the request, and nothing of the server."""

_IGNORED_PIPELINE_KEYS = ("name", "about", "cases", "tune")
_HASHED_SETTINGS = ("model", "defaults", "feeds")


@dataclass(frozen=True)
class Outcome:
    """What a cell gave. `error` is missing, for a server or tool failed; `problem` says why there is no answer.

    `seconds` is the model's own time for all its requests; a kept reply counts with what it took when it was made.
    `defect` is the type and place of an exception that nothing foresaw.
    """

    output: Any = None
    flag: OutcomeFlag = ""
    problem: str = ""
    defect: str = ""
    steps: Mapping[str, Any] | None = None
    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    read_trace: Callable[[], Mapping[str, Any]] = dict

    @cached_property
    def trace(self) -> Mapping[str, Any]:
        """The cell's trace, as `engine.trace_record` gives it."""
        return self.read_trace()

    @cached_property
    def text(self) -> str:
        """The outcome as the store keeps it. Raises ValueError where JSON cannot hold it."""
        record = {
            "output": self.output,
            "flag": self.flag,
            "problem": self.problem,
            "steps": self.steps or {},
            "calls": self.calls,
            "cached": self.cached,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "seconds": self.seconds,
        }
        return compact({**record, "defect": self.defect} if self.defect else record)


def read_outcome(kept: KeptCell | RunCell, read_trace: Callable[[], Mapping[str, Any]]) -> Outcome:
    """Return the outcome of a cell that the store kept. Raises DamagedRecord."""
    return Outcome(**read_record(kept.outcome, OutcomeShape, f"cells {kept.number}"), read_trace=read_trace)


def outcome_of(result: Result, variant: Variant) -> Outcome:
    """Return what a run of the target gave.

    An answer that does not parse, or was cut off, is an answer, and wrong; any other failure is no answer at all. Of
    the steps those that the output reads are looked at: what became of the others shows in the output.
    """
    if wrong := _implausible_counts(result):
        return Outcome(flag="error", problem=wrong)
    steps = {name: step.value for name, step in result.steps.items()}
    trace = result.trace
    counted = variant.counted
    totals = result.totals if counted is None else result.steps.get(counted, result.totals)
    took = next((each for each in trace.children if each.name == counted), trace)
    failure = failure_of(result)
    flag: OutcomeFlag = ""
    if failure is not None:
        flag = "error"
        # Once a model has answered, an expression that fails does so on what it said.
        if isinstance(failure, UnparsedAnswer) or (isinstance(failure, InputError) and result.totals.calls):
            flag = "truncated" if result.totals.truncated else "unparsed"
    else:
        read = [result.steps[name] for name in variant.pipeline.output.names if name in result.steps]
        if any(_is_cut(each) for each in trace.children if each.name in variant.pipeline.output.names):
            flag = "truncated"
        elif any(step.unparsed and step.value is None for step in read):
            flag = "unparsed"
    return Outcome(
        output=result.output,
        flag=flag,
        problem="" if failure is None else failure.message,
        defect=failure.defect if isinstance(failure, UnexpectedError) else "",
        steps=steps,
        calls=totals.calls,
        cached=totals.cached,
        tokens_in=totals.tokens_in,
        tokens_out=totals.tokens_out,
        # As short as it is kept: a cell is the same when it was asked and when it is known.
        seconds=round(sum(_seconds(node) for node in took.nodes()), 6),
        read_trace=lambda: trace_record(trace),
    )


def failure_of(result: Result) -> PromptkitError | None:
    """Return what ended a run; else the failure of a server that a step's `on_error` let pass, for it is no answer.

    What a server says of the request itself (too long, refused) is the target's own doing, and `on_error` holds.
    """
    if result.error is not None:
        return result.error
    passed = (node.failure for node in result.trace.nodes() if isinstance(node.failure, RuntimeFailure))
    return next((each for each in passed if not isinstance(each, REQUEST_FAILURES)), None)


def _implausible_counts(result: Result) -> str:
    """Say which of the counts that a server gave cannot be true: a cell with them would change totals and scores."""
    for call in (call for node in result.trace.nodes() for call in node.calls):
        reply = call.reply
        counts = {"prompt tokens": reply.tokens_in, "reply tokens": reply.tokens_out, "seconds": reply.seconds}
        for what, count in counts.items():
            if count is not None and not 0 <= count <= MOST_COUNT:
                return f"the model server's count of {what} cannot be true: {str(count)[:20]}"
    return ""


def _is_cut(step: Trace) -> bool:
    """Tell whether a step's answer, or one below it that stands, was cut off."""
    return any(node.truncated and (node is step or node.value is not None) for node in step.nodes())


def _seconds(node: Trace) -> float:
    return sum(call.reply.seconds for call in node.calls)


def content_hash(pipeline: Pipeline, *told: object) -> bytes:
    """Return what tells apart all the files that a target reads: prompts with parents, layouts, techniques, tools …

    `told` is plain data that says how it was read.
    """
    text = json.dumps(told, default=str)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=CELL_KEY_BYTES)
    for name, content in sorted(
        (_portable_name(path, pipeline), _hashed_content(path, pipeline)) for path in files_of(pipeline)
    ):
        digest.update(name.encode("utf-8", "surrogatepass") + b"\0" + hashlib.blake2b(content).digest())
    return digest.digest()


def variant_key(variant: Variant, models: Mapping[str | None, Model], *, exact: bool) -> bytes:
    """Return what tells a variant's cells from all others: all that the target can read, but for the row.

    These are its files as they were read, what is set, and the models by their digests. `exact` cells were asked one
    at a time.
    """
    told = {
        "version": [_CELL_VERSION, version("promptkit")],
        "target": [variant.pipeline.name, *variant.pipeline.steps],
        "files": variant.content.hex(),
        "sets": without_timeouts(variant.sets),
        "counted": variant.counted,
        "models": sorted([str(name), model.reference, model.digest] for name, model in models.items()),
        "exact": exact,
    }
    text = json.dumps(told, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=CELL_KEY_BYTES).digest()


def without_timeouts(settings: Any) -> Any:
    """Return settings without the time that a request may take: no answer depends on it.

    They are those of a step, of `defaults`, or changes by their paths (`STEP.options`, `STEP.options.timeout`).
    """
    if not isinstance(settings, Mapping):
        return settings
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        if str(name).rpartition(".")[2] == "options" and isinstance(value, Mapping) and "timeout" in value:
            value = {key: option for key, option in value.items() if key != "timeout"}
            if not value:
                continue
        if not str(name).endswith("options.timeout"):
            kept[name] = value
    return kept


def _portable_name(path: Path, pipeline: Pipeline) -> str:
    """Return a file's path as it is the same wherever a project lies."""
    for folder in (pipeline.project.root.resolve(), LIBRARY):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def _hashed_content(path: Path, pipeline: Pipeline) -> bytes:
    """Return of a file what a cell can depend on, which a pipeline's pinned cases are not."""
    if not os.path.isfile(path):
        return b""
    is_pipeline = path.suffix in (".yaml", ".yml") and path == pipeline.file.resolve()
    if not (is_pipeline or path.name == SETTINGS_FILE):
        return read_bytes(path)
    value = load_file(path).value or {}
    if is_pipeline:
        kept = {key: part for key, part in value.items() if key not in _IGNORED_PIPELINE_KEYS}
        steps = (kept.get("steps") or {}).items()
        kept["steps"] = {name: without_timeouts(step) for name, step in steps if name in pipeline.steps}
    else:
        kept = {key: value[key] for key in _HASHED_SETTINGS if key in value}
    if (defaults := without_timeouts(kept.pop("defaults", {}))) != {}:
        kept["defaults"] = defaults
    return json.dumps(kept, default=str).encode("utf-8", "surrogatepass")


_encode_key = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def cell_key(variant: bytes, inputs: Mapping[str, Any], sample: str) -> bytes:
    """Return what tells a cell from all others: its variant, what the target takes of its row, and its sample."""
    text = _encode_key([inputs, sample])
    return hashlib.blake2b(variant + text.encode("utf-8", "surrogatepass"), digest_size=CELL_KEY_BYTES).digest()
