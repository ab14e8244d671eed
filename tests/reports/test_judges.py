"""How far judges can be trusted, as the terminal and the page say it."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.evaluation.record import VariantRecord
from promptkit.reports.evaluation.judges import judge_facts, judge_lines, part_text

AGREEMENT = {
    "n": 60,
    "equal": {"mean": 0.8, "low": 0.68, "high": 0.88},
    "method": "Cohen's kappa",
    "value": 0.6,
    "low": 0.41,
    "high": 0.78,
}
PAIRS = {
    "wins": 30,
    "losses": 4,
    "ties": 6,
    "asked": 40,
    "consistency": {"mean": 0.85, "low": 0.71, "high": 0.93},
    "position bias": {"value": -0.1, "p": 0.2, "first": 2, "last": 4},
}


def variant(name: str, kind: str, parts: dict[str, Any]) -> VariantRecord:
    return VariantRecord.model_validate({"name": name, "metrics": {"helpful": {"kind": kind, "parts": parts}}})


def test_agreement_with_labels_stands_with_its_intervals() -> None:
    parts = {"judged": {"mean": 0.5, "low": 0.41, "high": 0.59}, "agreement with labels": AGREEMENT}
    lines = [line.plain for line in judge_lines([variant("a", "judge", parts)], 100)]

    assert lines == [
        "judges",
        "  helpful: the judge's own mean: 0.50 [0.41, 0.59]",
        "  helpful: agreement with labels: Cohen's kappa 0.60 [0.41, 0.78] (n 60), equal 0.80 [0.68, 0.88]",
    ]


def test_a_pairwise_judge_shows_its_verdicts_consistency_and_position_bias_but_not_of_the_baseline() -> None:
    baseline = variant("a", "pairwise", {"wins": 0, "losses": 0, "ties": 40, "asked": 0})
    facts = list(judge_facts([baseline, variant("b", "pairwise", PAIRS)]))

    assert {fact.variant for fact in facts} == {"b"}
    assert [fact.text for fact in facts] == [
        "30 wins, 4 losses, 6 ties; 40 pairs asked in both orders",
        "0.85 [0.71, 0.93]",
        "−0.10, p 0.20, first 2, last 4",
    ]


def test_a_single_verdict_is_counted_in_the_singular() -> None:
    pairs = {"wins": 1, "losses": 1, "ties": 1, "asked": 1}
    (fact,) = judge_facts([variant("b", "pairwise", pairs)])

    assert fact.text == "1 win, 1 loss, 1 tie; 1 pair asked in both orders"


def test_other_metrics_have_no_part_in_it() -> None:
    assert list(judge_lines([variant("a", "label", {"p95": 3.0})], 80)) == []
    assert list(judge_lines([], 80)) == []


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.123, "0.12"),
        (12000, "12,000"),
        (None, ""),
        ([1, 2], ""),
        (
            {"poor": {"mean": 0.1, "low": 0.0, "high": 0.2}, "good": {"mean": -0.1}},
            "poor 0.10 [0.00, 0.20], good −0.10",
        ),
        ({"value": None, "low": None, "high": None, "n": 3}, "(n 3)"),
        ({"n": 4, "equal": {"mean": 1.0, "low": 0.51, "high": 1.0}}, "equal 1.00 [0.51, 1.00] (n 4)"),
        (
            {
                "n": 60,
                "mean": 0.1,
                "low": 0.0,
                "high": 0.2,
                "by level": {"poor": {"mean": 0.2, "n": 9}},
                "median tokens": 8.0,
            },
            "0.10 [0.00, 0.20] (n 60), median tokens 8.00; by level: poor 0.20 (n 9)",
        ),
    ],
)
def test_a_part_of_any_form_has_a_text(part: Any, text: str) -> None:
    assert part_text(part) == text
