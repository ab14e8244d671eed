"""Calls of tools as servers and chat templates write them: definitions, turns, and calls that arrive in pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, Final

from promptkit.errors import BadReply
from promptkit.runtimes.base import FunctionCall, Message, Request, ToolDefinition
from promptkit.storage.strict_json import finite_float, json_bytes, parse_json, refuse_constant

MOST_CALLS: Final = 64
"""Calls of one reply."""
MOST_ARGUMENTS: Final = 2**18
"""Characters of the names and arguments of all calls of a reply."""
MOST_NESTED: Final = 100
"""Levels of arguments and of a tool's parameters: a deeper value cannot be written by every encoder."""
LONGEST_ID: Final = 128


def tool_fields(tools: Sequence[ToolDefinition]) -> list[dict[str, Any]]:
    """Return definitions as Ollama and OpenAI's protocol take them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


def openai_turn(turn: Message) -> dict[str, Any]:
    """Return a turn in OpenAI's protocol, which writes arguments as text."""
    fields: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.calls:
        fields["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _object_text(call)}}
            for call in turn.calls
        ]
    if turn.role == "tool":
        fields["tool_call_id"] = turn.call_id
        fields |= {"name": turn.tool} if turn.tool else {}
    return fields


def ollama_turn(turn: Message) -> dict[str, Any]:
    """Return a turn in Ollama's protocol, which writes arguments as an object."""
    fields: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.calls:
        fields["tool_calls"] = [
            {"id": call.id, "function": {"name": call.name, "arguments": arguments_object(call)}} for call in turn.calls
        ]
    if turn.role == "tool":
        fields |= {"tool_name": turn.tool, "tool_call_id": turn.call_id}
    return fields


def arguments_object(call: FunctionCall) -> dict[str, Any]:
    """Return a call's arguments as an object, which servers and chat templates insist on.

    A text that is not an object stands under `arguments`, so that the model reads what it wrote.
    """
    found = object_in(call.arguments)
    return {"arguments": call.arguments} if found is None else found


def _object_text(call: FunctionCall) -> str:
    found = object_in(call.arguments)
    return _json({"arguments": call.arguments}) if found is None else call.arguments


def object_in(text: str) -> dict[str, Any] | None:
    """Return the object that strict JSON writes; None for anything else, and for one nested too deep."""
    try:
        found = parse_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and not is_too_deep(found) else None


def is_too_deep(value: Any) -> bool:
    """Tell whether JSON data has more than MOST_NESTED levels."""
    level = [value]
    for _ in range(MOST_NESTED):
        inner = [part.values() if isinstance(part, Mapping) else part for part in level]
        level = [part for parts in inner for part in parts if isinstance(part, Mapping | list)]
        if not level:
            return False
    return True


def _json(value: Mapping[str, Any]) -> str:
    return json_bytes(value).decode("utf-8", "surrogatepass")


@dataclass(slots=True)
class _Begun:
    """A call whose pieces arrive."""

    id: str
    name: str
    pieces: list[str] = field(default_factory=list)


