"""Own thoughts: requests that go on with, or end, the thoughts of a model that thinks by itself.

No chat interface takes begun thoughts. So the messages are rendered by the model's own chat template and sent as one
raw text, in which the thoughts are open.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from promptkit.errors import Unsupported
from promptkit.runtimes.base import Request
from promptkit.runtimes.control_tokens import without_control_tokens
from promptkit.runtimes.thoughts import THINK_CLOSE, THINK_OPEN
from promptkit.techniques.context import Exchange, StepContext
from promptkit.techniques.exchanges import ask_built, send_deciding
from promptkit.techniques.requests import BuiltCall

_CLOSED: Final = re.compile(rf"{THINK_OPEN}\s*{THINK_CLOSE}\s*\Z")
_OTHER_MARKS: Final = re.compile(r"\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|start\|>|<\|channel>")
"""Marks in the chat templates of Magistral, Kimi, Command A, gpt-oss and Gemma, whose thoughts begin otherwise."""


async def think(step: StepContext, built: BuiltCall, thoughts: str, max_tokens: int) -> Exchange:
    """Let the model think, from begun thoughts on, up to their end or `max_tokens`.

    The text of the exchange is all of the thoughts, the begun ones included. Its request has the messages, from which
    `conclude` goes on. Raises Unsupported for a model whose thoughts have other marks than `<think>`.
    """
    request = await _opened(step, built.request, thoughts)
    request = replace(request, begun="", stop=(THINK_CLOSE,), max_tokens=max_tokens)
    exchange = await ask_built(step, replace(built, request=request, ends=(), again=()))
    text = f"{thoughts}{exchange.text.removeprefix(THINK_OPEN)}"
    return replace(exchange.with_text(text), request=built.request)


async def conclude(step: StepContext, built: BuiltCall, thoughts: str) -> Exchange:
    """End the model's thoughts and ask for its answer after them, as the step's `decide` says."""
    request = await _opened(step, built.request, f"{thoughts.rstrip()}\n{THINK_CLOSE}\n\n")
    request = replace(request, temperature=0.0, top_p=None)
    exchange = await send_deciding(step, replace(built, request=request), after_thoughts=True)
    return replace(exchange, request=built.request)


async def _opened(step: StepContext, request: Request, thoughts: str) -> Request:
    """Return a request as raw text in which the model's thoughts are open and begin with a text."""
    text = await step.client.template(without_control_tokens(request).messages)
    if text is None or (_OTHER_MARKS.search(text) and THINK_OPEN not in text):
        reference = (await step.client.model()).reference
        raise Unsupported(f"the thoughts of {reference} cannot be continued: they do not begin with `{THINK_OPEN}`")
    head = _CLOSED.sub("", text)
    opened = head if head.rstrip().endswith(THINK_OPEN) else f"{head}{THINK_OPEN}\n"
    return replace(request, messages=(), prompt=opened + thoughts, think=None, thought_tokens=0)
