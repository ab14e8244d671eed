"""The timings that a runtime reports of one request, checked.

They are measurements beside the answer: one that cannot be true is left out, and the answer stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

NANOSECONDS = 10**9
LONGEST = 10**7
"""The longest time that is believed, in seconds: 116 days."""
MOST_TOKENS = 10**9


class Timings(TypedDict, total=False):
    """The fields of a `Reply` that hold the runtime's own timings."""

    tokens_reused: int | None
    prompt_seconds: float | None
    output_seconds: float | None


def llama_timings(timings: Any) -> Timings:
    """Return the `timings` of llama.cpp: `cache_n` prompt tokens reused, `prompt_ms` and `predicted_ms`."""
    if not isinstance(timings, Mapping):
        return {}
    return {
        "tokens_reused": _count(timings.get("cache_n")),
        "prompt_seconds": _seconds(timings.get("prompt_ms"), 1000),
        "output_seconds": _seconds(timings.get("predicted_ms"), 1000),
    }


def ollama_timings(part: Mapping[str, Any]) -> Timings:
    """Return the timings in the last part of Ollama's answer, which does not tell what its prefix cache held."""
    return {
        "prompt_seconds": _seconds(part.get("prompt_eval_duration"), NANOSECONDS),
        "output_seconds": _seconds(part.get("eval_duration"), NANOSECONDS),
    }


def openai_timings(usage: Mapping[str, Any], timings: Any) -> Timings:
    """Return the timings of a server of OpenAI's protocol: llama.cpp's `timings`, else the cached tokens of `usage`."""
    if found := llama_timings(timings):
        return found
    details = usage.get("prompt_tokens_details")
    return {"tokens_reused": _count(details.get("cached_tokens"))} if isinstance(details, Mapping) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _seconds(value: Any, per_second: int) -> float | None:
    """Return a duration in seconds; None for 0 too, which a server reports of what it did not measure."""
    if type(value) not in (int, float) or not 0 < value <= LONGEST * per_second:
        return None
    return float(value / per_second)
