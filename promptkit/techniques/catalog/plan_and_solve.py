"""Plan-and-solve: plan and carry the plan out in one reply, then go on from it to the answer."""

from typing import Literal

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Variant = Literal["ps", "ps_plus"]


@technique(calls="2 if decide == 'generate' else 1", requests="2")
async def plan_and_solve(task: Task, *, variant: Variant = "ps_plus", max_tokens: Tokens = 400) -> Answer:
    """Begin the reply with a plan to carry out, then go on from it to the answer (Wang et al. 2023).

    `ps` asks for a plan alone, `ps_plus` for what is known and for careful intermediate results as well, worded by
    whether the answer is a number. `max_tokens` bounds plan and solution.
    """
    solution = await task.ask("solve", variant=variant, answer=task.answer_type.name, max_tokens=max_tokens)
    return await task.decide(await task.continue_("extract", solution))
