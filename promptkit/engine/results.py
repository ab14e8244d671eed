"""The result of a run, its trace, and both as JSON-able data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from promptkit.errors import PromptkitError
from promptkit.runtimes.base import Model
from promptkit.runtimes.serialization import call_record, reply_record, request_record
from promptkit.storage.strict_json import plain
from promptkit.techniques.context import CallRecord, ToolCall
from promptkit.techniques.warnings import WarnedBy, in_table_order, merged_sources

Status = Literal["done", "skipped", "failed", "capped"]
SIMULATED_USER: Final = "simulated user"
"""The kind of the record of a trace in which a simulated user wrote its next text."""
TraceKind = Literal["run", "step", "item", "round", "pipeline"]


@dataclass(slots=True, kw_only=True)
class Trace:
    """A node of the trace: the run, a step, an item of `for_each`, a round of `repeat` or a sub-pipeline.

    `started` is in seconds on the event loop's clock, as in the calls. `unparsed` and `truncated` count the node's own
    answers that no repair fixed. `warnings` are those of its techniques, each once, and `warned_by` maps them to the
    techniques that gave them; each call has those of its reply. `failure` is an error that `on_error` tolerated.
    `extra` is what the technique reports beside its answer, such as votes, scores or verdicts. `examples` are the
    numbers, in their list or file, of those that are nearest to the row, if it is shown these. `tool_calls` are those
    of the step or, in a technique with tools, of the model.
    """

    name: str
    kind: TraceKind
    status: Status = "done"
    value: Any = None
    problem: str | None = None
    started: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    unparsed: int = 0
    truncated: int = 0
    warnings: tuple[str, ...] = ()
    warned_by: WarnedBy = field(default_factory=dict)
    failure: PromptkitError | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[int, ...] = ()
    calls: list[CallRecord] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    children: list[Trace] = field(default_factory=list)

    def nodes(self) -> Iterator[Trace]:
        """Yield this node and all below it."""
        yield self
        for child in self.children:
            yield from child.nodes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over calls. `calls` and `cached` count requests, `unparsed` answers that no repair fixed, `truncated`
    answers that stayed cut off; `warnings` counts replies and answers by the name of the warning, and `warned_by` maps
    those of techniques to their techniques.
    """

    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    unparsed: int = 0
    truncated: int = 0
    warnings: Mapping[str, int] = field(default_factory=dict)
    warned_by: WarnedBy = field(default_factory=dict)


_WARNING_FIELDS = ("warnings", "warned_by")
"""Fields of totals that a record has only where there is something in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult(Totals):
    """The result of one step. `value` is None where it was skipped; `waited` is how long other steps waited for it.

    `tool_calls` are records of its calls of tools.
    """

    status: Status
    value: Any = None
    waited: float = 0.0
    problem: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a run. With an `error`, `output` is None and `steps` holds the finished steps.

    `answered` maps each model reference used (None for the run's default) to its model. `run` is the number in the
    store.
    """

    target: str
    output: Any
    steps: Mapping[str, StepResult]
    totals: Totals
    trace: Trace
    answered: Mapping[str | None, Model]
    notices: tuple[str, ...] = ()
    error: PromptkitError | None = None
    run: int | None = None

    def record(self) -> dict[str, Any]:
        """Return the run as JSON-able data, for the store and `--json`: `output`, `steps`, `totals`."""
        return {
            "output": self.output,
            "steps": {name: _step_record(step) for name, step in self.steps.items()},
            "totals": totals_record(self.totals),
        }


def sum_totals(nodes: Iterable[Trace], seconds: float) -> Totals:
    """Return the totals over nodes of a trace."""
    nodes = list(nodes)
    calls = cached = tokens_in = tokens_out = unparsed = truncated = 0
    warnings: Counter[str] = Counter()
    for node in nodes:
        unparsed += node.unparsed
        truncated += node.truncated
        warnings.update(node.warnings)
        for call in node.calls:
            calls += call.requests
            cached += call.requests if call.reply.cached else 0
            tokens_in += call.reply.tokens_in or 0
            tokens_out += call.reply.tokens_out or 0
            warnings.update(call.warnings)
    return Totals(
        calls=calls,
        cached=cached,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=seconds,
        unparsed=unparsed,
        truncated=truncated,
        warnings=in_table_order(warnings),
        warned_by=merged_sources(node.warned_by for node in nodes),
    )


