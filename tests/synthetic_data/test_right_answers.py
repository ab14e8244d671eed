"""Conditions on what is right of a run."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from promptkit.synthetic_data.right_answers import read_condition


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("accuracy >= 1", 1.0, True),
        ("accuracy>=1", 0.99, False),
        ("size < 10", 9.5, True),
        ("size > 10", 10.0, False),
        ("error == -0.5", -0.5, True),
        ("error <= 2", None, False),
    ],
)
def test_a_condition_compares_a_score_with_a_number(text: str, value: float | None, holds: bool) -> None:
    assert read_condition(text).holds(value) is holds


@pytest.mark.parametrize("text", ["", "accuracy", "accuracy >=", "accuracy = 1", "a b >= 1", "accuracy >= one"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="METRIC >= NUMBER"):
        read_condition(text)
