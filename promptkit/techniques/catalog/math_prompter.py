"""MathPrompter: an expression and a function over variables, accepted where both agree on random numbers."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

from promptkit.answers.reader.json_reader import read_json
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
from promptkit.techniques.methods.programs import value_answer
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

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

    `rounds` are asked at once, then one at a time while fewer are accepted, up to `cap`. With none accepted, the
    functions' most frequent value is the answer, flagged `no_consensus`. A function that fails is written again with
    its error, up to `attempts` functions a round.
    """
    question = await make_template(task, by_model=template == "model")
    on = task.replacing(question=question.text)

    def play(number: int) -> Awaitable[Round]:
        return ask(on, question, draws, number, temperature=temperature, attempts=attempts)

    done = await task.each(play, range(min(rounds, cap)))
    while sum(attempt.accepted for attempt in done) < rounds and len(done) < cap:
        done.append(await play(len(done)))
    accepted = [attempt.value for attempt in done if attempt.accepted]
    found = accepted or [attempt.value for attempt in done if attempt.value is not None]
    answer = task.vote([value_answer(task, value) for value in found])
    answer = answer.with_extra(rounds=len(done), accepted=len(accepted))
    if len(accepted) < rounds:
        answer = answer.with_extra(capped=True)
    if accepted or answer.flag:
        return answer
    return replace(answer, flag="no_consensus", problem="no expression agrees with its function on all draws")


async def make_template(task: Task, *, by_model: bool) -> NumberTemplate:
    """Return the question with variables in the place of its numbers; by code also where the model's is of no use."""
    found = None
    if by_model:
        reply = await task.ask("template")
        try:
            found = read_template(read_json(reply.text))
        except ValueError as error:
            task.note(reply, f"the question is taken apart by code: {error}")
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
