"""MathPrompter: an expression and a function over variables, accepted where both agree on random numbers."""

from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

from promptkit.errors import InputError
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.attempts import answer_by_attempts
from promptkit.techniques.methods.math_templates import (
    Number,
    NumberTemplate,
    agree,
    read_template,
    run_function,
    to_template,
)
from promptkit.techniques.methods.programs import scalar, value_answer
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

TYPES: Final = ("number", "text")
"""The answer types that the value of an expression can be."""

_COST: Final = "(1 + attempts) * cap + (1 if template == 'model' else 0)"


@dataclass(frozen=True, slots=True)
class Round:
    """One expression and one function. `value` is what the function returns for the real numbers, None if it fails."""

    value: Number | None
    accepted: bool


@technique(
    needs={"sandbox", "sampling"},
    roles=["question"],
    calls=_COST,
    requests=_COST,
)
async def math_prompter(
    task: Task,
    *,
    rounds: Count = 3,
    cap: Count = 6,
    draws: Count = 5,
    temperature: Warmth = 0.7,
    template: Literal["code", "model"] = "code",
    attempts: Count = 2,
) -> Answer:
    """Accept what an expression and a function agree on, the most frequent of `rounds` (Imani et al. 2023).

    `rounds` are asked at once, then one at a time while fewer are accepted or no value is accepted most often, up to
    `cap`. With none accepted, the functions' most frequent value is the answer, flagged `no_consensus`. A function that
    fails is written again with its error, up to `attempts` functions a round. Raises InputError where the answer is not
    a number.
    """
    if task.answer_type.name not in TYPES:
        raise InputError(
            f"technique `math_prompter` computes a number: `answer` cannot be `{task.answer_type.name}`",
            hint="use `answer: number`, or another technique such as `program_of_thoughts`",
        )
    question = await make_template(task, by_model=template == "model")
    on = task.replacing(question=question.text)

    def play(number: int) -> Awaitable[Round]:
        return ask(on, question, draws, number, temperature=temperature, attempts=attempts)

    done = await task.each(play, range(min(rounds, cap)))
    while (is_short := len(accepted_in(done)) < rounds or is_tied(accepted_in(done))) and len(done) < cap:
        done.append(await play(len(done)))
    accepted = accepted_in(done)
    found = accepted or [attempt.value for attempt in done if attempt.value is not None]
    answer = task.vote([value_answer(task, value) for value in found])
    answer = answer.with_extra(rounds=len(done), accepted=len(accepted))
    if is_short:
        answer = answer.with_extra(capped=True)
    if accepted or answer.flag:
        return answer
    return replace(answer, flag="no_consensus", problem="no expression agrees with its function on all draws")


def accepted_in(rounds: Sequence[Round]) -> list[Number]:
    """Return the accepted values."""
    return [attempt.value for attempt in rounds if attempt.accepted and attempt.value is not None]


def is_tied(values: Sequence[Number]) -> bool:
    """Tell whether several values are the most frequent."""
    counts = [count for _, count in Counter(map(scalar, values)).most_common(2)]
    return len(counts) == 2 and counts[0] == counts[1]


async def make_template(task: Task, *, by_model: bool) -> NumberTemplate:
    """Return the question with variables in place of its numbers; by code also where the model's is of no use."""
    found = None
    if by_model:
        reply = await task.ask("template")
        found = read_template(reply.value)
        if found is None:
            task.note(reply, "the template is made by code: the model's has numbers, or variables of its own")
    return found or to_template(str(task.role("question")))


async def ask(
    task: Task, question: NumberTemplate, draws: int, number: int, *, temperature: float, attempts: int
) -> Round:
    """Ask for an expression and a function, at once, and try both on the same draws."""

    def send(call: str) -> Any:
        return task.ask(call, variables=list(question.values), sample=number, temperature=temperature)

    algebra, program = await task.each(send, ("algebra", "program"))
    tried = question.draws(draws)
    run = partial(run_function, task, question.values, [*tried, question.values])
    found = await answer_by_attempts(task, program, run, attempts, sample=number)
    *returned, value = found.value or [None] * (draws + 1)
    accepted = value is not None and await agree(task, algebra, tried, returned)
    return Round(value, accepted)
