"""A prompt's inputs as a problem and its question, for techniques that ask other questions about the same problem."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from promptkit.techniques.reading import sentences_of
from promptkit.techniques.task import Task

_LABEL: Final = re.compile(r"[^\n.?!]{0,40}:[ \t]*\Z")


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem: the `text` of what is known, empty where the question is all that there is, and the `question`."""

    text: str
    question: str


def problem_of(task: Task) -> Problem:
    """Return a step's problem: its input section without the question in it, and a context that no section shows.

    Where the question is the whole input, its last sentence is the question if it asks and others stand before it.
    """
    whole, question = task.section("input").strip(), str(task.role("question")).strip()
    if question and question in whole:
        before, _, after = whole.rpartition(question)
        whole = f"{_LABEL.sub('', before)}{after}".strip()
    rest = [*unshown(task, "context"), whole]
    if text := "\n\n".join(filter(None, rest)):
        return Problem(text, question)
    asked = next(reversed(sentences_of(question)), "")
    return Problem(question.removesuffix(asked).strip(), asked) if asked.endswith("?") else Problem("", question)


def unshown(task: Task, role: str) -> list[str]:
    """Return the texts of a role that no section of the prompt shows."""
    value = task.role(role)
    texts = [str(text) for text in (value if isinstance(value, list) else [value]) if text]
    shown = f"{task.section('context')}\n{task.section('input')}"
    return [] if all(text in shown for text in texts) else texts
