"""Contrastive chain of thought: demonstrations that show a right and a wrong explanation of the same question."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, groupby, zip_longest
from typing import Any, Final

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.prompts.prompt import WrittenExample
from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

_WRONG_SIDE: Final = re.compile(r"\n[ \t#*_]*wrong (?:explanation|answer)\b[ \t*_]*:", re.IGNORECASE)


@technique(calls="1", requests="1 + decided")
async def contrastive_cot(task: Task, *, seed: int = 0, max_tokens: Tokens | None = None) -> Answer:
    """Think like the right explanation of each demonstration, not like its wrong one (Chia et al. 2023).

    The wrong ones are made from the user's examples with thoughts: numbers, names or other objects in these change
    places, drawn by `seed`. One's own demonstrations come before these; without either, the shipped ones are shown
    where the answer is a number. `max_tokens` bounds the explanation, 256 where the step has no bound. Warns where no
    wrong one could be shown.
    """
    demos = task.own_demos("reason") or contrasts(task, seed) or task.demonstrations("reason")
    if not any("wrong_thoughts" in demo for demo in demos):
        task.warn("no_contrast")
    reply = await task.ask("reason", demos=demos, max_tokens=max_tokens)
    return await task.decide(reply.with_text(_WRONG_SIDE.split(reply.text, maxsplit=1)[0].rstrip()))


def contrasts(task: Task, seed: int) -> list[Mapping[str, Any]]:
    """Return the user's examples that have thoughts, each with a wrong side where its objects allow one."""
    return [
        {"input": example.input, "thoughts": example.thoughts, "output": example.output}
        | wrong_side(example, kind, random.Random(f"{seed}/{number}"))
        for number, (example, kind) in enumerate(zip(task.written_examples, task.example_types, strict=True))
        if example.thoughts
    ]


DRAWS: Final = 20

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?:])\s+|\n")
_BETWEEN_PHRASES: Final = re.compile(r"[^\w\s'’-]+")
_NOUN: Final = re.compile(
    r"\b(?:an?|the|this|that|these|those|his|her|its|their|each|every|no|some|any) ([^\W\d_][\w'’-]+)", re.IGNORECASE
)


def wrong_side(example: WrittenExample, kind: AnswerType, chance: random.Random) -> dict[str, str]:
    """Return an example's thoughts with their objects in another order, and a wrong answer.

    Where no draw is wrong, thoughts that name their label name another; else nothing is returned.
    """
    thoughts = example.thoughts or ""
    for find in _OBJECTS:
        pattern = find(thoughts)
        objects = pattern.findall(thoughts)
        for _ in range(DRAWS):
            drawn = chance.sample(objects, len(objects))
            if drawn == objects:
                continue
            answer = _wrong_answer(example.output, kind, pattern, dict(zip(objects, drawn, strict=True)), chance)
            if answer is not None:
                between = zip_longest(pattern.split(thoughts), drawn, fillvalue="")
                wrong = "".join(chain.from_iterable(between))
                return {"wrong_thoughts": _concluding(wrong, kind, example.output, answer), "wrong_output": answer}
    answer = _other_answer(example.output, kind, chance) or ""
    wrong = _concluding(thoughts, kind, example.output, answer)
    return {"wrong_thoughts": wrong, "wrong_output": answer} if answer and wrong != thoughts else {}


def _names(thoughts: str) -> Iterator[str]:
    """Yield the words with a capital that do not begin a sentence, those beside each other as one name."""
    for sentence in _SENTENCE_END.split(thoughts):
        _, _, rest = sentence.strip().partition(" ")
        for phrase in _BETWEEN_PHRASES.split(rest):
            for is_name, words in groupby(phrase.split(), lambda word: word[0].isupper() and word != "I"):
                if is_name:
                    yield " ".join(words)


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of whole words, the longest first; one that matches nothing for none."""
    longest_first = sorted(set(words), key=lambda word: (-len(word), word))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w)")


_OBJECTS: Final[tuple[Callable[[str], re.Pattern[str]], ...]] = (
    lambda thoughts: _NUMBER,
    lambda thoughts: _any_of(_names(thoughts)),
    lambda thoughts: _any_of(_NOUN.findall(thoughts)),
)


def _wrong_answer(
    right: str, kind: AnswerType, pattern: re.Pattern[str], moved: Mapping[str, str], chance: random.Random
) -> str | None:
    """Return another label or option, else the answer with its objects `moved`; None where that is right or no answer.

    `moved` has for each object of the thoughts what stands in its last place now; another number becomes what they end
    in.
    """
    if kind.alternatives():
        return _other_answer(right, kind, chance)
    last = list(moved.values())[-1]
    wrong = pattern.sub(lambda found: moved.get(found[0], last), right)
    try:
        differs = kind.vote_key(kind.parse(wrong)) != kind.vote_key(kind.parse(right))
    except Unparsed:
        return None
    return wrong if differs else None


def _other_answer(right: str, kind: AnswerType, chance: random.Random) -> str | None:
    """Return another label or option of a closed set; None where there is none."""
    others = [label for label in kind.alternatives() if label != right]
    return chance.choice(others) if others else None


def _concluding(thoughts: str, kind: AnswerType, right: str, wrong: str) -> str:
    """Return thoughts that end in the wrong answer: their last mention of the right label is the wrong one."""
    if kind.name != "label":
        return thoughts
    mentions = list(re.finditer(rf"(?<!\w){re.escape(right)}(?!\w)", thoughts, re.IGNORECASE))
    return thoughts[: mentions[-1].start()] + wrong + thoughts[mentions[-1].end() :] if mentions else thoughts
