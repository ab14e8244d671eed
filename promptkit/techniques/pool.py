"""A pool of rows, as preparations look at it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from promptkit.techniques.artifacts import Row
from promptkit.techniques.task import Task


def draw(rows: Sequence[Row], most: int, *, seed: int = 0) -> list[Row]:
    """Return at most `most` of the rows, drawn by the seed, in the order of the data."""
    if len(rows) <= most:
        return list(rows)
    return [rows[at] for at in sorted(random.Random(seed).sample(range(len(rows)), most))]


def question_of(task: Task, row: Row) -> str:
    """Return what a row asks: what plays the role `question` there."""
    return str(task.on(row).role("question") or "")
