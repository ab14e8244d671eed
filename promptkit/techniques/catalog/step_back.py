"""Step-back prompting: ask the more general question first, then reason with its answer."""

from typing import Literal

from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.reading import filled_text
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(
    roles=["question", "documents?"],
    calls="{'question': 2, 'principles': 1}[variant] + over_calls",
    requests="{'question': 2, 'principles': 1}[variant] + over_requests",
)
async def step_back(
    task: Task,
    *,
    variant: Literal["question", "principles"] = "question",
    over: Spec = "chain_of_thought",
    passages: Count = 3,
    max_tokens: Tokens = 256,
) -> Answer:
    """Ask a more general question or for the principles, then answer with what that gives (Zheng et al. 2024).

    `question` writes a step-back question and answers it; `principles` asks for the principles behind the problem.
    Where there are documents, `passages` are found for the step-back question and for the question itself, in place of
    an answer to the former. `max_tokens` bounds what is written. The answer is found by `over`.
    """
    abstract = await task.ask(variant, max_tokens=max_tokens)
    stepped = await task.read(abstract, filled_text if variant == "question" else filled)
    if stepped is None:
        return await task.run(over)
    if task.has_documents:
        background = await found(task, [str(task.role("question")), stepped], passages)
    elif variant == "question":
        background = [(await task.ask("background", asked=stepped, max_tokens=max_tokens)).said]
    else:
        background = [stepped]
    if not any(background):
        return (await task.run(over)).with_extra(step_back=stepped)
    layer = task.layer("answer", asked=stepped if variant == "question" else "", background=background)
    return (await task.run(over, beneath=layer)).with_extra(step_back=stepped, background=background)


def filled(text: str) -> str:
    """Return a reply of several lines. Raises Unparsed for a blank one."""
    filled_text(text)
    return text.strip()


async def found(task: Task, queries: list[str], count: int) -> list[str]:
    """Return the passages that match the queries best, each once."""
    passages = [passage.text for query in queries for passage in await task.retrieve(query, count)]
    if not passages:
        task.warn("no_passage")
    return list(dict.fromkeys(passages))