def step_result(trace: Trace) -> StepResult:
    """Return the result of the step at a node of the trace."""
    totals = sum_totals(trace.nodes(), trace.seconds)
    return StepResult(
        status=trace.status,
        value=plain(trace.value),
        waited=trace.waited,
        problem=trace.problem,
        tool_calls=[tool_call_record(call) for node in trace.nodes() for call in node.tool_calls],
        **{name: getattr(totals, name) for name in Totals.__dataclass_fields__},
    )


def totals_record(totals: Totals) -> dict[str, Any]:
    """Return totals as JSON-able data; without warnings there is no such key."""
    record = {name: getattr(totals, name) for name in Totals.__dataclass_fields__}
    for name in _WARNING_FIELDS:
        if not record[name]:
            del record[name]
    return record


def add_totals(totals: Totals, more: Mapping[str, Any]) -> Totals:
    """Return totals with those of a record of `totals_record` added."""
    warnings = Counter(totals.warnings) + Counter(more.get("warnings", {}))
    warned_by = merged_sources((totals.warned_by, more.get("warned_by", {})))
    fields = [name for name in Totals.__dataclass_fields__ if name not in _WARNING_FIELDS]
    counts = {name: getattr(totals, name) + more[name] for name in fields}
    return Totals(**counts, warnings=in_table_order(warnings), warned_by=warned_by)


def _step_record(step: StepResult) -> dict[str, Any]:
    record = {"status": step.status, **totals_record(step), "waited": step.waited, "value": step.value}
    more = {"problem": step.problem, "tool_calls": step.tool_calls}
    return record | {name: value for name, value in more.items() if value}


_PROMPT_FIELDS = ("messages", "prompt", "begun", "grammar", "schema")


def trace_record(trace: Trace) -> dict[str, Any]:
    """Return a node with its calls and, in `parts`, the nodes below it, both in the order in which they started."""
    problem = {} if trace.problem is None else {"problem": trace.problem}
    return {
        "name": trace.name,
        "kind": trace.kind,
        "status": trace.status,
        "seconds": trace.seconds,
        "waited": trace.waited,
        "value": plain(trace.value),
        **problem,
        **({"warnings": list(trace.warnings)} if trace.warnings else {}),
        **({"warned_by": dict(trace.warned_by)} if trace.warned_by else {}),
        **({"extra": dict(trace.extra)} if trace.extra else {}),
        **({"examples": list(trace.examples)} if trace.examples else {}),
        **({"tool_calls": [tool_call_record(call) for call in trace.tool_calls]} if trace.tool_calls else {}),
        "calls": [_call_record(call) for call in sorted(trace.calls, key=lambda call: call.started)],
        "parts": [trace_record(part) for part in sorted(trace.children, key=lambda part: part.started)],
    }


def speed_record(trace: Trace) -> dict[str, float]:
    """Return the seconds until the first token of a run, and its tokens a second, of requests that were sent now."""
    calls = [call for node in trace.nodes() for call in node.calls if not call.reply.cached]
    speeds = [(call.reply.tokens_out or 0, call.reply.tokens_a_second) for call in calls]
    timed = [(count - 1, speed) for count, speed in speeds if speed is not None]
    first = min(calls, key=lambda call: call.started, default=None)
    seconds = sum(tokens / speed for tokens, speed in timed)
    tokens = sum(tokens for tokens, _ in timed)
    return _speeds(None if first is None else first.reply.first_token, tokens / seconds if timed else None)


