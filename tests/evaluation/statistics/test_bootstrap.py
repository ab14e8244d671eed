"""Resampled intervals and swapped differences of numbers that have no formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptkit.evaluation.statistics.bootstrap import percentile_interval, swap_test

Floats = NDArray[np.float64]

eighths = st.integers(0, 8).map(lambda eighth: eighth / 8)


def difference_of(a: Floats, b: Floats) -> Callable[[NDArray[np.bool_]], float]:
    return lambda swapped: float((np.where(swapped, b, a) - np.where(swapped, a, b)).mean())


def test_the_interval_of_a_mean_is_near_that_of_scipys_bootstrap() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(1).normal(3, 2, 150)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=2).confidence_interval

    ours = percentile_interval(lambda places: float(values[places].mean()), len(values), seed=5)

    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.05)


def test_a_seed_gives_the_same_and_another_seed_another() -> None:
    values = np.random.default_rng(1).random(100)

    def interval(seed: int) -> tuple[float, float]:
        return percentile_interval(lambda places: float(values[places].mean()), 100, draws=200, seed=seed)

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


def test_a_higher_confidence_holds_a_lower_one() -> None:
    values = np.random.default_rng(1).random(100)

    def interval(level: float) -> tuple[float, float]:
        return percentile_interval(lambda places: float(values[places].mean()), 100, draws=500, level=level)

    assert interval(0.99)[0] < interval(0.9)[0] < interval(0.9)[1] < interval(0.99)[1]


def test_resamples_are_of_as_many_rows_and_only_of_these() -> None:
    seen = []
    percentile_interval(lambda places: seen.append(places) or 0.0, 7, draws=50)  # type: ignore[func-returns-value]

    assert len(seen) == 50
    assert {len(places) for places in seen} == {7}
    assert {int(place) for places in seen for place in places} == set(range(7))


def test_resamples_without_a_value_are_left_out() -> None:
    def of_two_classes(places: NDArray[np.int64]) -> float:
        return float("nan") if len(set(places % 2)) == 1 else 0.5

    assert percentile_interval(of_two_classes, 4) == (0.5, 0.5)
    with pytest.raises(ValueError, match="no value for any"):
        percentile_interval(lambda places: float("nan"), 4, draws=10)


def test_a_percentile_interval_of_100_rows_covers() -> None:
    generator = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        values = generator.random(100)
        low, high = percentile_interval(lambda places, v=values: float(v[places].mean()), 100, draws=400, seed=seed)  # type: ignore[misc]
        held += low <= 0.5 <= high

    assert 0.9 <= held / 200 <= 0.985


@given(st.lists(st.tuples(eighths, eighths), min_size=2, max_size=8))
@settings(max_examples=50)
def test_few_rows_are_swapped_in_all_ways_as_scipy_does(pairs: list[tuple[float, float]]) -> None:
    from scipy.stats import permutation_test

    a, b = np.array(pairs).T
    theirs = permutation_test(
        (a, b),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    as_large = np.abs(theirs.null_distribution) >= abs(theirs.statistic) * (1 - 1e-9)

    assert swap_test(difference_of(a, b), len(pairs)) == pytest.approx(float(as_large.mean()))


def test_many_rows_are_swapped_at_random_near_to_all_ways() -> None:
    a, b = np.random.default_rng(4).random((2, 12))
    b += 0.1

    exact, drawn = (swap_test(difference_of(a, b), 12, draws=draws) for draws in (5000, 4000))

    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.03)


def test_random_swaps_never_give_a_p_of_0() -> None:
    a, b = np.ones(40), np.zeros(40)

    assert swap_test(difference_of(a, b), 40, draws=99) == 1 / 100


def test_the_same_outputs_do_not_differ() -> None:
    a = np.random.default_rng(4).random(40)

    assert swap_test(difference_of(a, a), 40, draws=99) == 1


def test_swapping_all_is_the_opposite_and_none_the_difference_itself() -> None:
    masks = []

    def difference(swapped: NDArray[np.bool_]) -> float:
        masks.append(tuple(swapped))
        return 1.0 - 2 * float(swapped.mean())

    assert swap_test(difference, 3) == 2 / 8
    assert len(set(masks)) == 8


def test_where_there_is_no_difference_p_is_seldom_small() -> None:
    generator = np.random.default_rng(9)
    small = sum(swap_test(difference_of(*generator.random((2, 30))), 30, draws=199) <= 0.05 for _ in range(300))

    assert small / 300 <= 0.085


@pytest.mark.parametrize("n", [0, -1])
def test_no_rows_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="no rows"):
        percentile_interval(lambda places: 0.0, n)
    with pytest.raises(ValueError, match="no rows"):
        swap_test(lambda swapped: 0.0, n)


def test_a_difference_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="no value"):
        swap_test(lambda swapped: float("nan"), 5)


def test_an_interval_takes_2000_resamples_and_a_test_9999_swaps() -> None:
    calls: list[int] = []

    def counted(chosen: NDArray[Any]) -> float:
        calls.append(len(chosen))
        return float(chosen.sum())

    percentile_interval(counted, 5)
    assert len(calls) == 2000
    calls.clear()
    swap_test(counted, 20)
    assert len(calls) == 9999 + 1


def test_one_row_is_resampled_and_swapped() -> None:
    assert percentile_interval(lambda chosen: 3.0, 1) == (3.0, 3.0)
    assert swap_test(difference_of(np.array([1.0]), np.array([0.0])), 1) == 1


def test_all_swaps_are_tried_up_to_the_number_of_draws() -> None:
    apart = difference_of(np.ones(13), np.zeros(13))
    assert swap_test(apart, 13) == swap_test(apart, 13, draws=2**13) == 2 / 2**13


def test_random_swaps_turn_half_of_the_rows() -> None:
    a = np.array([1.0] * 12 + [0.0] * 4)
    signs = 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1) - 1
    exact = float(np.mean(np.abs(signs.sum(axis=1)) >= 8))
    assert swap_test(difference_of(a, 1 - a), 16) == pytest.approx(exact, abs=0.01)
