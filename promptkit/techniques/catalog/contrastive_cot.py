"""Contrastive chain of thought: demonstrations that show a right and a wrong explanation of the same question."""

import random
import re
from collections.abc import Mapping
from itertools import chain, zip_longest
from typing import Final

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.prompts.prompt import WrittenExample
from promptkit.techniques.context import Answer
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_DRAWS: Final = 20
_WRONG_SIDE: Final = re.compile(r"\n[ \t#*_]*wrong (?:explanation|answer)\b[ \t*_]*:", re.IGNORECASE)


@technique(calls="1", requests="1 + decided")
async def contrastive_cot(task: Task, *, seed: int = 0) -> Answer:
    """Think like the right explanation of each demonstration, not like its wrong one (Chia et al. 2023).

    The wrong ones are made from the user's examples with thoughts: their numbers change places, drawn by `seed`.
    One's own demonstrations come before these; without either, the shipped ones are shown.
    """
    made = [] if task.own_demos("reason") else contrasts(task, seed)
    reply = await task.ask("reason", demos=made or None)
    return await task.decide(reply.with_text(_WRONG_SIDE.split(reply.text, maxsplit=1)[0].rstrip()))


def contrasts(task: Task, seed: int) -> list[dict[str, str]]:
    """Return the user's examples that have thoughts, each with a wrong side where its numbers allow one."""
    return [
        {"input": example.input, "thoughts": example.thoughts, "output": example.output}
        | wrong_side(example, kind, random.Random(f"{seed}/{number}"))
        for number, (example, kind) in enumerate(zip(task.written_examples, task.example_types, strict=True))
        if example.thoughts
    ]


def wrong_side(example: WrittenExample, kind: AnswerType, chance: random.Random) -> dict[str, str]:
    """Return the thoughts with their numbers in another order and a wrong answer; nothing where no draw is wrong."""
    thoughts = example.thoughts or ""
    numbers = _NUMBER.findall(thoughts)
    for _ in range(_DRAWS):
        drawn = chance.sample(numbers, len(numbers))
        if drawn == numbers:
            continue
        answer = wrong_answer(example.output, kind, dict(zip(numbers, drawn, strict=True)), chance)
        if answer is not None:
            between = zip_longest(_NUMBER.split(thoughts), drawn, fillvalue="")
            return {"wrong_thoughts": "".join(chain.from_iterable(between)), "wrong_output": answer}
    return {}


def wrong_answer(right: str, kind: AnswerType, moved: Mapping[str, str], chance: random.Random) -> str | None:
    """Return another label or option, else the answer with its numbers `moved`; None where that is right or no answer.

    `moved` has for each number of the thoughts what stands in its last place now; another becomes what they end in.
    """
    if kind.alternatives():
        others = [label for label in kind.alternatives() if label != right]
        return chance.choice(others) if others else None
    last = list(moved.values())[-1]
    wrong = _NUMBER.sub(lambda number: moved.get(number[0], last), right)
    try:
        differs = kind.vote_key(kind.parse(wrong)) != kind.vote_key(kind.parse(right))
    except Unparsed:
        return None
    return wrong if differs else None
