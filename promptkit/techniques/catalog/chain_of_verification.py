"""Chain of verification: draft an answer, question its facts, answer the questions, rewrite the answer."""

from __future__ import annotations

import re
from typing import Final, Literal

from promptkit.answers.base import Unparsed
from promptkit.answers.reader.json_reader import read_json
from promptkit.answers.reader.list_reader import bare_item
from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Count
from promptkit.techniques.reading import filled_lines, questions_in
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Variant = Literal["joint", "two_step", "factored", "revise"]
UNCLEAR: Final = "PARTIALLY CONSISTENT"
ANSWER_TOKENS: Final = 64

_NUMBER: Final = re.compile(r"\s*\(?(\d+)[.):]\s+")
_CALLS: Final = "{'joint': 3, 'two_step': 4, 'factored': 3 + questions, 'revise': 3 + 2 * questions}[variant]"


@technique(roles=["question"], calls=_CALLS, requests=_CALLS)
async def chain_of_verification(task: Task, *, variant: Variant = "factored", questions: Count = 5) -> Answer:
    """Draft, plan questions about its facts, answer them without the draft, then revise (Dhuliawala et al. 2024).

    `questions` caps how many are asked. Without a question to ask, the draft stands.
    """
    first = await task.ask("baseline")
    draft = first.text.strip()
    if variant == "joint":
        asked = await task.ask("plan_execute", draft=draft, most=questions)
        pairs = (await task.read(asked, read_pairs) or [])[:questions]
    else:
        planned = await task.ask("plan", draft=draft, most=questions)
        pairs = await execute(task, questions_in(planned)[:questions], together=variant == "two_step")
    if not pairs:
        task.warn("no_sub_question")
        return (await task.decide(first)).with_extra(questions=[])
    if variant == "revise":
        verdicts = await task.each(lambda pair: check(task, draft, pair), pairs)
        pairs = [{**pair, "verdict": verdict} for pair, verdict in zip(pairs, verdicts, strict=True)]
    return (await task.decide(await task.ask("final", draft=draft, pairs=pairs))).with_extra(questions=pairs)


async def execute(task: Task, plan: list[str], *, together: bool) -> list[dict[str, str]]:
    """Return each question with its answer: all asked in one call, or each in its own call concurrently."""
    if not plan:
        return []
    if together:
        reply = await task.ask("execute", questions=plan, max_tokens=ANSWER_TOKENS * len(plan))
        answers = read_answers(reply.text, len(plan))
    else:
        replies = await task.each(
            lambda question: task.ask("execute", questions=[question], max_tokens=ANSWER_TOKENS), plan
        )
        answers = [reply.text.strip() for reply in replies]
    return [{"question": question, "answer": answer} for question, answer in zip(plan, answers, strict=True)]


async def check(task: Task, draft: str, pair: dict[str, str]) -> str:
    """Return the model's verdict on the draft's agreement with an answer that was found without it."""
    return (await task.ask("check", draft=draft, pair=pair)).value or UNCLEAR


def read_answers(text: str, count: int) -> list[str]:
    """Return the answers to so many questions, by their numbers where lines have some, else line by line.

    Of numbered answers the first line counts, and what stands before them is none.
    """
    answers = [""] * count
    lines = [bare_item(line) if not _NUMBER.match(line) else line.strip() for line in filled_lines(text)]
    numbered = [(int(head[1]), line[head.end() :]) for line in lines if (head := _NUMBER.match(line))]
    for at, answer in numbered or enumerate(lines, start=1):
        if 1 <= at <= count:
            answers[at - 1] = answers[at - 1] or answer
    return answers


def read_pairs(text: str) -> list[dict[str, str]]:
    """Return the questions that a joint reply asks with what it answers, there or on the next line, or as JSON. Raises
    Unparsed without one.
    """
    try:
        found = read_json(text)
    except ValueError:
        found = None
    if isinstance(found, list) and all(isinstance(pair, dict) for pair in found):
        return [{"question": str(pair.get("question", "")), "answer": str(pair.get("answer", ""))} for pair in found]
    pairs: list[dict[str, str]] = []
    for line in map(bare_item, filled_lines(text)):
        question, mark, answer = line.partition("?")
        if mark:
            pairs.append({"question": f"{question}?", "answer": answer.strip()})
        elif pairs and not pairs[-1]["answer"]:
            pairs[-1]["answer"] = line
    if not pairs:
        raise Unparsed("the reply holds no question with its answer")
    return pairs
