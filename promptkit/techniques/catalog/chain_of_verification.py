"""Chain of verification: draft an answer, question its facts, answer the questions, write the answer anew."""

from typing import Literal

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.parameters import Count
from promptkit.techniques.reading import last_named, read_json, read_list
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Variant = Literal["joint", "two_step", "factored", "revise"]
VERDICTS = ("PARTIALLY CONSISTENT", "INCONSISTENT", "CONSISTENT")


@technique(
    roles=["question"],
    calls="{'joint': 3, 'two_step': 4, 'factored': 3 + questions, 'revise': 3 + 2 * questions}[variant]",
    requests="{'joint': 3, 'two_step': 4, 'factored': 3 + questions, 'revise': 3 + 2 * questions}[variant]",
)
async def chain_of_verification(task: Task, *, variant: Variant = "factored", questions: Count = 5) -> Answer:
    """Draft, plan questions about its facts, answer them without the draft, then revise (Dhuliawala et al. 2024).

    `questions` caps how many are asked. Without a question to ask, the draft stands.
    """
    first = await task.ask("baseline")
    draft = first.text.strip()
    if variant == "joint":
        asked = await task.ask("plan_execute", draft=draft)
        pairs = read_pairs(asked)[:questions]
    else:
        plan = read_list((await task.ask("plan", draft=draft, most=questions)).text, most=questions)
        pairs = await execute(task, plan, together=variant == "two_step")
    if not pairs:
        return (await task.decide(first)).with_extra(questions=[])
    if variant == "revise":
        verdicts = await task.each(lambda pair: check(task, draft, pair), pairs)
        pairs = [{**pair, "verdict": verdict} for pair, verdict in zip(pairs, verdicts, strict=True)]
    return (await task.decide(await task.ask("final", draft=draft, pairs=pairs))).with_extra(questions=pairs)


async def execute(task: Task, plan: list[str], *, together: bool) -> list[dict[str, str]]:
    """Return each question with its answer: all asked in one call, or each in a call of its own, at once."""
    if not plan:
        return []
    if together:
        reply = await task.ask("execute", questions=plan)
        answers = read_list(reply.text)
        answers += [""] * (len(plan) - len(answers))
    else:
        replies = await task.each(lambda question: task.ask("execute", questions=[question]), plan)
        answers = [reply.text.strip() for reply in replies]
    return [{"question": question, "answer": answer} for question, answer in zip(plan, answers, strict=False)]


async def check(task: Task, draft: str, pair: dict[str, str]) -> str:
    """Return whether the draft agrees with an answer found without it."""
    reply = await task.ask("check", draft=draft, pair=pair)
    return last_named(reply.text, VERDICTS) or VERDICTS[0]


def read_pairs(exchange: Exchange) -> list[dict[str, str]]:
    """Return the questions that a joint reply asks with what it answers, one to a line, or as JSON."""
    try:
        found = read_json(exchange.text)
    except ValueError:
        found = None
    if isinstance(found, list) and all(isinstance(pair, dict) for pair in found):
        return [{"question": str(pair.get("question", "")), "answer": str(pair.get("answer", ""))} for pair in found]
    lines = (line.partition("?") for line in read_list(exchange.text))
    return [{"question": f"{question}?", "answer": answer.strip()} for question, mark, answer in lines if mark]
