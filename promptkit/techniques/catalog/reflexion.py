"""Reflexion: try, have the attempt evaluated, reflect on what went wrong, and try again with the reflections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.methods.solutions import Solution, solution
from promptkit.techniques.methods.verifier import JUDGE, Verdict, Verifier, check_verifier, verify
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.reading import before_cue
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

RIGHT: Final = "right"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed attempt as the next one shows it: what was answered, what was wrong, and the reflection on it."""

    solution: Solution
    problem: str
    reflection: str


@technique(
    calls="attempts * over_calls + attempts - 1 + (attempts if evaluator == 'judge' else 0)",
    requests="attempts * over_requests + attempts - 1 + (attempts if evaluator == 'judge' else 0)",
)
async def reflexion(
    task: Task,
    *,
    attempts: Count = 3,
    evaluator: Verifier = "judge",
    threshold: float = 1.0,
    memory: Count = 3,
    over: Spec = "chain_of_thought",
    max_tokens: Tokens = 256,
) -> Answer:
    """Attempt the task by `over` until an evaluator accepts it, each time with reflections (Shinn et al. 2023).

    `evaluator` accepts or rejects: `judge` is a call, `guard` the step's own, `program` runs the program of the answer,
    and `tool:NAME` is a tool of the step, whose number must reach `threshold`, or whose text says what is wrong. After
    a failure the model says what to do differently; the last `memory` failures stand in the next attempt. `max_tokens`
    bounds an evaluation and a reflection. Where no attempt is accepted, the last one is the answer.
    """
    check_verifier(task, evaluator, over)
    failed: list[Attempt] = []
    while True:
        beneath = task.layer("attempt", attempts=failed[-memory:]) if failed else None
        answer = await task.run(over, beneath=beneath)
        verdict = await evaluate(task, answer, evaluator, max_tokens)
        accepted = verdict.score is not None and verdict.score >= threshold
        if accepted or len(failed) == attempts - 1:
            break
        tried = solution(task, answer)
        reflection = await task.ask("reflect", solution=tried, problem=verdict.problem, max_tokens=max_tokens)
        failed.append(Attempt(tried, verdict.problem, reflection.said))
    if not accepted:
        task.warn("capped")
    return answer.with_extra(
        accepted=accepted,
        attempts=[attempt.solution.answer for attempt in failed],
        reflections=[attempt.reflection for attempt in failed],
    )


async def evaluate(task: Task, answer: Answer, evaluator: str, max_tokens: int) -> Verdict:
    """Return the verdict on an attempt; a judge's reply without one rejects it."""
    if evaluator != JUDGE or answer.flag is not None:
        return await verify(task, answer, evaluator)
    reply = await task.ask("evaluate", solution=solution(task, answer), max_tokens=max_tokens)
    return Verdict(reply.value == RIGHT, before_cue(reply.said, reply.cue))
