"""Self-refine: draft an answer, criticise it, and write it again with the criticism, until it is good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.methods.solutions import Solution, solution
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.reading import before_cue
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

GOOD: Final = "good"


@dataclass(frozen=True, slots=True)
class Criticised:
    """An earlier draft with the feedback on it, as the next refinement shows them."""

    draft: Solution
    feedback: str


@technique(calls="over_calls + rounds * (1 + over_calls)", requests="over_requests + rounds * (1 + over_requests)")
async def self_refine(
    task: Task, *, rounds: Count = 2, over: Spec = "chain_of_thought", max_tokens: Tokens = 256
) -> Answer:
    """Draft by `over`, and refine with feedback until that finds nothing to improve (Madaan et al. 2023).

    `rounds` caps the refinements. Each sees all earlier drafts with the feedback on them. `max_tokens` bounds a
    feedback.
    """
    answer = await task.run(over)
    history: list[Criticised] = []
    while len(history) < rounds:
        draft = solution(task, answer)
        feedback = await task.ask("feedback", draft=draft, max_tokens=max_tokens)
        if feedback.value == GOOD:
            break
        history = [*history, Criticised(draft, before_cue(feedback.said, feedback.cue))]
        answer = await task.run(over, beneath=task.layer("refine", history=history))
    else:
        task.warn("capped")
    return answer.with_extra(
        drafts=[criticised.draft.answer for criticised in history],
        feedback=[criticised.feedback for criticised in history],
    )
