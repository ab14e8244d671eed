"""Three-hop reasoning: the aspect of a target, the opinion about it, and from these its polarity."""

from promptkit.techniques.context import Answer
from promptkit.techniques.reading import one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(
    needs={"target"},
    roles=["target", "question"],
    calls="3 + (1 if label and decide == 'generate' else 0)",
    requests="3 + (1 if label or decide != 'generate' else 0)",
)
async def three_hop(task: Task, *, label: bool = True) -> Answer:
    """Infer the aspect, the opinion about it and the polarity, each from what came before (Fei et al. 2023).

    The last reply is free text, and `label` goes on from it to one of the labels; without it, under `generate`, the
    label is read from that reply by code. Aspect, opinion and polarity are in `extra`.
    """
    aspect = one_line((await task.ask("aspect")).text)
    opinion = one_line((await task.ask("opinion", aspect=aspect)).text)
    polarity = await task.ask("polarity", aspect=aspect, opinion=opinion)
    if label or task.decides:
        answer = await task.decide(await task.continue_("label", polarity))
    else:
        answer = await task.decide(polarity)
    return answer.with_extra(aspect=aspect, opinion=opinion, polarity=polarity.text.strip())