def calls_of(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the calls in the record of a trace: those of a node, then those of the nodes below it."""
    yield from record.get("calls", ())
    for part in record.get("parts", ()):
        yield from calls_of(part)


def tool_calls_of(record: Mapping[str, Any], step: str = "") -> Iterator[dict[str, Any]]:
    """Yield the tool calls in the record of a trace, in order: `step`, `name`, `arguments`, `result` and `failure`.

    The step of a sub-pipeline is `STEP.STEP`. A call without a failure has null there. The calls of a simulated user
    are left out, since they are not the target's. Times are left out, so that what is made of the calls is the same in
    each run.
    """
    if record.get("kind") == SIMULATED_USER:
        return
    if record.get("kind") == "step":
        step = f"{step}.{record['name']}" if step else record["name"]
    for call in record.get("tool_calls", ()):
        yield {"step": step, **_without_time(call)}
    for part in record.get("parts", ()):
        yield from tool_calls_of(part, step)


def tool_call_records(nodes: Iterable[Trace]) -> list[dict[str, Any]]:
    """Return the tool calls of nodes of a trace as expressions see them: without their times, which differ by run."""
    return [_without_time(tool_call_record(call)) for node in nodes for call in node.tool_calls]


def _without_time(call: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name != "seconds"}


def tool_call_record(call: ToolCall) -> dict[str, Any]:
    """Return a call as JSON-able data; `refused`, the model's `id` and the `level` only where there are such."""
    more = {"refused": call.refused, "id": call.id, "level": call.level}
    return {
        "name": call.name,
        "arguments": plain(call.arguments),
        "result": plain(call.result),
        "failure": call.failure,
        **{name: value for name, value in more.items() if value},
        "seconds": call.seconds,
    }


def stored_calls(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yield the calls of a trace as the store keeps them, in the order in which they started, with their `path`."""
    found = sorted(_calls_with_path(trace, ()), key=lambda pair: pair[0].started)
    return (_stored_call(call, path) for call, path in found)


def _call_record(call: CallRecord) -> dict[str, Any]:
    """Return a call as one flat record: prompt, options, reply, and the value parsed from it."""
    request, reply = request_record(call.request), call.reply
    prompt = {name: request.pop(name) for name in _PROMPT_FIELDS if name in request}
    request.pop("sample", None)
    return {
        "call": call.call,
        "messages": prompt.pop("messages", []),
        "begun": prompt.pop("begun", ""),
        **prompt,
        "options": {"temperature": call.request.temperature, **request},
        "reply": reply.text,
        **({"function_calls": [call_record(made) for made in reply.calls]} if reply.calls else {}),
        "thoughts": reply.thoughts,
        "finish": reply.finish,
        **({"context": reply.context} if reply.context else {}),
        "parsed": plain(call.parsed),
        "problem": call.problem,
        "requests": call.requests,
        "tokens_in": reply.tokens_in,
        "tokens_out": reply.tokens_out,
        "seconds": reply.seconds,
        "cached": reply.cached,
        "sample": call.sample,
        "level": call.level,
        "deciding": call.deciding,
        "repair": call.repair,
        "notes": list(call.notes),
        **_reading_record(call),
        **_speeds(reply.first_token, reply.tokens_a_second),
    }


def _speeds(first_token: float | None, tokens_a_second: float | None) -> dict[str, float]:
    """Return the seconds until the first token, and the tokens a second after it, where they are known."""
    speeds = {"first_token": first_token, "tokens_a_second": tokens_a_second}
    return {name: round(speed, 4) for name, speed in speeds.items() if speed is not None}


def _reading_record(call: CallRecord) -> dict[str, Any]:
    """Return the other model that answered, the name of the adapter's file, the rule by which the reply was read, and
    its warnings, where there are.
    """
    adapter = call.request.adapter.path.name if call.request.adapter is not None else ""
    found = {"model": call.model, "adapter": adapter, "rule": call.rule, "warnings": list(call.warnings)}
    return {name: value for name, value in found.items() if value}


def _calls_with_path(trace: Trace, path: tuple[str, ...]) -> Iterator[tuple[CallRecord, tuple[str, ...]]]:
    for call in trace.calls:
        yield call, path
    for child in trace.children:
        yield from _calls_with_path(child, (*path, child.name))


def _stored_call(call: CallRecord, path: tuple[str, ...]) -> dict[str, Any]:
    return {
        "path": list(path),
        "call": call.call,
        "request": request_record(call.request),
        "reply": reply_record(call.reply),
        "cached": call.reply.cached,
        "sample": call.sample,
        "deciding": call.deciding,
        "repair": call.repair,
        "parsed": plain(call.parsed),
        "problem": call.problem,
        "notes": list(call.notes),
        **_reading_record(call),
    }
