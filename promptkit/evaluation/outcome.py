"""What became of one cell: as the store keeps it, and the keys that tell cells apart by all that can be read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptkit.engine import Pipeline, Result, files, trace_record
from promptkit.errors import (
    ContextOverflow,
    InputError,
    PromptkitError,
    RequestRefused,
    RuntimeFailure,
    UnexpectedError,
    UnparsedAnswer,
)
from promptkit.project import LIBRARY
from promptkit.storage import MOST_COUNT, SETTINGS_FILE, OutcomeShape, compact, load_file, read_bytes, read_kept

if TYPE_CHECKING:
    from promptkit.engine import Trace
    from promptkit.evaluation.suite import Variant
    from promptkit.runtimes import Model
    from promptkit.storage import KeptCell, RunCell

CellFlag = Literal["", "unparsed", "truncated", "error"]
KEY_BYTES = 16
# Keys are hashed in the order in which they stand: it is that in which labels and examples are shown.
_VERSION = 1  # of what a cell means: a change here makes all cells new
OF_THE_REQUEST = (RequestRefused, ContextOverflow)
"""Failures that say something of the request, and nothing of the server."""

_UNREAD = ("name", "about", "cases", "tune")
_READ_SETTINGS = ("model", "defaults", "feeds")


@dataclass(frozen=True)
class Outcome:
    """What a cell gave. `error` is missing, for a server or tool failed; `problem` says why there is no answer.

    `seconds` is the model's own time for all its requests; a kept reply counts with what it took when it was made.
    `defect` is the type and place of an exception that nothing foresaw.
    """

    output: Any = None
    flag: CellFlag = ""
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
    return Outcome(**read_kept(kept.outcome, OutcomeShape, f"cells {kept.number}"), read_trace=read_trace)


def outcome_of(result: Result, variant: Variant) -> Outcome:
    """Return what a run of the target gave.

    An answer that does not parse, or was cut off, is an answer, and wrong; any other failure is no answer at all. Of
    the steps those that the output reads are looked at: what became of the others shows in the output.
    """
    if wrong := _wrong_counts(result):
        return Outcome(flag="error", problem=wrong)
    steps = {name: step.value for name, step in result.steps.items()}
    trace = result.trace
    counted = variant.counted
    totals = result.totals if counted is None else result.steps.get(counted, result.totals)
    took = next((each for each in trace.children if each.name == counted), trace)
    failure = failure_of(result)
    flag: CellFlag = ""
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
    return next((each for each in passed if not isinstance(each, OF_THE_REQUEST)), None)


def _wrong_counts(result: Result) -> str:
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
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES)
    for name, content in sorted((_named(path, pipeline), _content(path, pipeline)) for path in files(pipeline)):
        digest.update(name.encode("utf-8", "surrogatepass") + b"\0" + hashlib.blake2b(content).digest())
    return digest.digest()


def variant_key(variant: Variant, models: Mapping[str | None, Model], *, exact: bool) -> bytes:
    """Return what tells a variant's cells from all others: all that the target can read, but for the row.

    These are its files as they were read, what is set, and the models by their digests. `exact` cells were asked one
    at a time.
    """
    told = {
        "version": [_VERSION, version("promptkit")],
        "target": [variant.pipeline.name, *variant.pipeline.steps],
        "files": variant.content.hex(),
        "sets": untimed(variant.sets),
        "counted": variant.counted,
        "models": sorted([str(name), model.reference, model.digest] for name, model in models.items()),
        "exact": exact,
    }
    text = json.dumps(told, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def untimed(settings: Any) -> Any:
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


def _named(path: Path, pipeline: Pipeline) -> str:
    """Return a file's path as it is the same wherever a project lies."""
    for folder in (pipeline.project.root.resolve(), LIBRARY):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def _content(path: Path, pipeline: Pipeline) -> bytes:
    """Return of a file what a cell can depend on, which a pipeline's pinned cases are not."""
    if not os.path.isfile(path):
        return b""
    is_pipeline = path.suffix in (".yaml", ".yml") and path == pipeline.file.resolve()
    if not (is_pipeline or path.name == SETTINGS_FILE):
        return read_bytes(path)
    value = load_file(path).value or {}
    if is_pipeline:
        kept = {key: part for key, part in value.items() if key not in _UNREAD}
        steps = (kept.get("steps") or {}).items()
        kept["steps"] = {name: untimed(step) for name, step in steps if name in pipeline.steps}
    else:
        kept = {key: value[key] for key in _READ_SETTINGS if key in value}
    if (defaults := untimed(kept.pop("defaults", {}))) != {}:
        kept["defaults"] = defaults
    return json.dumps(kept, default=str).encode("utf-8", "surrogatepass")


_told = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def cell_key(variant: bytes, inputs: Mapping[str, Any], sample: str) -> bytes:
    """Return what tells a cell from all others: its variant, what the target takes of its row, and its sample."""
    text = _told([inputs, sample])
    return hashlib.blake2b(variant + text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
