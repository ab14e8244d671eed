"""Ensemble refinement: sample explanations, show all of them, sample refined ones, and vote over their answers."""

import re
from collections.abc import Iterable

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Count, Tokens, Warmth
from promptkit.techniques.reading import one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

_ANSWER = r"(?:(?:so|thus|therefore|hence),? )?(?:the |my )?(?:final |correct )?answer(?: is\b|[*_]*:)"


@technique(needs={"sampling"}, calls="first + samples", requests="first + samples * (1 + decided)")
async def ensemble_refinement(
    task: Task, *, first: Count = 3, samples: Count = 3, temperature: Warmth = 0.7, max_tokens: Tokens = 120
) -> Answer:
    """Explain several times, then refine all explanations at once, several times, and vote (Singhal et al. 2023).

    Only the refined answers are in the vote. `max_tokens` bounds each explanation of the `first` stage.
    """
    possible = task.answer_type.description()
    reasons = await task.sample("reason", first, temperature=temperature, max_tokens=max_tokens, answer=possible)
    cues = [task.cue("refine"), *(exchange.cue for exchange in reasons)]
    explanations = list(filter(None, (before(exchange.said, cues) for exchange in reasons)))
    refined = await task.sample("refine", samples, temperature=temperature, explanations=explanations)
    return task.vote(await task.each(task.decide, refined)).with_extra(explanations=explanations)


def before(text: str, cues: Iterable[str]) -> str:
    """Return a reply on one line, up to the answer that it goes on to give; empty where it is the answer alone."""
    cue = "|".join([*(re.escape(text) for text in cues if text), _ANSWER])
    return one_line(re.split(cue, text, maxsplit=1, flags=re.IGNORECASE)[0])
