"""Logical thoughts: each step of a chain is defended, attacked and judged; from a false one the chain is regrown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from promptkit.answers.base import Unparsed
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.problem import unshown
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

NAMES: Final = {True: "TRUE", False: "FALSE", None: None}

_NUMBER: Final = re.compile(
    r"\s*(?:#{2,6}\s+)?(?P<bold>[*_]{2})?(?:step\s+)?#?\s*(\d+)(?:[.:)][*_]{0,2}|[*_]{2}[.:)])(?!\d)\s*", re.IGNORECASE
)


@technique(
    roles=["question", "context?"],
    calls="3 + 3 * steps + 2 * revisions",
    requests="3 + 3 * steps + 2 * revisions",
)
async def logical_thoughts(task: Task, *, steps: Count = 30, revisions: Count = 2, max_tokens: Tokens = 256) -> Answer:
    """Verify a chain of thought step by step, and regrow it from a step that does not hold (Zhao et al. 2024).

    `steps` caps how many are judged, `revisions` how many are written again; steps that are left when either is used up
    stay in the chain as they are. `max_tokens` bounds the thoughts.
    """
    thought = await task.ask("think", max_tokens=max_tokens)
    untouched = await task.read(thought, partial(some_steps, first=1)) or []
    if len(untouched) < 2:
        task.warn("single_step" if untouched else "no_step")
    facts = unshown(task, "context")
    chain: list[str] = []
    judged: list[dict[str, str | None]] = []
    left, revised = untouched, 0
    while left and len(judged) < steps:
        review = await look_at(task, chain, left[0], facts)
        judged.append({"step": left[0], "verdict": review.verdict})
        if review.verdict != "FALSE":
            chain, left = [*chain, left[0]], left[1:]
            continue
        if revised == revisions:
            break
        revised += 1
        chain = [*chain, *await revise(task, chain, left[0], review.attack)]
        left = await regrow(task, chain, max_tokens)
    if left:
        chain = [*chain, *left]
    answer = await task.decide(await task.ask("extract", chain=chain))
    if answer.flag and chain != untouched:
        answer = await task.decide(await task.ask("extract", chain=untouched))
    answer = answer.with_extra(steps=judged, chain=chain)
    return answer.with_extra(capped=True) if left else answer


@dataclass(frozen=True, slots=True)
class Review:
    """The attack on a step, and the verdict on the step: TRUE, FALSE or none."""

    attack: str
    verdict: str | None


async def look_at(task: Task, prefix: Sequence[str], step: str, facts: Sequence[str]) -> Review:
    """Defend and attack a step, each without the other, and judge the two."""
    seen: dict[str, Any] = {"prefix": prefix, "step": step, "number": len(prefix) + 1, "facts": facts}
    defence, attack = await task.each(lambda call: task.ask(call, **seen), ["defend", "attack"])
    judged = await task.ask("judge", defence=defence.said, attack=attack.said, **seen)
    return Review(attack.said, NAMES[judged.value])


async def revise(task: Task, prefix: Sequence[str], step: str, attack: str) -> list[str]:
    """Return the rewritten step, None if the reply is empty."""
    number = len(prefix) + 1
    next_step = f"\n#{number + 1}"
    reply = await task.ask("revise", stop=[next_step], prefix=prefix, step=step, attack=attack, number=number)
    return read_steps(reply.text, number)[:1]


async def regrow(task: Task, prefix: Sequence[str], max_tokens: int) -> list[str]:
    """Return the steps that come after those kept."""
    number = len(prefix) + 1
    return read_steps((await task.ask("regrow", prefix=prefix, number=number, max_tokens=max_tokens)).text, number)


def some_steps(text: str, first: int) -> list[str]:
    """Return the steps of a text as `read_steps` does. Raises Unparsed where there is none."""
    if steps := read_steps(text, first):
        return steps
    raise Unparsed("the reply holds no step")


def read_steps(text: str, first: int) -> list[str]:
    """Return the steps of a text that begins with step `first`; a line begins the next one only by its number.

    What stands before a line `#first.` is no step: the words of the begun turn, repeated.
    """
    steps: list[list[str]] = [[]]
    for line in text.splitlines():
        head = _NUMBER.match(line)
        number = int(head[2]) if head else None
        if head and number == first + len(steps):
            steps.append([])
        elif head and number == first and len(steps) == 1 and ("#" in head[0] or not any(steps[0])):
            steps = [[]]
        else:
            head = None
        text = line[head.end() :] if head else line
        steps[-1].append(text.rstrip().removesuffix("**") if head and head["bold"] and text.count("**") == 1 else text)
    texts = ("\n".join(lines).strip() for lines in steps)
    return [text for text in texts if text]
