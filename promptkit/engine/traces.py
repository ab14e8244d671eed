"""A run's trace as JSON-able data: steps, their items and rounds, and each call with all that was said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from promptkit.engine.results import Trace
from promptkit.runtimes import reply_record, request_record
from promptkit.storage import plain

if TYPE_CHECKING:
    from promptkit.techniques import CallRecord

_SAID = ("messages", "prompt", "begun", "grammar", "schema")


def trace_record(trace: Trace) -> dict[str, Any]:
    """Return a node with its calls, and in `parts` the nodes below it, each in the order in which they began."""
    problem = {} if trace.problem is None else {"problem": trace.problem}
    return {
        "name": trace.name,
        "kind": trace.kind,
        "status": trace.status,
        "seconds": trace.seconds,
        "waited": trace.waited,
        "value": plain(trace.value),
        **problem,
        **({"extra": dict(trace.extra)} if trace.extra else {}),
        "calls": [_call(call) for call in sorted(trace.calls, key=lambda call: call.started)],
        "parts": [trace_record(part) for part in sorted(trace.children, key=lambda part: part.started)],
    }


def stored_calls(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yield the calls of a trace as the store keeps them, in the order they began, each with its `path` in it."""
    found = sorted(_calls(trace, ()), key=lambda pair: pair[0].started)
    return (_stored_call(call, path) for call, path in found)


def _call(call: CallRecord) -> dict[str, Any]:
    """Return a call flat: what was said, how it was asked for, what came back and what was read from it."""
    request, reply = request_record(call.request), call.reply
    said = {name: request.pop(name) for name in _SAID if name in request}
    request.pop("sample", None)
    return {
        "call": call.call,
        "messages": said.pop("messages", []),
        "begun": said.pop("begun", ""),
        **said,
        "options": {"temperature": call.request.temperature, **request},
        "reply": reply.text,
        "thoughts": reply.thoughts,
        "finish": reply.finish,
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
    }


def _calls(trace: Trace, path: tuple[str, ...]) -> Iterator[tuple[CallRecord, tuple[str, ...]]]:
    for call in trace.calls:
        yield call, path
    for child in trace.children:
        yield from _calls(child, (*path, child.name))


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
    }
