"""Chain of thought: think, then answer."""

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(
    calls="1 if examples_think or decide != 'generate' else 2",
    requests="1 if examples_think and decide == 'generate' else 2",
)
async def chain_of_thought(task: Task, *, max_tokens: Tokens = 256) -> Answer:
    """Think, then answer: few-shot by examples with thoughts (Wei et al. 2022), else zero-shot (Kojima et al. 2022).

    Few-shot, the examples show how, and the answer is read after the last cue. Zero-shot, the trigger begins the
    thoughts, and a second request goes on from them with an answer trigger. `max_tokens` bounds the thoughts.
    """
    zero_shot = not task.examples_think
    thoughts = await task.ask("reason", zero_shot=zero_shot, max_tokens=max_tokens)
    if zero_shot:
        return await task.decide(await task.continue_("extract", thoughts))
    return await task.decide(thoughts)
