"""MathPrompter: an expression and a function over variables, accepted where both agree on random numbers."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.programs import functions, read_program, value_answer
from promptkit.techniques.reading import read_json
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task
from promptkit.techniques.variables import Number, Template, read_template, to_template
from promptkit.tools import evaluate_expression

_CALLS: Final = """\
def outcome(each):
    try:
        return {call}
    except ZeroDivisionError:
        return None
[outcome(each) for each in assignments]"""
_MARK: Final = re.compile(r"answer\s*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Round:
    """One expression and one function. `value` is what the function returns for the real numbers, None if it fails."""

    value: Number | None
    accepted: bool


@technique(
    needs={"sandbox", "sampling"},
    roles=["question"],
    calls="2 * cap + (1 if template == 'model' else 0)",
    requests="2 * cap + (1 if template == 'model' else 0)",
)
async def math_prompter(
    task: Task,
    *,
    rounds: Count = 3,
    cap: Count = 6,
    draws: Count = 5,
    temperature: Warmth = 0.7,
    template: Literal["code", "model"] = "code",
) -> Answer:
    """Accept what an expression and a function agree on, the most frequent of `rounds` (Imani et al. 2023).

    `rounds` are asked at once, then one at a time while fewer are accepted, up to `cap`. With none accepted, the
    functions' most frequent value is the answer, flagged `no_consensus`.
    """
    question = await make_template(task, by_model=template == "model")
    on = task.replacing(question=question.text)
    done = await task.each(lambda n: ask(on, question, draws, n, temperature), range(min(rounds, cap)))
    while sum(each.accepted for each in done) < rounds and len(done) < cap:
        done.append(await ask(on, question, draws, len(done), temperature))
    accepted = [each.value for each in done if each.accepted]
    found = accepted or [each.value for each in done if each.value is not None]
    answer = task.vote([value_answer(task, value) for value in found])
    answer = answer.with_extra(rounds=len(done), accepted=len(accepted))
    if len(accepted) < rounds:
        answer = answer.with_extra(capped=True)
    if accepted or answer.flag:
        return answer
    return replace(answer, flag="no_consensus", problem="no expression agrees with its function on all draws")


async def make_template(task: Task, *, by_model: bool) -> Template:
    """Return the question with variables in the place of its numbers; by code also where the model's is of no use."""
    found = None
    if by_model:
        reply = await task.ask("template")
        try:
            found = read_template(read_json(reply.text))
        except ValueError as error:
            task.note(reply, f"the question is taken apart by code: {error}")
    return found or to_template(str(task.role("question")))


async def ask(task: Task, question: Template, draws: int, number: int, temperature: float) -> Round:
    """Ask for an expression and a function, at once, and try both on the same draws."""

    def send(call: str) -> Any:
        return task.ask(call, variables=list(question.values), sample=number, temperature=temperature)

    algebra, program = await task.each(send, ("algebra", "program"))
    tried = question.draws(draws)
    *returned, value = await run(task, program, question.values, [*tried, question.values])
    accepted = value is not None and agree(task, algebra, tried, returned)
    return Round(value, accepted)


async def run(
    task: Task, exchange: Exchange, values: Mapping[str, Number], assignments: Sequence[Mapping[str, Number]]
) -> list[Number | None]:
    """Return what the function of a reply returns for each assignment, None where it divides by zero or fails."""
    program = read_program(exchange, f"def solution({', '.join(values)}):")
    name, parameters = next(reversed(functions(program).items()), ("solution", []))
    sources = parameters if set(parameters) <= values.keys() else list(values)
    arguments = ", ".join(f"{name}=each[{source!r}]" for name, source in zip(parameters, sources, strict=False))
    calls = _CALLS.format(call=f"{name}({arguments})")
    ran = await task.code(f"{program}\n{calls}", inputs={"assignments": assignments}, of=exchange)
    if ran.failure or any(isinstance(each, bool) or not isinstance(each, int | float | None) for each in ran.value):
        return [None] * len(assignments)
    return list(ran.value)


def agree(task: Task, exchange: Exchange, draws: Sequence[Mapping[str, Number]], returned: Sequence[Any]) -> bool:
    """Tell whether the expression of a reply comes to what the function returned, on all draws that neither refuses."""
    found = [evaluate(exchange.text, draw) for draw in draws]
    same = any(value is not None for value in found) and all(map(_same, found, returned))
    task.note(exchange, f"the expression and the function {'agree' if same else 'differ'} on {len(draws)} draws")
    return same


def evaluate(text: str, values: Mapping[str, Number]) -> Number | None:
    """Return what the expression in a reply comes to, None where it is none or divides by zero."""
    try:
        return evaluate_expression(read_expression(text), values)
    except ValueError:
        return None


def read_expression(text: str) -> str:
    """Return the expression of a reply: what follows `Answer =`, or the first line."""
    lines = [line for line in _MARK.split(text)[-1].splitlines() if line.strip()]
    return lines[0].strip(" \t$`.").partition("=")[0] if lines else ""


def _same(one: Number | None, other: Number | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
