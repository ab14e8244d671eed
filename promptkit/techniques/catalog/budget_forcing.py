"""Budget forcing: make a model that thinks by itself think longer, or end its thoughts."""

from typing import Annotated

from pydantic import Field

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Extensions = Annotated[int, Field(ge=0, le=20)]


@technique(needs={"complete", "stop", "template", "thinks"}, calls="2 + extensions", requests="2 + extensions")
async def budget_forcing(task: Task, *, extensions: Extensions = 1, max_tokens: Tokens = 8192) -> Answer:
    """Let the model think, make it go on where it would end, and answer at last (Muennighoff et al. 2025).

    `extensions` is how often the end of its thoughts is replaced by "Wait". `max_tokens` bounds all thoughts together:
    where they are spent, the thoughts are ended, and the answer is asked for.
    """
    thoughts = await task.think("think", max_tokens=max_tokens)
    spent = thoughts.reply.tokens_out or 0
    extended = 0
    while extended < extensions and not thoughts.cut and spent < max_tokens:
        thoughts = await task.think("extend", after=thoughts, max_tokens=max_tokens - spent)
        spent += thoughts.reply.tokens_out or 0
        extended += 1
    if thoughts.cut:
        task.warn("thoughts_spent")
    answer = await task.decide(await task.conclude("answer", thoughts))
    return answer.with_extra(extensions=extended, thought_tokens=spent)
