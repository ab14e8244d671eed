"""Requests and traces as trees of text: of a run that just ended, of one in the store, and of a dry run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from promptkit.reports.text import display_text, hint_in_brackets, one_line, seconds_text, tokens_text, visible

if TYPE_CHECKING:
    from promptkit.engine.render import Rendered
    from promptkit.engine.results import Trace
    from promptkit.techniques.context import CallRecord


def trace_text(trace: Trace) -> str:
    """Return the tree of a run, one node a line, every text in it made visible."""
    return "\n".join([_title(trace), *_branches(trace)])


def _branches(trace: Trace) -> Iterator[str]:
    """Yield the lines under a node, calls and children in the order in which they began."""
    parts = [(call.started, _call_title(call), _call_lines(call)) for call in trace.calls]
    parts += [(child.started, _title(child), _branches(child)) for child in trace.children]
    parts.sort(key=lambda part: part[0])
    parts += [(inf, extra_line(name, value), iter(())) for name, value in trace.extra.items()]
    yield from tree([(title, lines) for _, title, lines in parts])


def tree(parts: Sequence[tuple[str, Iterable[str]]]) -> Iterator[str]:
    """Yield the lines of a tree: each title with its lines under it."""
    for number, (title, lines) in enumerate(parts, start=1):
        last = number == len(parts)
        yield f"{'└─ ' if last else '├─ '}{title}"
        yield from (f"{'   ' if last else '│  '}{line}" for line in lines)


def extra_line(name: str, value: Any) -> str:
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
        yield from text_block(message.role, message.content)
    if call.request.prompt is not None:
        yield from text_block("prompt", call.request.prompt)
    if call.request.begun:
        yield from text_block("begun", call.request.begun)
    if call.reply.thoughts:
        yield from text_block("thoughts", call.reply.thoughts)
    yield from text_block("reply", call.reply.text)
    if call.parsed is not None:
        yield from text_block("parsed", display_text(call.parsed))
    if call.problem:
        yield from text_block("problem", call.problem)


def text_block(name: str, text: str) -> Iterator[str]:
    """Yield a named text, its further lines under the first."""
    first, *rest = visible(text).split("\n")
    yield f"{name}: {first}"
    yield from (f"  {line}" for line in rest)


TraceRecord = Mapping[str, Any]


class SentPrompt(NamedTuple):
    """All that one request said; `call` is which it was (`mood/answer`)."""

    call: str
    messages: Sequence[Mapping[str, str]] = ()
    prompt: str | None = None
    begun: str = ""

    @property
    def text(self) -> str:
        """As people read it: each message after its role."""
        return "\n".join(_message_lines(self._asdict()))


def stored_trace_text(record: TraceRecord) -> str:
    """Return the tree of a trace record, one node a line, every text in it made visible."""
    return "\n".join([_stored_title(record), *_stored_branches(record)])


def sent_prompts(record: TraceRecord, path: str = "") -> Iterator[SentPrompt]:
    """Yield what each request of a trace record said, in order."""
    for call in record["calls"]:
        yield SentPrompt(f"{path}{call['call']}", call["messages"], call.get("prompt"), call["begun"])
    for part in record["parts"]:
        yield from sent_prompts(part, f"{path}{part['name']}/")


def _stored_branches(record: TraceRecord) -> Iterator[str]:
    parts = [(_stored_call_title(call), _stored_call_lines(call)) for call in record["calls"]]
    parts += [(_stored_title(part), _stored_branches(part)) for part in record["parts"]]
    parts += [(extra_line(name, value), iter(())) for name, value in record.get("extra", {}).items()]
    yield from tree(parts)


def _stored_title(record: TraceRecord) -> str:
    parts = [visible(record["name"])]
    parts += [record["status"]] if record["status"] != "done" else []
    parts.append(seconds_text(record["seconds"]))
    parts += [f"waited for {seconds_text(record['waited'])}"] if record["waited"] else []
    parts += [one_line(hint_in_brackets(record["problem"]))] if record.get("problem") else []
    return " · ".join(parts)


def _stored_call_title(call: TraceRecord) -> str:
    parts = [f"call {visible(call['call'])}"]
    if "/" in call["sample"]:
        parts.append(f"sample {call['sample']}")
        warm = call["options"]["temperature"]
        parts += [f"temperature {warm:g}"] if warm else []
    parts.append(tokens_text(call["tokens_in"] or 0, call["tokens_out"] or 0))
    parts.append("cached" if call["cached"] else seconds_text(call["seconds"]))
    parts += [mark for mark, holds in (("repair", call["repair"]), ("cut off", call["finish"] == "length")) if holds]
    return " · ".join([*parts, *map(visible, call["notes"])])


def _stored_call_lines(call: TraceRecord) -> Iterator[str]:
    yield from _message_lines(call)
    if call["thoughts"]:
        yield from text_block("thoughts", call["thoughts"])
    yield from text_block("reply", call["reply"])
    if call["parsed"] is not None:
        yield from text_block("parsed", display_text(call["parsed"]))
    if call["problem"]:
        yield from text_block("problem", call["problem"])


def _message_lines(call: TraceRecord) -> Iterator[str]:
    for message in call["messages"]:
        yield from text_block(message["role"], message["content"])
    for name in ("prompt", "begun"):
        if call.get(name):
            yield from text_block(name, call[name])


def rendered_text(steps: Iterable[Rendered], *, template: bool = False) -> str:
    """Return the request of each step: its messages, or with `template` the text they become where that is known."""
    return visible("\n\n".join("\n".join(_request_lines(step, template)) for step in steps))


def _request_lines(rendered: Rendered, template: bool) -> Iterator[str]:
    request = rendered.request
    counted = f" · {rendered.tokens} tokens" if rendered.tokens is not None else ""
    yield f"── {rendered.step}{counted} · at most {request.max_tokens} tokens of answer"
    if template and rendered.text is not None:
        yield rendered.text
    elif request.prompt is not None:
        yield from ("[prompt]", request.prompt)
    else:
        for message in request.messages:
            yield from (f"[{message.role}]", message.content)
        if request.begun:
            yield from ("[assistant, begun]", request.begun)
    if request.grammar is not None:
        yield from ("[grammar]", request.grammar.strip())
    if request.schema is not None:
        yield from ("[schema]", json.dumps(request.schema, indent=2, ensure_ascii=False))
