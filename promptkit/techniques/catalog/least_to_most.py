"""Least-to-most: reduce a problem to easier questions, answer them in order, each with the answers before it."""

import re
from typing import Annotated

from pydantic import Field

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.problem import problem_of
from promptkit.techniques.reading import questions_in
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Questions = Annotated[int, Field(ge=2, le=50)]


@technique(roles=["question", "context?"], calls="1 + questions", requests="1 + questions + decided")
async def least_to_most(task: Task, *, questions: Questions = 5) -> Answer:
    """Reduce the question to easier ones and answer them in order, itself last (Zhou et al. 2023).

    `questions` caps how many are answered, the question itself among them. The answer is read from the last reply
    alone. The shipped demonstrations are word problems, shown where the answer is a number.
    """
    problem = problem_of(task)
    reduced = await task.ask("reduce", most=questions - 1)
    easier = easier_questions(reduced, str(task.role("question")))
    if not easier:
        task.warn("no_sub_question")
    demos, pairs = task.demonstrations("solve"), list[dict[str, str]]()
    for asked in easier:
        known = problem.text or problem.question
        solved = await task.ask("solve", problem=known, pairs=pairs, asked=asked, demos=demos)
        pairs = [*pairs, {"question": asked, "answer": solved.said}]
    answered = await task.ask("answer", problem=problem.text, pairs=pairs, asked=problem.question, demos=demos)
    return (await task.decide(answered)).with_extra(questions=pairs)


def easier_questions(reply: Exchange, question: str) -> list[str]:
    """Return the easier questions of a reply, without the question itself and what it repeats of it."""
    whole = _plain(question)
    return [line for line in questions_in(reply) if not whole.endswith(_plain(line))]


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
