"""Thread of thought: walk through a cluttered context part by part, then go on from it to the answer."""

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(roles=["context", "question"], calls="2 if decide == 'generate' else 1", requests="2")
async def thread_of_thought(task: Task, *, max_tokens: Tokens = 400) -> Answer:
    """Summarize and analyse the context in parts, then conclude from the whole of it (Zhou et al. 2023).

    A context that is a list stands in the prompt as numbered passages, in place of the list. `max_tokens` bounds the
    walk.
    """
    context = task.role("context")
    passages = context if isinstance(context, list) else []
    emptied = {"context": ""} if passages else None
    walk = await task.ask("walk", replace=emptied, passages=passages, max_tokens=max_tokens)
    return await task.decide(await task.continue_("conclude", walk))
