"""Requests and traces as trees of text: of a run that just ended, of one in the store, and of a dry run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from promptkit.engine.results import Trace, trace_record
from promptkit.reports.text import (
    display_text,
    hint_in_brackets,
    one_line,
    seconds_text,
    speed_texts,
    tokens_text,
    visible,
)
from promptkit.techniques.warnings import warning_text

if TYPE_CHECKING:
    from promptkit.engine.render import Rendered

TraceRecord = Mapping[str, Any]
"""A trace as the store keeps it."""


def trace_text(trace: Trace) -> str:
    """Return the tree of a run that just ended, one node a line, its control characters visible."""
    return stored_trace_text(trace_record(trace))


def stored_trace_text(record: TraceRecord) -> str:
    """Return the tree of a stored trace, one node a line, its control characters visible."""
    return "\n".join([_title(record), *_branches(record)])


def _branches(record: TraceRecord) -> Iterator[str]:
    """Yield the lines under a node: its calls, the nodes below it, and what its technique adds."""
    parts = [(_call_title(call), _call_lines(call)) for call in record["calls"]]
    parts += [(tool_call_line(call), iter(())) for call in record.get("tool_calls", ())]
    parts += [(_title(part), _branches(part)) for part in record["parts"]]
    shown = {"examples": record["examples"]} if record.get("examples") else {}
    parts += [(extra_line(name, value), iter(())) for name, value in {**shown, **record.get("extra", {})}.items()]
    yield from tree(parts)


def _title(record: TraceRecord) -> str:
    parts = [visible(record["name"])]
    parts += [record["status"]] if record["status"] != "done" else []
    parts.append(seconds_text(record["seconds"]))
    parts += [f"waited for {seconds_text(record['waited'])}"] if record["waited"] else []
    parts += (warning_text(name, record.get("warned_by")) for name in record.get("warnings", ()))
    parts += [one_line(hint_in_brackets(record["problem"]))] if record.get("problem") else []
    return " · ".join(parts)


def _call_title(call: TraceRecord) -> str:
    parts = [f"call {visible(call['call'])}"]
    parts += [visible(call["model"])] if call.get("model") else []
    if digest := call["options"].get("adapter"):
        parts.append(adapter_text(call.get("adapter", ""), digest))
    if "/" in call["sample"]:  # One of several samples.
        parts.append(f"sample {call['sample']}")
        temperature = call["options"]["temperature"]
        parts += [f"temperature {temperature:g}"] if temperature else []
    parts.append(tokens_text(call["tokens_in"] or 0, call["tokens_out"] or 0))
    parts.append("cached" if call["cached"] else seconds_text(call["seconds"]))
    parts += [] if call["cached"] else speed_texts(call.get("first_token"), call.get("tokens_a_second"))
    parts += [f"window of {call['context']} tokens"] if call.get("context") else []
    parts += [mark for mark, holds in (("repair", call["repair"]), ("cut off", call["finish"] == "length")) if holds]
    parts += map(warning_text, call.get("warnings", ()))
    return " · ".join([*parts, *map(visible, call["notes"])])


def adapter_text(name: str, digest: str) -> str:
    """Return an adapter as a trace shows it: the name of its file and the start of its digest."""
    return " ".join(("adapter", *([visible(name)] if name else []), digest[:8]))


def _call_lines(call: TraceRecord) -> Iterator[str]:
    """Yield the request, the reply, and the answer read from it."""
    yield from _message_lines(call)
    options = call["options"]
    if options.get("tools"):
        names = ", ".join(visible(tool["name"]) for tool in options["tools"])
        yield f"{'must' if options.get('tool_choice') == 'required' else 'may'} call: {names}"
    if call["thoughts"]:
        yield from text_block("thoughts", call["thoughts"])
    yield from turn_lines("reply", call["reply"], call.get("function_calls", ()))
    if call["parsed"] is not None:
        by = f" by {visible(call['rule'])}" if call.get("rule") else ""
        yield from text_block(f"parsed{by}", display_text(call["parsed"]))
    if call["problem"]:
        yield from text_block("problem", call["problem"])


def _message_lines(call: TraceRecord) -> Iterator[str]:
    for message in call["messages"]:
        yield from turn_lines(message["role"], message["content"], message.get("calls", ()))
    for name in ("prompt", "begun"):
        if call.get(name):
            yield from text_block(name, call[name])


def tree(parts: Sequence[tuple[str, Iterable[str]]]) -> Iterator[str]:
    """Yield the lines of a tree: each title with its lines under it."""
    for number, (title, lines) in enumerate(parts, start=1):
        last = number == len(parts)
        yield f"{'└─ ' if last else '├─ '}{title}"
        yield from (f"{'   ' if last else '│  '}{line}" for line in lines)


def tool_call_line(call: Mapping[str, Any]) -> str:
    """Return a tool call in one line: `tool book(date="Friday") → "booked" · 12 ms`."""
    arguments = ", ".join(f"{name}={one_line(_json(value))}" for name, value in call["arguments"].items())
    verb = "refused" if call.get("refused") else "failed"
    result = f"{verb}: {call['failure']}" if call["failure"] is not None else _json(call["result"])
    took = f" · {seconds_text(call['seconds'])}" if "seconds" in call else ""
    return f"tool {visible(call['name'])}({arguments}) → {one_line(result)}{took}"


def turn_lines(name: str, text: str, calls: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a turn or a reply, and the calls in it as the model wrote them: `reply calls book({"date": "Friday"})`."""
    if text or not calls:
        yield from text_block(name, text)
    yield from (f"{name} calls {visible(call['name'])}({one_line(call['arguments'])})" for call in calls)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def extra_line(name: str, value: Any) -> str:
    """Return a technique's values beside its answer, in one line."""
    return visible(f"{name}: {json.dumps(value, ensure_ascii=False)}")


