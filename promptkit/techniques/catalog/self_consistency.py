"""Self-consistency: the answer that most reasoning paths reach."""

from promptkit.errors import InputError
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.parameters import Count, Tokens, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(
    needs={"sampling"},
    calls="samples * (over_calls or 1)",
    requests="samples * (over_requests or 1 + decided)",
)
async def self_consistency(
    task: Task,
    *,
    samples: Count = 5,
    temperature: Warmth = 0.7,
    over: Spec | None = None,
    max_tokens: Tokens | None = None,
) -> Answer:
    """Sample several chains of thought and return the answer most of them reach (Wang et al. 2023).

    `max_tokens` bounds each chain, 256 where the step has no bound. `over` samples another technique instead, which
    bounds its own. An answer that does not parse is out of the vote, and counted.
    """
    if over is not None:
        if max_tokens is not None:
            raise InputError("`max_tokens` bounds chains of self_consistency's own", hint="set it in `over:`")
        return task.vote(await task.sample_run(over, samples, temperature=temperature))
    thoughts = await task.sample("reason", samples, temperature=temperature, max_tokens=max_tokens)
    return task.vote(await task.each(task.decide, thoughts))
