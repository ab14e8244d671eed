"""Looks at growing data: bounds of the O'Brien-Fleming type, which together keep one level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.evaluation.statistics.group_sequential import chance_to_show, look_bounds, look_levels, spent_error
from promptkit.evaluation.statistics.interval import normal_quantile


@pytest.mark.parametrize(
    ("looks", "bounds"),
    [
        (2, (2.963, 1.969)),
        (3, (3.710, 2.511, 1.993)),
        (4, (4.333, 2.963, 2.359, 2.014)),
        (5, (4.877, 3.357, 2.680, 2.290, 2.031)),
    ],
)
def test_bounds_at_equal_looks_are_those_of_the_literature(looks: int, bounds: tuple[float, ...]) -> None:
    fractions = tuple((look + 1) / looks for look in range(looks))

    assert look_bounds(fractions) == pytest.approx(bounds, abs=6e-4)


def test_one_look_at_all_data_is_the_usual_interval() -> None:
    assert look_bounds((1.0,)) == (normal_quantile(0.95),)
    assert look_levels([1.0]) == pytest.approx([0.95])


def test_the_error_is_spent_by_the_fraction_and_whole_at_the_end() -> None:
    assert spent_error(1.0) == pytest.approx(0.025)
    assert spent_error(0.5) == pytest.approx(0.00153, abs=1e-5)
    assert spent_error(1.0, level=0.975) == pytest.approx(0.0125)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0.15, 0.95), min_size=1, max_size=3, unique_by=lambda share: round(share, 1)))
def test_a_look_depends_on_those_before_it_alone(shares: list[float]) -> None:
    fractions = sorted(shares)

    assert look_bounds((*fractions, 1.0))[:-1] == look_bounds(tuple(fractions))


def test_all_looks_together_reject_a_true_null_as_rarely_as_the_level_says() -> None:
    fractions = np.array([0.4, 0.6, 0.8, 1.0])
    chance = np.random.default_rng(0)
    steps = chance.normal(size=(100_000, 4)) * np.sqrt(np.diff(fractions, prepend=0.0))
    statistics = np.cumsum(steps, axis=1) / np.sqrt(fractions)
    passed = (statistics > np.array(look_bounds(tuple(fractions.tolist())))).any(axis=1)

    assert passed.mean() == pytest.approx(0.025, abs=0.0015)


def test_the_chance_to_still_show_a_gain_grows_with_what_is_seen_and_with_the_true_gain() -> None:
    assert chance_to_show(0.0, 0.5, 1.96, 0.0) == pytest.approx(0.0028, abs=1e-4)
    assert chance_to_show(0.0, 0.5, 1.96, 2.8) == pytest.approx(0.2142, abs=1e-3)
    assert chance_to_show(1.0, 0.5, 1.96, 2.8) > chance_to_show(0.0, 0.5, 1.96, 2.8)


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (0.5, 0.5), (0.8, 0.4), (0.5, 1.1)])
def test_fractions_that_do_not_rise_within_the_data_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="fraction"):
        look_bounds(fractions)
