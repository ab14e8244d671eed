"""Answers of a technique as other calls show them: the thoughts and the written value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.techniques.context import Answer
from promptkit.techniques.reading import before_cue
from promptkit.techniques.task import Task


@dataclass(frozen=True, slots=True)
class Solution:
    """An answer as a judge, a critic or another agent reads it.

    `thoughts` are those that a call asked for, empty without any; `answer` is the written value, empty without one.
    """

    thoughts: str
    answer: str


def solution(task: Task, answer: Answer) -> Solution:
    """Return an answer with the thoughts that it was decided after."""
    written = "" if answer.value is None else task.answer_type.write(answer.value)
    return Solution(_thoughts(answer), written)


def _thoughts(answer: Answer) -> str:
    """Return the thoughts in the deciding reply, or those that it goes on from."""
    last = answer.last
    if last is None:
        return ""
    return before_cue(last.text if last.thinks else last.before, last.cue)


def with_answers(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers that have a whole value."""
    return [answer for answer in answers if answer.flag is None]