class CallReader:
    """Collects the calls of one reply. Methods raise TypeError, ValueError or AttributeError for any other shape, and
    BadReply beyond MOST_CALLS and MOST_ARGUMENTS.

    Some chat templates and models write a call as JSON into the text. A text that consists of calls of offered tools is
    taken for these; a text that begins as one is held back until its end.
    """

    def __init__(self, offered: Collection[str], *, taken: Collection[str] = ()) -> None:
        """`offered` are the names of the tools, `taken` the ids of the calls of earlier turns, in order."""
        self.were_written = False
        """True where the text turned out to be calls."""
        self._offered = offered
        self._taken = taken
        self._begun: list[_Begun] = []
        self._by_index: dict[int, _Begun] = {}
        self._characters = 0
        self._held: list[str] = []
        self._begins_as: str | None = None  # its first letter that is not blank

    @classmethod
    def of(cls, request: Request) -> CallReader | None:
        """Return the reader of a request's calls, None where it offers no tools."""
        if not request.tools:
            return None
        taken = [call.id for turn in request.messages for call in turn.calls]
        return cls({tool.name for tool in request.tools}, taken=taken)

    def feed(self, part: Any) -> int:
        """Take a call, or a piece of one; return its characters."""
        function = part.get("function") or {}
        identity, name, arguments = _text(part.get("id")), _text(function.get("name")), function.get("arguments")
        index = part.get("index")
        if index is not None and type(index) is not int:
            raise TypeError(index)
        call: _Begun | None = None
        if isinstance(arguments, dict):
            if is_too_deep(arguments):
                raise ValueError("arguments nested too deep")
            text = _json(arguments)
        else:
            text = _text(arguments)
            call = self._continued(index, identity, name, text)
        if call is None:
            call = _Begun(identity, name)
            self._begun.append(call)
            if len(self._begun) > MOST_CALLS:
                raise BadReply(f"the model called more than {MOST_CALLS} tools in one reply")
        if index is not None:
            self._by_index[index] = call
        call.id, call.name = call.id or identity, call.name or name
        call.pieces += [text] if text else []
        size = len(name) + len(text)
        self._characters += size
        if self._characters > MOST_ARGUMENTS:
            raise BadReply(f"the model called tools with more than {MOST_ARGUMENTS:,} characters in one reply")
        return size

    def _continued(self, index: int | None, identity: str, name: str, text: str) -> _Begun | None:
        """Return the call that a piece continues, None for the beginning of a call.

        Servers disagree: some leave out `index`, or give every call the same one; some repeat id and name in each
        piece.
        """
        if index is None and identity:
            return next((call for call in self._begun if call.id == identity), None)
        if index is None:
            return None if name or not self._begun else self._begun[-1]
        known = self._by_index.get(index)
        if known is None or (identity and known.id and identity != known.id):
            return None
        if name and known.name and name != known.name:
            return None
        is_next = name and text.startswith("{") and known.pieces and known.pieces[-1].rstrip().endswith("}")
        return None if is_next else known

    def shown(self, text: str) -> str:
        """Take a piece of the reply's text and return the part of it that is not a call."""
        if self._begins_as is None:
            self._begins_as = text.lstrip()[:1] or None
        if self._begins_as is not None and self._begins_as not in "{[<`":
            text = "".join([*self._held, text])
            self._held.clear()
            return text
        self._held.append(text)
        return ""

    def end(self) -> str:
        """End the text. Return the part that was held back and is not a call."""
        text = "".join(self._held)
        self._held.clear()
        written = [] if self._begun else _written_calls(text, self._offered)
        for name, arguments in written:
            self.feed({"function": {"name": name, "arguments": arguments}})
        self.were_written = bool(written)
        return "" if written else text

    def forget_text(self) -> None:
        """Forget the text so far, which turned out to be thoughts."""
        self._held.clear()
        self._begins_as = None

    def calls(self) -> list[FunctionCall]:
        """Return the calls. One without an id of its own gets its number in the conversation."""
        found: list[FunctionCall] = []
        used = set(self._taken)
        # Nine letters and digits: templates of Mistral take no other.
        numbered = (f"call{number:05d}" for number in count(len(self._taken) + 1))
        for call in self._begun:
            if not call.name:
                raise ValueError("a call without a name")
            number = next(numbered)
            usable = 0 < len(call.id) <= LONGEST_ID and call.id.isprintable() and call.id not in used
            identity = call.id if usable else next(other for other in chain([number], numbered) if other not in used)
            used.add(identity)
            arguments = "".join(call.pieces)
            found.append(FunctionCall(id=identity, name=call.name, arguments=arguments if arguments.strip() else "{}"))
        return found


_BETWEEN = re.compile(r"(?:[\s,]+|</?[a-z_]{1,30}>|```(?:[a-z_]*(?=\s))?)*")
"""Tags and fences that models put around a call that they write as text."""


def _written_calls(text: str, offered: Collection[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return names and arguments of the calls that a text consists of; none where it holds anything else."""
    decoder = json.JSONDecoder(parse_constant=refuse_constant, parse_float=finite_float)
    found: list[tuple[str, dict[str, Any]]] = []
    at = _end_of_match(text, 0)
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        for call in value if isinstance(value, list) else [value]:
            written = _named(call)
            if written is None or written[0] not in offered:
                return []
            found.append(written)
        at = _end_of_match(text, at)
    return found


def _end_of_match(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _named(call: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the name and arguments of a call as models write it, None for anything else."""
    if isinstance(call, dict) and isinstance(call.get("function"), dict):
        call = call["function"]
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = object_in(arguments)
    if not isinstance(arguments, dict) or is_too_deep(arguments):
        return None
    return call["name"], arguments


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(value)
    return value