def text_block(name: str, text: str) -> Iterator[str]:
    """Yield a named text, its further lines under the first."""
    first, *rest = visible(text).split("\n")
    yield f"{name}: {first}"
    yield from (f"  {line}" for line in rest)


class SentPrompt(NamedTuple):
    """The text of one request; `call` names the request (`mood/answer`)."""

    call: str
    messages: Sequence[Mapping[str, str]] = ()
    prompt: str | None = None
    begun: str = ""

    @property
    def text(self) -> str:
        """The messages, each after its role."""
        return "\n".join(_message_lines(self._asdict()))


def sent_prompts(record: TraceRecord, path: str = "") -> Iterator[SentPrompt]:
    """Yield the text of each request of a stored trace, in order."""
    for call in record["calls"]:
        yield SentPrompt(f"{path}{call['call']}", call["messages"], call.get("prompt"), call["begun"])
    for part in record["parts"]:
        yield from sent_prompts(part, f"{path}{part['name']}/")


def rendered_text(steps: Iterable[Rendered], *, template: bool = False) -> str:
    """Return the request of each step: its messages, or with `template` the text sent to the model where known."""
    return visible("\n\n".join("\n".join(_request_lines(step, template)) for step in steps))


def _request_lines(rendered: Rendered, template: bool) -> Iterator[str]:
    request = rendered.request
    tokens = f" · {rendered.tokens} tokens" if rendered.tokens is not None else ""
    adapter = f" · {adapter_text(request.adapter.path.name, request.adapter.digest)}" if request.adapter else ""
    reply = f"at most {request.max_tokens} tokens of answer{adapter}"
    yield f"── {rendered.step}{tokens} · {'its head reads the vector' if request.hidden_state else reply}"
    if template and rendered.text is not None:
        yield rendered.text
    elif request.prompt is not None:
        yield from ("[prompt]", request.prompt)
    else:
        for message in request.messages:
            yield from (f"[{message.role}]", message.content)
        for tool in request.tools:
            yield from (f"[tool {tool.name}]", tool.description, json.dumps(tool.parameters, ensure_ascii=False))
        if request.begun:
            yield from ("[assistant, begun]", request.begun)
    if request.grammar is not None:
        yield from ("[grammar]", request.grammar.strip())
    if request.choice:
        yield from ("[choice]", *request.choice)
    if request.regex is not None:
        yield from ("[regex]", request.regex)
    if request.schema is not None:
        yield from ("[schema]", json.dumps(request.schema, indent=2, ensure_ascii=False))
    if request.json_object:
        yield "[a JSON object]"
