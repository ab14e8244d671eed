"""When a number is near enough."""

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.evaluation.metrics.given import given, metric


@pytest.mark.parametrize(
    ("got", "expected", "parameters", "right"),
    [
        ("26 apples", 26, {}, True),
        ("$1,234.50", "1234.5", {}, True),
        (0.51, 0.5, {"tolerance": 0.01}, True),
        (0.5101, 0.5, {"tolerance": 0.01}, False),
        (103, 100, {"relative": 0.03}, True),
        (-103.1, -100, {"relative": 0.03}, False),
        (104, 100, {"relative": 0.01, "tolerance": 4}, True),
        (10**400, 10**400 + 1, {"tolerance": 1}, True),
        (10**400, 1.0, {}, False),
        ("between 3 and 4", 3, {}, False),
        (True, 1, {}, False),
        (None, 0, {}, False),
        ([3], 3, {}, False),
        (float("nan"), 1, {"tolerance": 1e300}, False),
        (float("inf"), 1, {"tolerance": 1e300}, False),
    ],
)
def test_a_number_is_right_within_the_wider_tolerance(got: Any, expected: Any, parameters: Any, right: bool) -> None:
    assert metric("number", parameters).measure(given(got, expected)).value == float(right)


def test_a_wrong_number_says_how_far_off_it_is() -> None:
    assert metric("number").measure(given(5, 3.5)).detail == {"off": 1.5}
    assert "holds no number" in metric("number").measure(given("five", 5)).detail["problem"]


@pytest.mark.parametrize("expected", ["none", None, True, [1], float("nan")])
def test_what_is_expected_must_be_a_number(expected: Any) -> None:
    of = metric("number")
    assert of.wrong_expected(expected)
    with pytest.raises(ValueError):
        of.measure(given(1, expected))


@pytest.mark.parametrize("parameters", [{"tolerance": -1}, {"relative": float("nan")}, {"tolerance": float("inf")}])
def test_a_tolerance_is_a_finite_number_from_0(parameters: Any) -> None:
    with pytest.raises(ValidationError):
        metric("number", parameters)


@drawn(st.decimals(-1000, 1000, places=3), st.decimals(0, 10, places=3))
def test_the_edge_of_the_tolerance_is_right(expected: Any, tolerance: Any) -> None:
    of = metric("number", {"tolerance": float(tolerance)})
    assert of.measure(given(float(expected + tolerance), float(expected))).value == 1
