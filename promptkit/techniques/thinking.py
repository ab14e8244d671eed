"""A step's `think:`: the thoughts of a model that thinks before it answers, and the tokens that they may take.

This is the one place that decides on thoughts. Runtimes translate the two fields of a request, `think` and
`thought_tokens`, into their servers' words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from promptkit.runtimes.base import Capability, Reply, Request

Think: TypeAlias = bool | str | int | None
"""A step's setting: None for `auto`, True for `on`, False for `off`, an effort, or a budget in tokens."""

THOUGHT_BUDGET: Final = 8192
"""Tokens for thoughts where a step names none. Today's reasoning models take 500 to 4,000 for school mathematics."""

EFFORT_BUDGETS: Final[Mapping[str, int]] = {
    "minimal": 2048,
    "low": 4096,
    "medium": THOUGHT_BUDGET,
    "high": 16384,
    "xhigh": 32768,
    "max": 32768,
}
"""The efforts that servers know, with the tokens that thoughts of that effort may take."""

WORDS: Final[Mapping[str, Think]] = {"auto": None, "off": False, "on": True}
LARGEST_BUDGET: Final = 2**20


@dataclass(frozen=True, slots=True)
class Thoughts:
    """The fields of a request that are about thoughts. Without tokens for them there are none."""

    think: bool | str | None = None
    tokens: int = 0

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of `Request`."""
        return {"think": self.think, "thought_tokens": self.tokens}


def read_think(value: Any) -> Think:
    """Return the setting that a file writes. Raises ValueError for anything else."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and 0 < value <= LARGEST_BUDGET:
        return value
    if isinstance(value, str) and value in WORDS:
        return WORDS[value]
    if isinstance(value, str) and value in EFFORT_BUDGETS:
        return value
    known = ", ".join(f"`{word}`" for word in (*WORDS, *EFFORT_BUDGETS))
    raise ValueError(f"must be one of {known}, or a number of tokens from 1 to {LARGEST_BUDGET}")


def budget_of(think: Think) -> int:
    """Return the tokens that thoughts may take under a setting that allows them."""
    if isinstance(think, bool) or think is None:
        return THOUGHT_BUDGET
    return think if isinstance(think, int) else EFFORT_BUDGETS[think]


def thoughts_of(think: Think, capabilities: Collection[Capability]) -> Thoughts:
    """Return the thoughts of a request under a step's setting.

    `auto` leaves it to the model: one that thinks by itself thinks, and has the budget for it.
    """
    if think is False:
        return no_thoughts(capabilities)
    if think is None and "thinks" not in capabilities:
        return Thoughts()
    effort = think if isinstance(think, str) else True
    switched = think is not None or "think" in capabilities
    return Thoughts(effort if switched else None, budget_of(think))


def no_thoughts(capabilities: Collection[Capability]) -> Thoughts:
    """Return the thoughts of a request that is better answered without any.

    A model that thinks and cannot be switched thinks all the same, and needs the budget.
    """
    if "think" in capabilities:
        return Thoughts(False)
    return Thoughts(None, THOUGHT_BUDGET) if "thinks" in capabilities else Thoughts()


def with_more_tokens(request: Request, reply: Reply) -> Request:
    """Return a request whose reply was cut off with twice the tokens for the part that was cut.

    A model whose thoughts nothing had announced gets the budget for them.
    """
    if has_only_thoughts(reply):
        return replace(request, thought_tokens=2 * request.thought_tokens or THOUGHT_BUDGET)
    return replace(request, max_tokens=2 * request.max_tokens)


def unmet_setting(think: Think, capabilities: Collection[Capability]) -> str | None:
    """Return the part of an explicit setting that a model cannot do, for a message; None for `auto` or where it can."""
    if think is None or "think" in capabilities:
        return None
    if think is False:
        return "`think: off` asks: it always thinks" if "thinks" in capabilities else None
    return None if "thinks" in capabilities else "`think` asks: it does not think"


def has_only_thoughts(reply: Reply) -> bool:
    """Tell whether a reply never came to an answer."""
    return bool(reply.thoughts) and not reply.text.strip()


def window_ended_thoughts(request: Request, reply: Reply) -> bool:
    """Tell whether thoughts were cut before they had their tokens, since the context window was full."""
    is_cut = reply.finish == "length" and has_only_thoughts(reply)
    return is_cut and reply.tokens_out is not None and reply.tokens_out < request.most_tokens


def missing_answer(request: Request, reply: Reply) -> str:
    """Return the reason why thoughts have no answer after them; empty for a reply that has one."""
    if not has_only_thoughts(reply):
        return ""
    if reply.finish != "length":
        return "the thoughts never ended: there is no answer"
    if window_ended_thoughts(request, reply):
        return f"the window ended the thoughts after {reply.tokens_out} tokens: the option `context` asks for more"
    budget = request.thought_tokens or request.max_tokens
    return f"the thoughts took all of their {budget} tokens: `think: TOKENS` gives more"


def thought_warnings(request: Request, reply: Reply, *, cue: str | None) -> tuple[str, ...]:
    """Return the warnings of a model's own thoughts, and of those that a call asked for.

    `cue` is the text before the answer of such a call, None for other calls. Where a reply was cut before its cue, the
    thoughts were cut.
    """
    if has_only_thoughts(reply):
        return ("thoughts_cut",)
    if request.thought_tokens and reply.tokens_thought >= request.thought_tokens:
        return ("thoughts_spent",)
    if cue is not None and reply.finish == "length" and not (cue and cue.casefold() in reply.text.casefold()):
        return ("thoughts_cut",)
    return ()
