"""Contrastive chain of thought: demonstrations that show a right and a wrong explanation of the same question."""

import random
import re
from collections.abc import Mapping
from typing import Any, Final

from promptkit.techniques.context import Answer
from promptkit.techniques.methods.contrast import wrong_side
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

_WRONG_SIDE: Final = re.compile(r"\n[ \t#*_]*wrong (?:explanation|answer)\b[ \t*_]*:", re.IGNORECASE)


@technique(calls="1", requests="1 + decided")
async def contrastive_cot(task: Task, *, seed: int = 0, max_tokens: Tokens | None = None) -> Answer:
    """Think like the right explanation of each demonstration, not like its wrong one (Chia et al. 2023).

    The wrong ones are made from the user's examples with thoughts: numbers, names or other objects in these change
    places, drawn by `seed`. One's own demonstrations come before these; without either, the shipped ones are shown
    where the answer is a number. `max_tokens` bounds the explanation, 256 where the step has no bound. Warns where no
    wrong one could be shown.
    """
    demos = task.own_demos("reason") or contrasts(task, seed) or task.demonstrations("reason")
    if not any("wrong_thoughts" in demo for demo in demos):
        task.warn("no_contrast")
    reply = await task.ask("reason", demos=demos, max_tokens=max_tokens)
    return await task.decide(reply.with_text(_WRONG_SIDE.split(reply.text, maxsplit=1)[0].rstrip()))


def contrasts(task: Task, seed: int) -> list[Mapping[str, Any]]:
    """Return the user's examples that have thoughts, each with a wrong side where its objects allow one."""
    return [
        {"input": example.input, "thoughts": example.thoughts, "output": example.output}
        | wrong_side(example, kind, random.Random(f"{seed}/{number}"))
        for number, (example, kind) in enumerate(zip(task.written_examples, task.example_types, strict=True))
        if example.thoughts
    ]
