"""Answers over a table: sets of values, compared as WikiTableQuestions' evaluation compares them."""

from typing import Any

import pytest

from promptkit.answers import build
from tests.evaluation.metrics.given import given, metric


@pytest.mark.parametrize(
    ("got", "expected", "right"),
    [
        ("Thailand", "thailand", True),
        (["b", "a"], ["a", "b"], True),
        (["a"], ["a", "b"], False),
        (["a", "a"], ["a"], True),
        ([["a"], ["b"]], ["b", "a"], True),
        ("1,234", 1234, True),
        ("12,34", 1234, False),
        (4.0000001, "4", True),
        (4.001, "4", False),
        ("4 apples", 4, False),
        ("2004-07-15", "2004-7-15", True),
        ("2004-07-xx", "2004-07-15", False),
        ("2004-xx-xx", 2004, True),
        ("2004-13-01", "2004-13-1", False),
        ("São Paulo", "sao paulo", True),
        ("“Yesterday”", "Yesterday", True),
        ("Berlin[3]", "Berlin", True),
        ("Berlin†", "Berlin", True),
        ("Arthur (first of his name)", "Arthur", True),
        ("10–12", "10-12", True),
        ("yes.", "Yes", True),
        ([], [], True),
        (None, "none", False),
        ({"a": 1}, 1, False),
        (True, "true", True),
        (float("nan"), 1, False),
    ],
)
def test_answers_are_sets_of_numbers_dates_and_texts(got: Any, expected: Any, right: bool) -> None:
    assert metric("table").measure(given(got, expected)).value == float(right)


def test_a_text_is_read_as_a_list_where_the_answer_is_one() -> None:
    answer = build({"list": {"of": "number", "separator": ";"}})
    assert metric("table").measure(given([3, 1200], "1200; 3", answer=answer)).value == 1
    assert metric("table").measure(given([3, 1200], ["1,200", "3"], answer=answer)).value == 1


@pytest.mark.parametrize("expected", [None, {"a": 1}, [None]])
def test_what_is_expected_must_be_values(expected: Any) -> None:
    assert metric("table").wrong_expected(expected)
