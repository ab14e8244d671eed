"""Debate: several agents answer, read what the others answered, and answer again; then they vote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from promptkit.errors import InputError
from promptkit.prompts.prompt import Layer
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.methods.solutions import solution
from promptkit.techniques.parameters import Count, ModelReference, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Agents = Annotated[int, Field(ge=2, le=50)]


@technique(needs={"sampling"}, calls="agents * rounds * over_calls", requests="agents * rounds * over_requests")
async def debate(
    task: Task,
    *,
    agents: Agents = 3,
    rounds: Count = 2,
    models: list[ModelReference] | None = None,
    temperature: Warmth = 0.7,
    over: Spec = "chain_of_thought",
) -> Answer:
    """Let agents answer by `over`, then again with the answers of the others, and vote (Du et al. 2024).

    The first answers are the first of the `rounds`. The debate ends where all agree. `models` lets agents be different
    models: each agent in turn gets the next of the list, which begins again at its end.
    """
    if models is not None and not 1 <= len(models) <= agents:
        raise InputError(f"`models` of `debate` names {len(models)} models for {agents} agents")
    references = [models[number % len(models)] if models else None for number in range(agents)]

    async def speak(turn: tuple[int, Layer | None]) -> Answer:
        number, beneath = turn
        return await task.run(over, sample=number, temperature=temperature, beneath=beneath, model=references[number])

    answers = await task.each(speak, [(number, None) for number in range(agents)])
    held = 1
    while held < rounds and not agree(task, answers):
        answers = await task.each(speak, enumerate(layers(task, answers)))
        held += 1
    return task.vote(answers).with_extra(rounds=held)


def layers(task: Task, answers: Sequence[Answer]) -> list[Layer]:
    """Return for each agent the layer that shows its own answer and those of the others."""
    solutions = [solution(task, answer) for answer in answers]
    return [
        task.layer("debate", mine=mine, others=[*solutions[:number], *solutions[number + 1 :]])
        for number, mine in enumerate(solutions)
    ]


def agree(task: Task, answers: Sequence[Answer]) -> bool:
    """Tell whether all agents have given the same answer."""
    keys = {task.vote_key(answer) for answer in answers if answer.flag is None}
    return len(keys) == 1 and all(answer.flag is None for answer in answers)
