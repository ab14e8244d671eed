"""Control tokens written out in a text (`<|im_end|>`), which a server's tokenizer would obey.

No message may open or close a turn by its content. A runtime with a tokenizer of its own sends such a text as letters.
For one without, the text is sent with a backslash in it, the usual sign for a literal. Models know the sign and people
see it, whereas an invisible character would hide in the text that the model copies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, TypeAlias

from promptkit.errors import RequestRefused
from promptkit.runtimes.base import FunctionCall, Message, Request, ToolDefinition
from promptkit.runtimes.function_calls import MOST_NESTED, is_too_deep, object_in
from promptkit.storage.strict_json import json_bytes

LONGEST_KEPT: Final = 10_000
"""The longest text, in characters, whose escaped form is cached."""

_NAMES: Final = (
    "start_of_turn|end_of_turn|bos|eos",  # Gemma
    "tool_call|tool_response",  # Qwen
    r"BOS_TOKEN|EOS_TOKEN|SPECIAL_\d{1,4}|sop|eop|seed:[a-z_]{1,32}",  # Command R, Mistral, GLM, Seed
)
_BRACKETED: Final = (
    "INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT",  # Llama 2, Mistral
    r"gMASK|\|(?:system|user|assistant|tool|endofturn)\|",  # GLM, EXAONE
)
_SPECIAL: Final = (
    r"[|｜][^\s<>|｜]{1,64}[|｜]>",  # ChatML, Llama 3, Phi, Harmony, Command R, DeepSeek
    r"\|(?:turn|channel|think|tool|tool_call|tool_response)>|(?:turn|channel|tool|tool_call|tool_response)\|>",  # Gemma
    "</?SYS>>",  # Llama 2
)


def _forms(*thoughts: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return pairs of a first letter, which is found fast, and the pattern of control tokens that begin with it."""
    names, bracketed = "|".join((*_NAMES, *thoughts)), "|".join((*_BRACKETED, *map(str.upper, thoughts)))
    angled = "|".join((*_SPECIAL, rf"/?(?:{names})>"))
    return ("<", re.compile(f"<(?:{angled})")), ("[", re.compile(rf"\[/?(?:{bracketed})\]"))


_IN_ANSWERS: Final = _forms()
_ELSEWHERE: Final = _forms("think")
"""Control tokens outside of the assistant's own turns, in which chat templates look for thoughts."""

_SENTENCE: Final = re.compile(r"</?s>")
_STRUCK: Final = re.compile(r"<s>(?:(?!</?s>)[\s\S])*</s>|</?s>")
"""Llama 2's ends of turns. A pair of them around text is HTML that is struck through."""


def backslashed(found: re.Match[str], mark: str = "\\") -> str:
    """Return the text that a pattern found, with a backslash after its opening bracket, else before it."""
    text = found[0]
    first = len(text) - len(text.lstrip())
    first += text[first] in "<["
    return f"{text[:first]}{mark}{text[first:]}"


def is_control_token(text: str) -> bool:
    """Tell whether a text is a control token of a known model family."""
    return any(pattern.fullmatch(text) for _, pattern in _ELSEWHERE) or bool(_SENTENCE.fullmatch(text))


TextFilter: TypeAlias = Callable[[str, bool], str]
"""Takes a text, and whether it is the assistant's own answer."""


def holds_control_tokens(request: Request) -> bool:
    """Tell whether the messages of a request, its begun turn or its tools hold a known control token."""
    return without_control_tokens(request) is not request


def without_control_tokens(request: Request) -> Request:
    """Return the request with a backslash in each known control token of its messages, its begun turn and its tools.

    A raw text stays as it is: its author writes the control tokens. Returns the same request where it holds none.
    Raises RequestRefused for a tool whose parameters are nested too deep.
    """
    return with_texts(request, _escaped)


def with_texts(request: Request, change: TextFilter) -> Request:
    """Return the request with each text of its messages, its begun turn and its tools as `change` returns it.

    A raw text, with what is begun of its continuation, stays as it is. Returns the same request where no text changes.
    """
    messages = tuple(_changed_turn(message, change) for message in request.messages)
    tools = tuple(_changed_tool(tool, change) for tool in request.tools)
    begun = request.begun if request.prompt is not None else change(request.begun, True)
    if (messages, begun, tools) == (request.messages, request.begun, request.tools):
        return request
    return replace(request, messages=messages, begun=begun, tools=tools)


def _changed_turn(message: Message, change: TextFilter) -> Message:
    content = change(message.content, message.role == "assistant")
    if not (message.calls or message.tool):
        return message if content == message.content else replace(message, content=content)
    calls = tuple(
        FunctionCall(id=call.id, name=change(call.name, False), arguments=_changed_arguments(call.arguments, change))
        for call in message.calls
    )
    return replace(message, content=content, calls=calls, tool=change(message.tool, False))


def _changed_arguments(text: str, change: TextFilter) -> str:
    """Return a call's arguments, changed within their texts: a backslash alone would end their being JSON."""
    if "\\" not in text and change(text, False) == text:
        return text
    value = object_in(text)
    if value is None:
        return change(text, False)
    changed = _changed_value(value, change)
    return text if changed == value else json_bytes(changed).decode("utf-8", "surrogatepass")


def _changed_tool(tool: ToolDefinition, change: TextFilter) -> ToolDefinition:
    if is_too_deep(tool.parameters):
        raise RequestRefused(f"the parameters of the tool `{tool.name}` are nested more than {MOST_NESTED} levels deep")
    return ToolDefinition(
        name=change(tool.name, False),
        description=change(tool.description, False),
        parameters=_changed_value(tool.parameters, change),
    )


def _changed_value(value: Any, change: TextFilter) -> Any:
    match value:
        case str():
            return change(value, False)
        case Mapping():
            return {change(key, False): _changed_value(part, change) for key, part in value.items()}
        case list():
            return [_changed_value(part, change) for part in value]
    return value


def _escaped(text: str, is_answer: bool) -> str:
    if not ("<" in text or "[" in text):
        return text
    return _escaped_cached(text, is_answer) if len(text) <= LONGEST_KEPT else _escaped_uncached(text, is_answer)


@lru_cache(maxsize=500)
def _escaped_cached(text: str, is_answer: bool) -> str:
    """Return the text as `_escaped_uncached` does. Examples are the same in every request."""
    return _escaped_uncached(text, is_answer)


def _escaped_uncached(text: str, is_answer: bool) -> str:
    escaped = text
    for first, pattern in _IN_ANSWERS if is_answer else _ELSEWHERE:
        if first in text:
            escaped = pattern.sub(backslashed, escaped)
    if "s>" not in text:
        return escaped
    if "INST]" in text or "SYS>" in text:
        return _SENTENCE.sub(backslashed, escaped)
    return _STRUCK.sub(_unpaired, escaped)


def _unpaired(found: re.Match[str]) -> str:
    return backslashed(found) if _SENTENCE.fullmatch(found[0]) else found[0]
