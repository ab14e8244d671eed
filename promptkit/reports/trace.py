"""The trace of a run as a tree: each step, item and call with its messages, reply, tokens and time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from promptkit.reports.numbers import seconds_text, tokens_text
from promptkit.reports.text import hint_in_brackets, one_line, shown, visible

if TYPE_CHECKING:
    from promptkit.engine import Trace
    from promptkit.techniques import CallRecord


def trace_text(trace: Trace) -> str:
    """Return the tree of a run, one node a line, every text in it made visible."""
    return "\n".join([_title(trace), *_branches(trace)])


def _branches(trace: Trace) -> Iterator[str]:
    """Yield the lines under a node, calls and children in the order in which they began."""
    parts = [(call.started, _call_title(call), _call_lines(call)) for call in trace.calls]
    parts += [(child.started, _title(child), _branches(child)) for child in trace.children]
    parts.sort(key=lambda part: part[0])
    parts += [(inf, beside(name, value), iter(())) for name, value in trace.extra.items()]
    yield from tree([(title, lines) for _, title, lines in parts])


def tree(parts: Sequence[tuple[str, Iterable[str]]]) -> Iterator[str]:
    """Yield the lines of a tree: each title with its lines under it."""
    for number, (title, lines) in enumerate(parts, start=1):
        last = number == len(parts)
        yield f"{'└─ ' if last else '├─ '}{title}"
        yield from (f"{'   ' if last else '│  '}{line}" for line in lines)


def beside(name: str, value: Any) -> str:
    """Return what a technique says beside its answer, in one line."""
    return visible(f"{name}: {json.dumps(value, ensure_ascii=False)}")


def _title(trace: Trace) -> str:
    parts = [visible(trace.name)]
    if trace.status != "done":
        parts.append(trace.status)
    parts.append(seconds_text(trace.seconds))
    if trace.waited:
        parts.append(f"waited for {seconds_text(trace.waited)}")
    if trace.problem:
        parts.append(one_line(hint_in_brackets(trace.problem)))
    return " · ".join(parts)


def _call_title(call: CallRecord) -> str:
    reply = call.reply
    parts = [f"call {visible(call.call)}"]
    if "/" in call.sample:  # One of several samples.
        parts.append(f"sample {call.sample}")
        parts += [f"temperature {call.request.temperature:g}"] if call.request.temperature else []
    parts.append(tokens_text(reply.tokens_in or 0, reply.tokens_out or 0))
    parts.append("cached" if reply.cached else seconds_text(reply.seconds))
    for mark, holds in (("repair", call.repair), ("cut off", reply.finish == "length")):
        if holds:
            parts.append(mark)
    return " · ".join([*parts, *(visible(text) for text in call.notes)])


def _call_lines(call: CallRecord) -> Iterator[str]:
    """Yield what was sent, what came back and what was read from it."""
    for message in call.request.messages:
        yield from block(message.role, message.content)
    if call.request.prompt is not None:
        yield from block("prompt", call.request.prompt)
    if call.request.begun:
        yield from block("begun", call.request.begun)
    if call.reply.thoughts:
        yield from block("thoughts", call.reply.thoughts)
    yield from block("reply", call.reply.text)
    if call.parsed is not None:
        yield from block("parsed", shown(call.parsed))
    if call.problem:
        yield from block("problem", call.problem)


def block(name: str, text: str) -> Iterator[str]:
    """Yield a named text, its further lines under the first."""
    first, *rest = visible(text).split("\n")
    yield f"{name}: {first}"
    yield from (f"  {line}" for line in rest)
