"""Shapes of one thing in events of OpenAI's protocol, which servers write in several ways.

Functions raise TypeError, ValueError, LookupError or AttributeError for a shape of another kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any


def error_in(event: Any) -> Any:
    """Return the error in an event, or None. Older versions of vLLM send it without a key of its own."""
    return event if event.get("object") == "error" else event.get("error")


def split_content(content: Any) -> tuple[Any, Any]:
    """Return the text and the thoughts of a message's content, which Mistral writes as a list of parts."""
    if type(content) is not list:
        return content, None
    found = {"text": "", "thinking": ""}
    for part in content:
        inner = part[part["type"]]
        found[part["type"]] += inner if type(inner) is str else split_content(inner)[0]
    return found["text"], found["thinking"]


def called_functions(delta: Mapping[str, Any]) -> list[Any]:
    """Return the calls in a delta, or pieces of these. Older servers send one call in a field of its own."""
    older = delta.get("function_call")
    return [*(delta.get("tool_calls") or ()), *([{"function": older}] if older else ())]


def listed_tokens(logprobs: Mapping[str, Any]) -> Any:
    """Return the tokens of a piece as chats list them. vLLM lists those of a raw text in OpenAI's older form."""
    if logprobs.get("tokens") is None:
        return logprobs.get("content")
    columns = (logprobs["tokens"], logprobs["token_logprobs"], logprobs.get("top_logprobs") or [])
    return [
        {
            "token": token,
            "logprob": logprob,
            "top_logprobs": [{"token": other, "logprob": number} for other, number in (others or {}).items()],
        }
        for token, logprob, others in zip_longest(*columns)
    ]
