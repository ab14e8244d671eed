"""Control tokens written out in a text (`<|im_end|>`), which a server's tokenizer would obey.

Nobody may open or close a turn by what a message says. A runtime that tokenizes by itself takes such a text as text.
For one whose tokenizer is out of reach the text is sent with a backslash in it: the usual sign for what is meant
literally. Models know it, and a person sees it; an invisible character would hide in what the model copies.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final

from promptkit.runtimes.base import Request

LONGEST_KEPT: Final = 10_000
"""Characters of a text up to which what it becomes is kept."""

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
    """Return what control tokens begin with, and what finds those that do: one letter in front is looked for fast."""
    names, bracketed = "|".join((*_NAMES, *thoughts)), "|".join((*_BRACKETED, *map(str.upper, thoughts)))
    angled = "|".join((*_SPECIAL, rf"/?(?:{names})>"))
    return ("<", re.compile(f"<(?:{angled})")), ("[", re.compile(rf"\[/?(?:{bracketed})\]"))


_IN_ANSWERS: Final = _forms()
_ELSEWHERE: Final = _forms("think")
"""An assistant's own turn may hold its thoughts, and chat templates look for them there."""

_SENTENCE: Final = re.compile(r"</?s>")
_STRUCK: Final = re.compile(r"<s>(?:(?!</?s>)[\s\S])*</s>|</?s>")
"""The ends of Llama 2's turns; in HTML they are text struck through, which has a beginning and then an end."""


def backslashed(found: re.Match[str], mark: str = "\\") -> str:
    """Return what a pattern found with a backslash after the bracket that opens it, else before it."""
    text = found[0]
    first = len(text) - len(text.lstrip())
    first += text[first] in "<["
    return f"{text[:first]}{mark}{text[first:]}"


def is_control_token(text: str) -> bool:
    """Tell whether a text is one of the control tokens that model families are known for."""
    return any(pattern.fullmatch(text) for _, pattern in _ELSEWHERE) or bool(_SENTENCE.fullmatch(text))


def holds_control_tokens(request: Request) -> bool:
    """Tell whether the messages of a request, or its begun turn, hold what `without_control_tokens` would change."""
    return without_control_tokens(request) is not request


def without_control_tokens(request: Request) -> Request:
    """Return the request with a backslash in each known control token of its messages and its begun turn.

    A raw text stays as it is: its author writes the control tokens. The request itself is returned where it holds none.
    """
    contents = [_escaped(message.content, message.role == "assistant") for message in request.messages]
    begun = request.begun if request.prompt is not None else _escaped(request.begun, True)
    if begun == request.begun and contents == [message.content for message in request.messages]:
        return request
    pairs = zip(request.messages, contents, strict=True)
    return replace(request, messages=tuple(replace(each, content=content) for each, content in pairs), begun=begun)


def _escaped(text: str, is_answer: bool) -> str:
    if not ("<" in text or "[" in text):
        return text
    return _escaped_cached(text, is_answer) if len(text) <= LONGEST_KEPT else _escaped_uncached(text, is_answer)


@lru_cache(maxsize=500)
def _escaped_cached(text: str, is_answer: bool) -> str:
    """Return the text as `_escaped_anew` does: examples are the same in each request."""
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
