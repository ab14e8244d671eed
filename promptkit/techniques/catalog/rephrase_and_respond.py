"""Rephrase and respond: the model words the question more clearly for itself, then answers it."""

from typing import Literal

from promptkit.errors import InputError
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.reading import filled_text
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(
    calls="1 if variant == 'one_step' else 1 + over_calls",
    requests="1 + decided if variant == 'one_step' else 1 + over_requests",
)
async def rephrase_and_respond(
    task: Task,
    *,
    variant: Literal["one_step", "two_step"] = "two_step",
    over: Spec = "vanilla",
    max_tokens: Tokens = 256,
) -> Answer:
    """Rephrase and expand the question, then answer it with both wordings in view (Deng et al. 2023).

    `one_step` does both in one reply; `two_step` rephrases in a call of its own and answers by `over`. `max_tokens`
    bounds the rephrasing and, in one step, the answer with it.
    """
    if variant == "one_step":
        if over != "vanilla":
            raise InputError("`over` of `rephrase_and_respond` is for its variant `two_step`")
        return await task.decide(await task.ask("respond", max_tokens=max_tokens))
    rephrased = await task.read(await task.ask("rephrase", max_tokens=max_tokens), filled_text)
    if rephrased is None:
        return await task.run(over)
    answer = await task.run(over, beneath=task.layer("answer", rephrased=rephrased))
    return answer.with_extra(rephrased=rephrased)
