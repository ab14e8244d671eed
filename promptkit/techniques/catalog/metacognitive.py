"""Metacognitive prompting: understand, judge, doubt the judgement, confirm it and say how sure, in one reply."""

import re

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

RANGE = re.compile(r"\(?\b0\s*%?\s*(?:-|–|to)\s*100\s*%?\)?")
PERCENT = re.compile(r"\b(100|\d{1,2})(?:\.\d+)?\s*(?:%|percent\b)", re.IGNORECASE)
LAST_STAGE = re.compile(r"\n[ \t#*_]*(?:(?:stage|step)?[ \t]*5\s*[.):]|[^\n]{0,60}\bconfiden)", re.IGNORECASE)
NUMBER = re.compile(r"\b(100|\d{1,2})\b(?!\.\d)")


@technique(roles=["question"], requests="1 + decided")
async def metacognitive(task: Task, *, max_tokens: Tokens = 350) -> Answer:
    """Go through five stages of reflection, then say the answer sentence (Wang and Zhao 2024).

    `max_tokens` bounds the stages. The confidence that the model states is in `extra`, in percent, None where it states
    none; nothing says that it is calibrated.
    """
    stages = await task.ask("answer", max_tokens=max_tokens, past_cue=True)
    confidence = read_confidence(stages.text)
    stages = without_sentence(stages) if task.decides else without_confidence(stages)
    return (await task.decide(stages, marked=True)).with_extra(confidence=confidence)


def without_sentence(stages: Exchange) -> Exchange:
    """Return the stages without an answer sentence in their last line: it is decided there."""
    before, _, last = stages.text.rstrip().rpartition("\n")
    concludes = stages.cue and last.strip().casefold().startswith(stages.cue.casefold())
    return stages.with_text(before) if concludes else stages


def without_confidence(stages: Exchange) -> Exchange:
    """Return the stages without what follows the answer sentence: the stage that says how sure the model is."""
    *before, last = re.split(re.escape(stages.cue), stages.text, flags=re.IGNORECASE) if stages.cue else [stages.text]
    if not before:
        return stages
    kept = LAST_STAGE.split(last, maxsplit=1)[0]
    return stages.with_text(stages.text[: len(stages.text) - len(last)] + kept)


def read_confidence(text: str) -> int | None:
    """Return the confidence stated in the last line that speaks of it and holds a number."""
    for line in reversed(text.splitlines()):
        if "confiden" in line.casefold():
            bare = RANGE.sub("", line)
            found = PERCENT.findall(bare) or NUMBER.findall(bare.casefold().partition("confiden")[2])
            if found:
                return int(found[0])
    return None
