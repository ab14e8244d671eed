"""Least-to-most: reduce a problem to easier questions, answer them in order, each with the answers before it."""

import re
from functools import partial
from typing import Annotated, Final

from pydantic import Field

from promptkit.answers.base import Unparsed
from promptkit.answers.reader.list_reader import listed_items
from promptkit.techniques.context import Answer
from promptkit.techniques.reading import read_list
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Questions = Annotated[int, Field(ge=2, le=50)]

_QUOTED: Final = re.compile(r"[\"“]([^\"“”]+\?\s*)[\"”]|(?<!\w)['‘]([^'‘’]+\?\s*)['’](?!\w)")
_QUESTION: Final = re.compile(r"[^?]+\?")


@technique(roles=["question", "context?"], calls="1 + questions", requests="1 + questions + decided")
async def least_to_most(task: Task, *, questions: Questions = 5) -> Answer:
    """Reduce the question to easier ones and answer them in order, itself last (Zhou et al. 2023).

    `questions` caps how many are answered, the question itself among them. Without a `context`, the question is the
    whole problem. The answer is read from the last reply alone.
    """
    question, context = str(task.role("question")), _paragraphs(task.role("context"))
    whole = "" if context else task.section("input")
    problem = "" if all(text in task.section("context") for text in context) else "\n\n".join(context)
    reduced = await task.ask("reduce", most=questions - 1)
    easier = await task.read(reduced, partial(read_questions, question=question)) or []
    demos, pairs = task.demonstrations("solve"), list[dict[str, str]]()
    for asked in easier[: questions - 1]:
        solved = await task.ask("solve", problem=problem or whole, pairs=pairs, asked=asked, demos=demos)
        pairs = [*pairs, {"question": asked, "answer": solved.said}]
    shown = problem or (whole if whole != question else "")
    answered = await task.ask("answer", problem=shown, pairs=pairs, asked=question, demos=demos)
    answer = (await task.decide(answered)).with_extra(questions=pairs)
    return answer.with_extra(capped=True) if len(easier) >= questions else answer


def read_questions(text: str, question: str) -> list[str]:
    """Return the easier questions of a reply, in quotes or as a list, without the question itself. Raises Unparsed."""
    found = [line.strip() for quotes in _QUOTED.findall(text) for line in quotes if line]
    if not found:
        items = read_list(text)
        asking = [part for item in items for part in _QUESTION.findall(item)]
        found = asking if len(asking) >= len(items) or not listed_items(text) else items
    if not found:
        raise Unparsed("the reply holds no question")
    whole = _plain(question)
    return [line for line in dict.fromkeys(map(str.strip, found)) if not whole.endswith(_plain(line))]


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _paragraphs(context: object) -> list[str]:
    return [str(text) for text in (context if isinstance(context, list) else [context]) if text]
