"""Edit similarity, against the table of distances written out."""

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from pytest import approx

from promptkit.evaluation.metrics.edit import LONGEST, distance
from tests.evaluation.metrics.given import given, metric


def by_table(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        above, row = row, [i]
        for j, right in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (left != right)))
    return row[-1]


@drawn(st.text("abcé", max_size=90), st.text("abcé", max_size=90))
def test_the_distance_is_that_of_the_table(a: str, b: str) -> None:
    assert distance(a, b) == by_table(a, b)


@pytest.mark.parametrize(
    ("got", "expected", "similarity"),
    [("kitten", "sitting", 1 - 3 / 7), ("", "", 1.0), ("", "abc", 0.0), (26, "26", 1.0), (None, "ab", 0.0)],
)
def test_similarity_is_what_need_not_be_edited(got: Any, expected: Any, similarity: float) -> None:
    assert metric("edit").measure(given(got, expected)).value == approx(similarity)


def test_a_text_beyond_measure_is_nothing_like_it() -> None:
    score = metric("edit").measure(given("a" * (LONGEST + 1), "a"))
    assert score.value == 0 and "more than" in score.detail["problem"]
    assert "more than" in str(metric("edit").wrong_expected("a" * (LONGEST + 1)))


@pytest.mark.parametrize("expected", [None, ["a"], {"a": 1}])
def test_what_is_expected_must_be_a_text(expected: Any) -> None:
    assert metric("edit").wrong_expected(expected)
