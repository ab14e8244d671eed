"""A trace as the store keeps it, in the same tree as that of a run that just ended; and the prompts in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from promptkit.reports.numbers import seconds_text, tokens_text
from promptkit.reports.text import hint_in_brackets, one_line, shown, visible
from promptkit.reports.trace import beside, block, tree

Record = Mapping[str, Any]


class Prompt(NamedTuple):
    """All that one request said; `call` is which it was (`mood/answer`)."""

    call: str
    messages: Sequence[Mapping[str, str]] = ()
    prompt: str | None = None
    begun: str = ""

    @property
    def text(self) -> str:
        """As people read it: each message after its role."""
        return "\n".join(_said(self._asdict()))


def kept_trace_text(record: Record) -> str:
    """Return the tree of a trace record, one node a line, every text in it made visible."""
    return "\n".join([_title(record), *_branches(record)])


def prompts(record: Record, path: str = "") -> Iterator[Prompt]:
    """Yield what each request of a trace record said, in order."""
    for call in record["calls"]:
        yield Prompt(f"{path}{call['call']}", call["messages"], call.get("prompt"), call["begun"])
    for part in record["parts"]:
        yield from prompts(part, f"{path}{part['name']}/")


def _branches(record: Record) -> Iterator[str]:
    parts = [(_call_title(call), _call_lines(call)) for call in record["calls"]]
    parts += [(_title(part), _branches(part)) for part in record["parts"]]
    parts += [(beside(name, value), iter(())) for name, value in record.get("extra", {}).items()]
    yield from tree(parts)


def _title(record: Record) -> str:
    parts = [visible(record["name"])]
    parts += [record["status"]] if record["status"] != "done" else []
    parts.append(seconds_text(record["seconds"]))
    parts += [f"waited for {seconds_text(record['waited'])}"] if record["waited"] else []
    parts += [one_line(hint_in_brackets(record["problem"]))] if record.get("problem") else []
    return " · ".join(parts)


def _call_title(call: Record) -> str:
    parts = [f"call {visible(call['call'])}"]
    if "/" in call["sample"]:
        parts.append(f"sample {call['sample']}")
        warm = call["options"]["temperature"]
        parts += [f"temperature {warm:g}"] if warm else []
    parts.append(tokens_text(call["tokens_in"] or 0, call["tokens_out"] or 0))
    parts.append("cached" if call["cached"] else seconds_text(call["seconds"]))
    parts += [mark for mark, holds in (("repair", call["repair"]), ("cut off", call["finish"] == "length")) if holds]
    return " · ".join([*parts, *map(visible, call["notes"])])


def _call_lines(call: Record) -> Iterator[str]:
    yield from _said(call)
    if call["thoughts"]:
        yield from block("thoughts", call["thoughts"])
    yield from block("reply", call["reply"])
    if call["parsed"] is not None:
        yield from block("parsed", shown(call["parsed"]))
    if call["problem"]:
        yield from block("problem", call["problem"])


def _said(call: Record) -> Iterator[str]:
    for message in call["messages"]:
        yield from block(message["role"], message["content"])
    for name in ("prompt", "begun"):
        if call.get(name):
            yield from block(name, call[name])
