"""How answers agree with those expected, and which mistakes they make, the frequent ones first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptkit.answers import AnswerType, Spans
from promptkit.techniques.context import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What an answer said, and what is right: of spans the classes of some `words`; None where one has nothing."""

    said: str | None
    right: str | None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An answer beside the one expected. Of spans each counts, relaxed; of other types the answer as a whole."""

    said: int
    said_right: int
    expected: int
    found: int
    mistakes: tuple[Mistake, ...]


def compare(kind: AnswerType, answer: Answer, expected: Any) -> Comparison:
    """Compare an answer with the one expected.

    A span is right where one of its class overlaps it. No answer is a mistake even where nothing is expected.
    """
    if isinstance(kind, Spans):
        return _compare_spans(kind, answer, list(expected))
    right = answer.flag is None and kind.vote_key(answer.value) == kind.vote_key(expected)
    said = None if answer.flag else kind.write(answer.value)
    mistakes = () if right else (Mistake(said=said, right=kind.write(expected)),)
    return Comparison(said=1, said_right=int(right), expected=1, found=int(right), mistakes=mistakes)


def score(comparisons: Iterable[Comparison]) -> float:
    """Return F1 over all comparisons; for answers that are one whole it is the share of right ones."""
    every = list(comparisons)
    said, expected = sum(each.said for each in every), sum(each.expected for each in every)
    if not said and not expected:
        return 1.0
    precision = sum(each.said_right for each in every) / said if said else 0.0
    recall = sum(each.found for each in every) / expected if expected else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _compare_spans(kind: Spans, answer: Answer, expected: Sequence[Mapping[str, Any]]) -> Comparison:
    said = [] if answer.flag else list(answer.value)
    mistakes = tuple(_span_mistakes(kind, said, expected))
    return Comparison(
        said=len(said) + (answer.flag is not None),
        said_right=sum(_has(span, expected) for span in said),
        expected=len(expected),
        found=sum(_has(span, said) for span in expected),
        mistakes=mistakes,
    )


def _span_mistakes(
    kind: Spans, said: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]
) -> Iterator[Mistake]:
    """Yield a mistake for each span that is missed or called otherwise, and for each that is none."""
    for span in expected:
        if not _has(span, said):
            other = next((each["class"] for each in said if _overlap(each, span)), None)
            yield Mistake(said=other, right=span["class"], words=kind.words(span))
    for span in said:
        if not any(_overlap(span, each) for each in expected):
            yield Mistake(said=span["class"], right=None, words=kind.words(span))


def _has(span: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> bool:
    return any(_overlap(span, other) and span["class"] == other["class"] for other in others)


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["start"] < other["end"] and other["start"] < one["end"])
