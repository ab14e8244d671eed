"""The order of techniques: what one gets for what one pays."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.recommendation.technique_comparison import TechniqueResult, TechniqueUsage, parse_specs, rank
from promptkit.techniques.spec import spec_text


def measured(name: str, right: int, requests: int, *, missing: int = 0, available: bool = True) -> TechniqueResult:
    return TechniqueResult(
        spec=name,
        name=name,
        rows=10,
        right=right,
        missing=missing,
        spent=TechniqueUsage(requests=requests * (10 - missing)),
        available=available,
    )


def order(*given_ones: TechniqueResult) -> list[tuple[str, str | None]]:
    return [(each.name, each.dominated_by) for each in rank(given_ones)]


def test_those_that_none_dominates_come_first_the_most_accurate_of_them_at_the_top() -> None:
    found = order(measured("cheap", 6, 1), measured("dear", 9, 10), measured("middle", 8, 2))

    assert found == [("dear", None), ("middle", None), ("cheap", None)]


def test_a_dominated_one_comes_after_and_names_the_best_that_dominates_it() -> None:
    found = order(measured("poor", 5, 2), measured("cheap", 6, 1), measured("dear", 9, 10), measured("good", 7, 2))

    assert found == [("dear", None), ("good", None), ("cheap", None), ("poor", "good")]


def test_of_equally_right_ones_the_dearer_is_dominated_and_of_equal_ones_neither() -> None:
    assert order(measured("dear", 7, 5), measured("cheap", 7, 1)) == [("cheap", None), ("dear", "cheap")]
    assert order(measured("a", 7, 1), measured("b", 7, 1)) == [("a", None), ("b", None)]


def test_what_is_incomplete_is_compared_with_none_and_what_is_unavailable_stands_last() -> None:
    found = order(measured("absent", 0, 0, available=False), measured("half", 5, 1, missing=5), measured("whole", 1, 9))

    assert found == [("whole", None), ("half", None), ("absent", None)]


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(1, 20)), min_size=1, max_size=12))
def test_going_down_the_front_one_pays_less_and_gets_less(amounts: list[tuple[int, int]]) -> None:
    found = rank([measured(str(number), *each) for number, each in enumerate(amounts)])
    front = [each for each in found if each.dominated_by is None]

    assert found[: len(front)] == front
    for upper, lower in pairwise(front):
        assert upper.accuracy >= lower.accuracy
        assert upper.per_row("requests") >= lower.per_row("requests")
    for each in found[len(front) :]:
        (by,) = [other for other in front if other.name == each.dominated_by]
        assert by.accuracy >= each.accuracy
        assert by.per_row("requests") <= each.per_row("requests")


def test_means_are_over_the_rows_that_have_an_answer() -> None:
    half = measured("half", 4, 2, missing=5)

    assert (half.n, half.accuracy, half.per_row("requests")) == (5, 0.8, 2)
    assert half.interval.low < 0.8 < half.interval.high


@pytest.mark.parametrize(
    "spec",
    ["vanilla", {"self_consistency": {"samples": 3}}, {"mine": {"on": ["a", True, None], "text": "1e5: {x", "f": 0.5}}],
)
def test_a_technique_reads_as_it_is_typed(spec: object) -> None:
    assert parse_specs(spec_text(spec)) == [spec]
