"""Verdicts of intervals, with and without a margin."""

from __future__ import annotations

from math import log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.metrics.base import Difference
from promptkit.evaluation.statistics.paired import tango
from promptkit.evaluation.verdicts import margin_ends, rows_for_margin, verdict_of


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (0.01, 0.05, None, "better"),
        (-0.05, -0.01, None, "worse"),
        (0.0, 0.05, None, "not shown"),
        (-0.01, 0.01, None, "not shown"),
        (-0.019, 0.05, 0.02, "no worse"),
        (-0.02, 0.05, 0.02, "not shown"),
        (-0.019, 0.019, 0.02, "equivalent"),
        (-0.019, 0.02, 0.02, "no worse"),
        (0.001, 0.019, 0.02, "equivalent"),
        (-0.019, -0.001, 0.02, "equivalent"),
        (0.001, 0.05, 0.02, "better"),
        (-0.05, -0.001, 0.02, "worse"),
        (-0.05, 0.019, 0.02, "not shown"),
        (None, 0.05, 0.02, None),
    ],
)
def test_an_interval_has_one_verdict(low: float | None, high: float | None, margin: float | None, verdict: str) -> None:
    assert verdict_of(low, high, higher_is_better=True, margin=margin) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.9, 1.09, "no worse"),
        (0.95, 1.09, "equivalent"),
        (0.95, 1.1, "not shown"),
        (0.7, 0.8, "better"),
        (1.05, 1.2, "worse"),
    ],
)
def test_a_ratio_is_within_a_share_by_factors_where_less_is_better(low: float, high: float, verdict: str) -> None:
    assert verdict_of(low, high, higher_is_better=False, is_ratio=True, margin=0.1) == verdict
    assert margin_ends(0.1, is_ratio=True) == pytest.approx((1 / 1.1, 1.1))


ENDS = st.floats(min_value=-1, max_value=1, allow_nan=False)


@given(ENDS, ENDS, st.floats(min_value=0.001, max_value=0.9))
def test_a_margin_never_turns_worse_into_better_and_swapped_sides_agree(
    one: float, other: float, margin: float
) -> None:
    low, high = sorted((one, other))
    plain, with_margin = (verdict_of(low, high, higher_is_better=True, margin=size) for size in (None, margin))
    swapped = verdict_of(-high, -low, higher_is_better=False, margin=margin)

    assert with_margin == swapped
    assert (plain, with_margin) not in {("worse", "better"), ("worse", "no worse"), ("better", "worse")}
    if plain == "not shown":
        assert with_margin in {"not shown", "no worse", "equivalent"}


def test_the_rows_for_a_margin_show_no_worse_four_times_in_five_where_the_two_are_equal() -> None:
    discordant, margin = 0.2, 0.05
    of_few = Difference(difference=0.0, n=100, spread=discordant, method="Tango's interval, McNemar's mid-p")

    rows = rows_for_margin(of_few, margin, level=0.95)

    assert rows is not None and 600 < rows < 680
    draws = np.random.default_rng(1)
    differing = draws.binomial(rows, discordant, size=400)
    better = draws.binomial(differing, 0.5)
    shown = [tango(int(b), int(d - b), rows).low > -margin for d, b in zip(differing, better, strict=True)]
    assert 0.74 < np.mean(shown) < 0.86


def test_the_rows_of_a_graded_score_and_of_a_ratio_come_from_the_deviation_of_a_pair() -> None:
    z = 1.959964 + 0.841621
    graded = Difference(difference=0.0, n=9, spread=0.3, method="t with two pseudo-rows, sign flips")
    ratio = Difference(difference=1.0, n=9, spread=0.3, is_ratio=True, method="ratio of geometric means, t")

    assert rows_for_margin(graded, 0.05, level=0.95) == pytest.approx((z * 0.3 / 0.05) ** 2 + 2, abs=1)
    assert rows_for_margin(ratio, 0.05, level=0.95) == pytest.approx((z * 0.3 / log1p(0.05)) ** 2 + 2, abs=1)
    assert rows_for_margin(Difference(difference=None), 0.05, level=0.95) is None
