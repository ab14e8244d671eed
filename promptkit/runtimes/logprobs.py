"""Log-probabilities as OpenAI's protocol and Ollama's alike list them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptkit.runtimes.base import Alternative, Token


def read_token(listed: Mapping[str, Any]) -> Token:
    """Return a generated token with its alternatives. Raises KeyError, TypeError or ValueError for what is none."""
    alternatives = tuple(Alternative(_piece(each), each["logprob"]) for each in listed.get("top_logprobs") or ())
    return Token(_piece(listed), listed["logprob"], alternatives)


def _piece(listed: Mapping[str, Any]) -> bytes:
    spelled = listed.get("bytes")
    return bytes(spelled) if spelled is not None else str(listed["token"]).encode()
