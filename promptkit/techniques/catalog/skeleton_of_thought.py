"""Skeleton of thought: list the points of the answer, then write all points concurrently."""

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(
    calls="1 + points + (0 if answer == 'text' else 1)",
    requests="1 + points + (0 if answer == 'text' else 1)",
)
async def skeleton_of_thought(task: Task, *, points: Count = 8, max_tokens: Tokens = 150) -> Answer:
    """Write the skeleton of an answer and expand its points concurrently (Ning et al. 2024).

    A text is the expanded points, one after the other; an answer of another type is decided from them. `points` caps
    the points, `max_tokens` bounds each. Without a skeleton the task is answered directly, with a warning.
    """
    skeleton = (await task.ask("skeleton", points=points, max_tokens=max(64, 16 * points))).value or []
    if len(skeleton) > points:
        task.warn("capped")
    if len(skeleton) == 1:
        task.warn("single_step")
    kept = skeleton[:points]
    expanded = await task.each(
        lambda point: task.ask("expand", skeleton=kept, point=point, max_tokens=max_tokens), kept
    )
    parts = [f"{point}\n{reply.said}" for point, reply in zip(kept, expanded, strict=True)]
    if kept and task.answer_type.name == "text":
        answer = task.parse("\n\n".join(parts))
    else:
        if not kept:
            task.warn("no_step")
        answer = await task.decide(await task.ask("answer", parts=parts))
    return answer.with_extra(skeleton=kept)
