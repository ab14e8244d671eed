"""The decision of a step's head on the prompt that the step would send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Any

from promptkit.answers.decide import Scores
from promptkit.answers.head import Head, decide_by_head
from promptkit.errors import BadReply, ContextOverflow
from promptkit.runtimes.base import HiddenState, Request
from promptkit.techniques.context import StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAnswer:
    """A head's label with the probabilities of all. `scores` is None where the prompt was too long for a vector.

    `shown` and `note` are for the trace.
    """

    request: Request
    abstains: bool
    scores: Scores | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


async def ask_head(step: StepContext, head: Head, deciding: Request) -> HeadAnswer:
    """Return the decision of a head on the prompt of a deciding request.

    A prompt that is longer than the window in which vectors are made is reported, and the head abstains. Raises
    BadReply for a vector that does not fit the head, and what the runtime raises.
    """
    request = head_request(deciding, head.state)
    try:
        reply = await step.client.ask(request)
    except ContextOverflow as error:
        step.notice(f"a prompt is too long for the head, so `decide: {step.decide}` answers: {error.message}")
        return HeadAnswer(request=request, abstains=True, shown={"abstained": True, "too_long": True})
    try:
        found = decide_by_head(head, reply.vector)
    except ValueError as error:
        raise BadReply(f"the head does not fit the model: {error}") from None
    label = max(found.logprobs, key=found.logprobs.__getitem__)
    probability = exp(found.logprobs[label])
    scores = Scores(
        value=step.answer.parse(label),
        logprobs=found.logprobs,
        requests=1,
        tokens_in=reply.tokens_in,
        tokens_out=0,
        seconds=reply.seconds,
        cached=reply.cached,
    )
    shown: dict[str, Any] = {"layer": head.layer, "pooling": head.pooling, "label": label}
    shown |= {"probability": round(probability, 4), "abstained": found.abstains}
    note = f"the head ({head.where}) {'abstains' if found.abstains else 'decides'}: {label}, {probability:.0%}"
    return HeadAnswer(request=request, abstains=found.abstains, scores=scores, shown=shown, note=note)


def head_request(deciding: Request, state: HiddenState) -> Request:
    """Return the request for a vector of a deciding request's prompt."""
    return Request(
        messages=deciding.messages, prompt=deciding.prompt, begun=deciding.begun, think=False, hidden_state=state
    )
