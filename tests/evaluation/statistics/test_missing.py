"""What can still be said where cells are missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.statistics.paired import against, missing_bounds, paired_binary

score = st.sampled_from([0.0, 1.0])
maybe = st.sampled_from([0.0, 1.0, float("nan")])
fill = st.lists(score, min_size=20, max_size=20)


def test_the_missing_could_all_be_wrong_or_all_right() -> None:
    assert missing_bounds(0.8, 0.1) == pytest.approx((0.72, 0.82))
    assert missing_bounds(0.8, 0.0) == pytest.approx((0.8, 0.8))


@given(st.lists(maybe, min_size=1, max_size=20), fill)
def test_bounds_hold_the_mean_whatever_the_missing_would_score(scores: list[float], others: list[float]) -> None:
    values = np.array(scores)
    absent = np.isnan(values)
    mean = 0.0 if absent.all() else float(np.mean(values[~absent]))
    low, high = missing_bounds(mean, float(np.mean(absent)))

    whole = float(np.mean(np.where(absent, others[: len(scores)], values)))
    assert low - 1e-9 <= whole <= high + 1e-9


def test_a_missing_score_counts_against_the_first() -> None:
    nan = float("nan")
    a, b = against([1, nan, 1, nan], [0, 1, nan, nan])

    assert (a.tolist(), b.tolist()) == ([1, 0, 1, 0], [0, 1, 1, 1])


@given(st.lists(st.tuples(maybe, maybe), min_size=1, max_size=20), fill, fill)
def test_what_is_shown_with_these_is_shown_whatever_the_missing_would_score(
    rows: list[tuple[float, float]], in_a: list[float], in_b: list[float]
) -> None:
    a, b = np.array(rows).T
    one = np.where(np.isnan(a), in_a[: len(rows)], a)
    other = np.where(np.isnan(b), in_b[: len(rows)], b)

    assert paired_binary(*against(a, b)).low <= paired_binary(one, other).low + 1e-9


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="no share"):
        missing_bounds(0.5, share)
