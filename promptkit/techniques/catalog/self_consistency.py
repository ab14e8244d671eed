"""Self-consistency: the answer that most reasoning paths reach."""

from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(
    needs={"sampling"},
    calls="samples * (over_calls or 1)",
    requests="samples * (over_requests or 1 + decided)",
)
async def self_consistency(
    task: Task, *, samples: Count = 5, temperature: Warmth = 0.7, over: Spec | None = None
) -> Answer:
    """Sample several chains of thought and return the answer most of them reach (Wang et al. 2023).

    `over` samples another technique instead. An answer that does not parse is out of the vote, and counted.
    """
    if over is not None:
        return task.vote(await task.sample_run(over, samples, temperature=temperature))
    thoughts = await task.sample("reason", samples, temperature=temperature)
    return task.vote(await task.each(task.decide, thoughts))
