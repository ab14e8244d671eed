"""The switch of thoughts on a server of OpenAI's protocol, which every kind of server words in its own way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from promptkit.errors import PromptkitError
from promptkit.runtimes.base import Capability, Message, Reply, Request
from promptkit.runtimes.thoughts import THINK_CLOSE, THINK_OPEN

Switch: TypeAlias = Literal["template", "effort", "type"]
"""`template`: arguments of the chat template (vLLM, SGLang, llama-server); `effort`: OpenAI's `reasoning_effort`, whose
`none` means off (also Ollama, OpenRouter, LM Studio); `type`: DeepSeek's and GLM's `thinking`."""

SWITCHES: Final[tuple[Switch, ...]] = ("template", "effort", "type")
PROBE_THOUGHTS: Final = 512
"""Tokens for the thoughts before a probe's answer, on a model that always thinks."""

_PROBE: Final = Request(messages=(Message("user", "Say hello."),), max_tokens=16)
_LONG_PROBE: Final = replace(_PROBE, max_tokens=PROBE_THOUGHTS)


def switch_fields(switch: Switch | None, think: bool | str | None) -> Mapping[str, Any]:
    """Return the fields of a request's body that set its thoughts. An effort is always OpenAI's field."""
    if think is None:
        return {}
    effort = {"reasoning_effort": think} if isinstance(think, str) else {}
    if switch == "template":
        # `thinking` is the name in the templates of DeepSeek and Granite.
        arguments = {"enable_thinking": bool(think), "thinking": bool(think)}
        return {"chat_template_kwargs": arguments | effort} | effort
    if switch == "effort":
        return effort or {"reasoning_effort": "medium" if think else "none"}
    if switch == "type":
        return {"thinking": {"type": "enabled" if think else "disabled"}} | effort
    return effort


Ask: TypeAlias = Callable[[Request, Switch | None], Awaitable[Reply]]
"""Asks by a switch. Thoughts in marks stay in the text of the reply."""


async def find_switch(ask: Ask, switch: Switch | None = None) -> tuple[frozenset[Capability], Switch | None]:
    """Return the capabilities that a model's thoughts give it, and the switch of its server.

    A model thinks if a reply has thoughts although nothing was said of them; a switch works if it changes that.
    `switch` is the one that the server is known to have.
    """
    thinks = await _has_thoughts(ask, None, None)
    if switch is not None:
        return frozenset({"think", "thinks"} if thinks else {"think"}), switch
    if not thinks:
        works = await _has_thoughts(ask, True, "template")
        return (frozenset({"think"}), "template") if works else (frozenset(), None)
    for tried in SWITCHES:
        if await _has_thoughts(ask, False, tried) is False:
            return frozenset({"think", "thinks"}), tried
    return frozenset({"thinks"}), None


async def _has_thoughts(ask: Ask, think: bool | None, switch: Switch | None) -> bool | None:
    """Tell whether a short reply has thoughts; None where the server refuses the request."""
    for probe in (_PROBE, _LONG_PROBE):
        try:
            reply = await ask(replace(probe, think=think), switch)
        except (PromptkitError, TimeoutError):
            return None
        if reply.thoughts or reply.tokens_thought or shows_marks(reply.text):
            return True
        if reply.finish == "stop":
            return False
        # Where the chat template begins the thoughts, only the mark at their end shows them.
    return False


def shows_marks(text: str) -> bool:
    """Tell whether a text holds the marks of thoughts."""
    return THINK_CLOSE in text or text.lstrip().startswith(THINK_OPEN)
