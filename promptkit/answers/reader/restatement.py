"""Answers to a yes-or-no question that repeat its words: `Is it heavy?`, `So it is not heavy.`"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from promptkit.answers.reader.passages import MAX_PASSAGE

LEAST_SHARE: Final = 0.75
"""Share of the question's words that a sentence must repeat, in their order, to answer it."""

_YES_NO: Final = re.compile(
    r"(?:is|are|was|were|am|do|does|did|can|could|will|would|should|shall|has|have|had|may|might|must)\b", re.IGNORECASE
)
_QUESTION: Final = re.compile(r"[^.!?\n]+([.!?]?)")
_NOT: Final = re.compile(
    r"\b(?:not|never|no|none|nobody|nothing|neither|nor|cannot|hardly|unlikely|impossible|implausible|unable|fails?|without|false|untrue)\b|n['’]t\b",
    re.IGNORECASE,
)
_ASKED: Final = re.compile(
    r"\b(?:determine|know|tell|say|see|asks?|asking|asked"
    r"|decide|find out|verify|judge|unclear|unknown|check)\s(?:if|whether)\b",
    re.IGNORECASE,
)
_COMPARED: Final = re.compile(
    r"\b(?:greater|less|fewer|more|larger|smaller|higher|lower|bigger|longer|shorter|older|younger|taller|heavier|lighter"
    r"|faster|slower|minimum|maximum|equal)\b",
    re.IGNORECASE,
)
_EQUAL: Final = re.compile(r"\b(?:is|are|was|were) (?:equal to|the same as)\b", re.IGNORECASE)
_COMPARED_STEMS: Final = frozenset({"great", "less", "fewer", "more", "large", "small", "highe", "lower", "bigge"})
_UNSURE: Final = re.compile(
    r"\b(?:may|might|maybe|perhaps|possibly|could be|depends?|unclear|some|sometimes)\b", re.IGNORECASE
)
_COMMON: Final = frozenset(
    [
        "a",
        "an",
        "the",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "am",
        "do",
        "does",
        "did",
        "can",
        "could",
        "will",
        "would",
        "should",
        "shall",
        "has",
        "have",
        "had",
        "may",
        "might",
        "must",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "and",
        "or",
        "but",
        "if",
        "then",
        "than",
        "that",
        "this",
        "these",
        "those",
        "it",
        "its",
        "he",
        "she",
        "they",
        "them",
        "his",
        "her",
        "their",
        "there",
        "here",
        "as",
        "so",
        "not",
        "no",
        "still",
        "now",
        "ever",
        "also",
        "both",
        "all",
        "any",
        "some",
        "into",
        "about",
        "over",
        "under",
        "up",
        "out",
        "yes",
        "true",
        "false",
        "possible",
        "likely",
        "following",
        "sentence",
    ]
)
_WORD: Final = re.compile(r"[^\W_]+")
_LETTERS: Final = 5


def asked_question(prompt: str) -> str:
    """Return the last yes-or-no question of a prompt, else an empty text."""
    found = ""
    for match in _QUESTION.finditer(prompt[-MAX_PASSAGE:]):
        if match[1] != "?":
            continue
        begins = match.group().strip(" \t\"'“(*:-")
        start = next((word for word in re.split(r"[,;:]\s*", begins) if _YES_NO.match(word.strip(" \"'*"))), "")
        found = begins[begins.index(start) :] if start else found
    return found


def restated_verdict(sentence: str, question: str) -> bool | None:
    """Return True for a sentence that says what a yes-or-no question asks, False where it denies it, else None."""
    sentence, question = sentence[-MAX_PASSAGE:], question[-MAX_PASSAGE:]
    asked = _stems(question)
    if _ASKED.search(sentence):
        return None
    if len(asked) < 2 or (_UNSURE.search(sentence) and not _UNSURE.search(question)):
        return None
    if _EQUAL.search(sentence) and not _EQUAL.search(question) and _COMPARED.search(question):
        said = set(_stems(sentence))
        others = [stem for stem in asked if stem not in _COMPARED_STEMS]
        is_repeated = len(others) > 1 and sum(stem in said for stem in others) >= LEAST_SHARE * len(others)
        return False if is_repeated and not _NOT.search(sentence) else None
    if {word.casefold() for word in _COMPARED.findall(question)} - {
        word.casefold() for word in _COMPARED.findall(sentence)
    }:
        return None
    places = {stem: at for at, stem in enumerate(asked)}
    repeated = [places[stem] for stem in _stems(sentence) if stem in places]
    if _longest_rise(repeated) < LEAST_SHARE * len(asked):
        return None
    return _is_negative(sentence) == _is_negative(question)


def _stems(text: str) -> list[str]:
    """Return the first letters of a text's words that carry meaning, each once, in order."""
    words = (word.casefold() for word in _WORD.findall(text))
    return list(dict.fromkeys(word[:_LETTERS] for word in words if word not in _COMMON))


def _is_negative(text: str) -> bool:
    return len(_NOT.findall(text)) % 2 == 1


def _longest_rise(places: list[int]) -> int:
    """Return the length of the longest rising run of numbers, not necessarily next to each other."""
    ends: list[int] = []
    for place in places:
        at = bisect_right(ends, place)
        ends[at : at + 1] = [place]
    return len(ends)
