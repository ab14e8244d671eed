"""A pool of rows, as preparations look at it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence

from promptkit.techniques.artifacts import Row
from promptkit.techniques.context import Answer
from promptkit.techniques.task import Task

NO_ANSWER = "no answer"


def draw(rows: Sequence[Row], most: int, *, seed: int = 0) -> list[Row]:
    """Return at most `most` of the rows, drawn by the seed, in the order of the data."""
    if len(rows) <= most:
        return list(rows)
    return [rows[at] for at in sorted(random.Random(seed).sample(range(len(rows)), most))]


def question_of(task: Task, row: Row) -> str:
    """Return what a row asks: what plays the role `question` there."""
    return str(task.on(row).role("question") or "")


def tally(task: Task, answers: Sequence[Answer]) -> dict[str, int]:
    """Return how often each answer was given, as people read it."""
    first: dict[Hashable, str] = {}
    counts: Counter[str] = Counter()
    for answer in answers:
        if answer.flag is not None:
            counts[NO_ANSWER] += 1
            continue
        value = answer.value if isinstance(answer.value, str) else task.answer_type.write(answer.value)
        counts[first.setdefault(task.vote_key(answer), value)] += 1
    return dict(counts)
