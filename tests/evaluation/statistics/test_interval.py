"""Wilson's interval of a rate."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.statistics import Z_95, Interval, wilson

counts = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), table I, method 3
        (1, 29, 0.0061, 0.1718),  # the same
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_known_intervals(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


@given(counts)
def test_it_is_what_scipy_says(given_counts: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    right, n = given_counts
    expected = binomtest(right, n).proportion_ci(method="wilson")

    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-7)


@given(counts)
def test_it_lies_within_0_and_1_and_holds_the_rate(given_counts: tuple[int, int]) -> None:
    right, n = given_counts

    low, high = wilson(right, n)

    assert 0 <= low <= right / n <= high <= 1
    assert high - low > 0


@given(counts, st.integers(2, 50))
def test_it_shrinks_with_more_rows_of_the_same_rate(given_counts: tuple[int, int], factor: int) -> None:
    right, n = given_counts
    few, many = wilson(right, n), wilson(right * factor, n * factor)

    assert many.high - many.low < few.high - few.low


@given(counts)
def test_right_and_wrong_are_mirrored(given_counts: tuple[int, int]) -> None:
    right, n = given_counts
    low, high = wilson(right, n)

    assert wilson(n - right, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(counts)
def test_its_ends_are_the_rates_from_which_the_observed_one_is_just_not_too_far(given_counts: tuple[int, int]) -> None:
    right, n = given_counts
    rate = right / n
    for end in wilson(right, n):
        assert abs(rate - end) == pytest.approx(Z_95 * sqrt(end * (1 - end) / n), rel=1e-6, abs=1e-9)


def test_no_rows_say_nothing() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(("right", "n"), [(-1, 3), (4, 3)])
def test_counts_that_are_none_are_refused(right: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{right} of {n}"):
        wilson(right, n)
