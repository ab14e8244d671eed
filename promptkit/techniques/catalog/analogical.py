"""Analogical reasoning: recall related problems with their solutions, then solve the given one, all in one reply."""

import re
from dataclasses import replace
from typing import Final

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

_SOLVING: Final = re.compile(
    r"^[ \t#*_]*(?:\d{1,2}[.):][ \t]*)?[*_]*(?:solv(?:e|ing)|solution (?:to|of))[ \t]+(?:the )?"
    r"(?:initial|original|given)[ \t]+problem\b.*$"
    r"|^#+[ \t]*(?:\d{1,2}[.):][ \t]*)?solv(?:e|ing)[ \t]+the[ \t]+problem\b.*$",
    re.IGNORECASE | re.MULTILINE,
)
_RECALLING: Final = re.compile(r"\b(?:relevant|related|similar) problems?\b", re.IGNORECASE)


@technique(calls="1", requests="1 + decided")
async def analogical(task: Task, *, exemplars: Count = 3, knowledge: bool = False, max_tokens: Tokens = 1000) -> Answer:
    """Recall distinct problems like the given one, solve these, then solve that one (Yasunaga et al. 2024).

    `knowledge` asks for a tutorial on the core concepts first. `max_tokens` bounds all sections together; a reply
    that ends before the last one has no answer, whatever the recalled problems say. One that recalls none is read
    whole, with a warning.
    """
    reply = await task.ask("solve", exemplars=exemplars, knowledge=knowledge, max_tokens=max_tokens, past_cue=True)
    *before, solution = _SOLVING.split(reply.text)
    recalled = any(part.strip() for part in before) if before else recalls(reply.text)
    if recalled and not before and not reply.says_cue:
        missing = task.no_answer("the reply does not come to solving the initial problem", reply)
        return replace(missing, last=reply)
    if not recalled:
        task.warn("no_recalled_problem")
    text = solution
    if task.decides:
        thoughts = solution.partition(f"\n{reply.cue}")[0] if reply.cue else solution
        text = reply.text.removesuffix(solution) + thoughts
    return await task.decide(reply.with_text(text))


def recalls(text: str) -> bool:
    """Tell whether a reply without a section for the solution names recalled problems, or has several results."""
    return _RECALLING.search(text) is not None or text.count("\\boxed") > 1
