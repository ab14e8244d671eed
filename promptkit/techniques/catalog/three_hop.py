"""Three-hop reasoning: the aspect of a target, the opinion about it, and from these its polarity."""

import re
from collections.abc import Sequence

from promptkit.answers.closed_sets import ClosedSet
from promptkit.techniques.context import Answer
from promptkit.techniques.reading import one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

NEGATION = re.compile(
    r"(?:\bnot|n['’]t|\brather than|\binstead of)(?:\s+(?:a|an|the|at all|really|very))*\s*$", re.IGNORECASE
)

NEGATION_CHARACTERS = 200
"""The distance before a label at which a negation counts."""


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
        named = last_affirmed(polarity.text, task.answer_type.alternatives())
        answer = task.parse(named) if named else task.no_answer("the reply affirms none of the labels", polarity)
    return answer.with_extra(aspect=aspect, opinion=opinion, polarity=polarity.text.strip())


def last_affirmed(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that is named last and not right after a negation, whole words in any case."""
    affirmed = [
        name
        for start, _, name in ClosedSet(labels).places(text)
        if not NEGATION.search(text[max(0, start - NEGATION_CHARACTERS) : start])
    ]
    return affirmed[-1] if affirmed else None
