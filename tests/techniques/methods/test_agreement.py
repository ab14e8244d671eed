"""Answers compared with the expected ones: spans relaxed, others as a whole, a missing answer never right."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.pool import Mistake, compare_answer, f1

TEXT = "no pain, high fever, aspirin"
KIND = build_answer_type({"spans": {"classes": ["problem", "drug"], "text": TEXT}})
NUMBER = build_answer_type("number")


def span(words: str, kind: str = "problem") -> dict[str, Any]:
    start = TEXT.index(words)
    return {"start": start, "end": start + len(words), "class": kind}


def answered(*spans: dict[str, Any]) -> Answer:
    return Answer(value=list(spans))


NOTHING = Answer(value=None, flag="unparsed")
PAIN, FEVER, HIGH_FEVER, DRUG = span("pain"), span("fever"), span("high fever"), span("aspirin", "drug")


@pytest.mark.parametrize(
    ("answer", "expected", "value"),
    [
        (answered(PAIN, FEVER), [PAIN, FEVER], 1.0),
        (answered(FEVER), [HIGH_FEVER], 1.0),
        (answered(PAIN), [PAIN, FEVER], 2 / 3),
        (answered(PAIN, FEVER), [PAIN], 2 / 3),
        (answered(span("aspirin")), [DRUG], 0.0),
        (answered(), [], 1.0),
        (answered(), [PAIN], 0.0),
        (NOTHING, [PAIN], 0.0),
        (NOTHING, [], 0.0),
        (answered(span("high"), FEVER), [HIGH_FEVER], 1.0),
    ],
)
def test_spans_that_overlap_and_are_of_one_class_agree(answer: Answer, expected: Any, value: float) -> None:
    assert f1([compare_answer(KIND, answer, expected)]) == pytest.approx(value)


def test_scores_are_over_all_spans_not_the_mean_of_the_rows() -> None:
    rows = [
        compare_answer(KIND, answered(PAIN, FEVER, DRUG), [PAIN, FEVER, DRUG]),
        compare_answer(KIND, answered(), [PAIN]),
    ]

    assert f1(rows) == pytest.approx(2 * 1.0 * 0.75 / 1.75)


def test_other_answers_agree_by_their_vote_key() -> None:
    rows = [compare_answer(NUMBER, Answer(value=value), 26) for value in (26, 26.0, 27)] + [
        compare_answer(NUMBER, NOTHING, 26)
    ]

    assert f1(rows) == pytest.approx(0.5)
    assert [each.mistakes for each in rows[2:]] == [
        (Mistake(answered="27", right="26"),),
        (Mistake(answered=None, right="26"),),
    ]


def test_the_mistakes_of_spans_are_told_by_class_and_words() -> None:
    comparison = compare_answer(KIND, answered(PAIN, span("aspirin")), [DRUG, HIGH_FEVER])

    assert comparison.mistakes == (
        Mistake(answered="problem", right="drug", words="aspirin"),
        Mistake(answered=None, right="problem", words="high fever"),
        Mistake(answered="problem", right=None, words="pain"),
    )
