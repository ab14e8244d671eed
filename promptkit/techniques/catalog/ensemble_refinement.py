"""Ensemble refinement: sample explanations, show all of them, sample refined ones, and vote over their answers."""

import re
from collections.abc import Iterable

from promptkit.answers.base import AnswerType
from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Count, Tokens, Warmth
from promptkit.techniques.reading import one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

_ANSWER = r"(?:(?:so|thus|therefore|hence),? )?(?:the |my )?(?:final |correct )?answer(?: is\b|[*_]*:)|\\boxed\{"


@technique(needs={"sampling"}, calls="first + samples", requests="first + samples * (1 + decided)")
async def ensemble_refinement(
    task: Task, *, first: Count = 3, samples: Count = 3, temperature: Warmth = 0.7, max_tokens: Tokens = 120
) -> Answer:
    """Explain several times, then refine all explanations at once, several times, and vote (Singhal et al. 2023).

    Only the refined answers are in the vote. `max_tokens` bounds each explanation of the `first` stage. Warns where
    none of its replies explains anything.
    """
    reasons = await task.sample("reason", first, temperature=temperature, max_tokens=max_tokens)
    cues = [task.cue("refine"), *(exchange.cue for exchange in reasons)]
    explanations = [text for reason in reasons if (text := explanation(reason.said, cues, task.answer_type))]
    if not explanations:
        task.warn("unread_call")
    refined = await task.sample("refine", samples, temperature=temperature, explanations=explanations)
    return task.vote(await task.each(task.decide, refined)).with_extra(explanations=explanations)


def explanation(text: str, cues: Iterable[str], kind: AnswerType) -> str:
    """Return a reply on one line, up to the answer that it goes on to give; empty where it is the answer alone."""
    cue = "|".join([*(re.escape(text) for text in cues if text), _ANSWER])
    before = one_line(re.split(cue, text, maxsplit=1, flags=re.IGNORECASE)[0])
    has_words = any(map(str.isalnum, before))
    is_answer = kind.name != "text" and kind.whole(before.strip(" *_.")) is not None
    return before if has_words and not is_answer else ""
