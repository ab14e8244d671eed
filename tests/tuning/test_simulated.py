"""The simulated model itself: its truth is what it says, and its rows are as hard for all as it says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tuning.simulated import FIELDS, SETTINGS, Hashed, answers, space


@pytest.mark.parametrize(
    ("rho", "rate", "differ"), [(0.5, 0.75, 26), (0.8, 0.75, 16), (0.9, 0.75, 11), (0.5, 0.85, 18)]
)
def test_candidates_are_right_at_their_rate_and_differ_as_rows_are_shared(rho: float, rate: float, differ: int) -> None:
    one, other = answers(np.array([rate, rate]), 100_000, rho, np.random.default_rng(0))

    assert one.mean() == pytest.approx(rate, abs=0.006)
    assert 100 * np.mean(one != other) == pytest.approx(differ, abs=1)


def test_the_same_by_name_is_the_same_in_whatever_order_it_is_asked() -> None:
    model = Hashed({"a": 0.75, "b": 0.75}, rho=0.5)
    rows = [f"row {number}" for number in range(3_000)]
    there = {row: (model.is_right("a", row), model.is_right("b", row)) for row in rows}
    back = {row: (model.is_right("a", row), model.is_right("b", row)) for row in reversed(rows)}

    assert there == back
    assert np.mean([a for a, _ in there.values()]) == pytest.approx(0.75, abs=0.03)
    assert 100 * np.mean([a != b for a, b in there.values()]) == pytest.approx(26, abs=3)
    assert there != {row: (Hashed(model.truth, 0.5, seed=1).is_right("a", row),) * 2 for row in rows}


@pytest.mark.parametrize("field", FIELDS)
def test_the_best_of_each_field_gets_three_quarters_or_a_little_more(field: str) -> None:
    rates = FIELDS[field](32, np.random.default_rng(1))

    assert len(rates) == 32
    assert 0.75 <= rates.max() <= 0.85
    assert rates.min() > 0.3


def test_there_are_168_settings() -> None:
    assert len(set(SETTINGS)) == 168


def test_a_space_has_its_start_at_the_rate_that_is_named_and_better_ones() -> None:
    model = space(3, start=0.62)

    assert model.truth.shape == (4, 12, 4, 6)
    assert model.truth[0, 0, 0, 0] == pytest.approx(0.62)
    assert model.truth.max() > 0.75
