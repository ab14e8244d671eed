"""Chain of draft: think in drafts of a few words a step, then answer."""

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(requests="1 + decided")
async def chain_of_draft(task: Task, *, words: Count = 5, max_tokens: Tokens = 128) -> Answer:
    """Think step by step in drafts of at most `words` words each, then answer (Xu et al. 2025).

    `max_tokens` bounds the drafts.
    """
    return await task.decide(await task.ask("draft", words=words, max_tokens=max_tokens))
