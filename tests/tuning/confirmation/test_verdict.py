"""The verdict: `improved` only if the lower end of the paired interval on enough rows is above 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from promptkit.evaluation.statistics.paired import tango
from promptkit.tuning.confirmation.verdict import (
    Verdict,
    missing_share,
    paired_gain,
    rows_to_detect,
    smallest_detectable_gain,
    verdict_level,
    verdict_of,
)
from tests.tuning.simulated import Floats


def pairs(better: int, worse: int, rows: int) -> tuple[Floats, Floats]:
    """Scores of a pick and of the start that differ so often."""
    pick, start = np.ones(rows), np.ones(rows)
    start[:better] = 0
    pick[better : better + worse] = 0
    return pick, start


class TestVerdict:
    def test_it_is_improved_if_the_lower_end_is_above_0(self) -> None:
        assert verdict_of(0.001, rows=100) == Verdict("improved", "shown")

    @pytest.mark.parametrize("low", [0.0, -0.2])
    def test_it_is_not_shown_if_the_interval_holds_0(self, low: float) -> None:
        assert verdict_of(low, rows=100) == Verdict("not shown", "interval holds 0")

    def test_under_30_rows_nothing_is_shown(self) -> None:
        assert verdict_of(0.5, rows=29) == Verdict("not shown", "few rows")
        assert verdict_of(0.5, rows=30).outcome == "improved"

    def test_above_2_percent_missing_nothing_is_shown(self) -> None:
        assert verdict_of(0.5, rows=100, missing=0.021) == Verdict("not shown", "missing")
        assert verdict_of(0.5, rows=100, missing=0.02).outcome == "improved"


class TestRepeatedVerdicts:
    def test_each_has_half_of_the_error_of_the_one_before(self) -> None:
        assert [verdict_level(ordinal) for ordinal in (1, 2, 3)] == pytest.approx([0.95, 0.975, 0.9875])
        assert verdict_level(1, error=0.1) == pytest.approx(0.9)

    def test_all_together_falsely_say_improved_at_most_in_5_of_100(self) -> None:
        # Exact: 60 rows of which a fifth differ, each as likely for the pick as for the start.
        def errs(level: float) -> float:
            return sum(
                float(binom.pmf(differ, 60, 0.2) * binom.pmf(better, differ, 0.5))
                for differ in range(1, 31)
                for better in range(differ // 2, differ + 1)
                if verdict_of(tango(better, differ - better, 60, level=level).low, rows=100).outcome == "improved"
            )

        errors = [errs(verdict_level(ordinal)) for ordinal in range(1, 5)]
        assert 0.02 <= errors[0] <= 0.0284
        assert sum(errors) <= 0.05

    def test_they_are_counted_from_1(self) -> None:
        with pytest.raises(ValueError, match="counted from 1"):
            verdict_level(0)


class TestGain:
    @given(st.integers(0, 30), st.integers(0, 30))
    def test_right_and_wrong_rows_get_tangos_interval(self, better: int, worse: int) -> None:
        found = paired_gain(*pairs(better, worse, 60))

        assert (found.low, found.high) == tango(better, worse, 60)
        assert found.difference == pytest.approx((better - worse) / 60)

    def test_swapping_start_and_pick_swaps_the_sign(self) -> None:
        pick, start = pairs(12, 3, 60)
        there, back = paired_gain(pick, start), paired_gain(start, pick)

        assert (there.low, there.high) == pytest.approx((-back.high, -back.low))

    def test_other_pairs_of_the_same_scores_are_another_interval(self) -> None:
        pick, start = pairs(12, 3, 60)

        assert paired_gain(np.roll(pick, -3), start).low != paired_gain(pick, start).low

    def test_graded_scores_get_t_with_two_pseudo_rows(self) -> None:
        differences = np.array([0.0] * 15 + [0.5, 0.5, 1, -0.25, 0.33])
        start = np.where(differences < 0, 0.25, 0.0)
        found = paired_gain(start + differences, start)

        assert (found.low, found.high) == pytest.approx((-0.0471, 0.2362), abs=5e-5)

    def test_rows_of_a_cluster_are_one(self) -> None:
        pick, start = pairs(12, 0, 60)
        clusters = np.arange(60) // 6

        assert paired_gain(pick, start).low > 0
        assert paired_gain(pick, start, clusters=clusters).n == 10
        assert paired_gain(pick, start, clusters=clusters).low < paired_gain(pick, start).low

    def test_a_missing_pair_counts_against_the_pick_whichever_lacks_it(self) -> None:
        pick, start = pairs(12, 0, 60)
        gap = np.where(np.arange(60) == 40, np.nan, 0.0)

        for found in (paired_gain(pick + gap, start), paired_gain(pick, start + gap)):
            assert (found.better, found.worse, found.n) == (12, 1, 60)

    @given(st.integers(0, 99))
    def test_what_is_shown_with_rows_missing_is_shown_whatever_they_would_score(self, seed: int) -> None:
        chance = np.random.default_rng(seed)
        pick, start = (chance.integers(0, 2, 50).astype(float) for _ in range(2))
        there = chance.random((2, 50)) > 0.03
        shown = paired_gain(np.where(there[0], pick, np.nan), np.where(there[1], start, np.nan))

        assert shown.low <= paired_gain(pick, start).low + 1e-12

    def test_the_share_that_is_missing_counts_rows_that_either_lacks(self) -> None:
        assert missing_share([1, np.nan, 0, np.nan], [np.nan, 1, 0, np.nan]) == 0.75
        assert missing_share([], []) == 0

    def test_unlike_lengths_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not pairs"):
            paired_gain([1, 0], [1])


class TestHowManyRows:
    @pytest.mark.parametrize(("rows", "points"), [(36, 20), (120, 10), (500, 5)])
    def test_the_smallest_gain_that_so_many_rows_show(self, rows: int, points: float) -> None:
        shown = smallest_detectable_gain(rows)

        assert shown is not None
        assert 100 * shown == pytest.approx(points, rel=0.12)

    def test_so_few_that_only_large_gains_show(self) -> None:
        few, none = smallest_detectable_gain(18), smallest_detectable_gain(3)

        assert few is not None
        assert 0.25 < few < 0.35
        assert none is None

    @pytest.mark.parametrize(("rows", "gain"), [(6, 0.738), (16, 0.338), (25, 0.235)])
    def test_of_few_rows_as_many_more_differ_as_it_takes_in_steps_of_5_points(self, rows: int, gain: float) -> None:
        assert smallest_detectable_gain(rows) == pytest.approx(gain, abs=0.002)

    def test_later_verdicts_show_larger_gains_only(self) -> None:
        first, second = smallest_detectable_gain(120), smallest_detectable_gain(120, level=verdict_level(2))

        assert first is not None
        assert second is not None
        assert first < second

    def test_how_many_rows_would_tell_follows_from_the_spread(self) -> None:
        few = rows_to_detect(paired_gain(*pairs(4, 4, 100)))
        many = rows_to_detect(paired_gain(*pairs(15, 15, 100)))

        # About 9 and 30 of 100 rows differ.
        assert few == pytest.approx(280, abs=10)
        assert many == pytest.approx(955, abs=20)
        assert rows_to_detect(paired_gain(*pairs(15, 15, 100)), smallest=0.1) < many / 3

    def test_it_does_not_follow_from_the_difference(self) -> None:
        assert rows_to_detect(paired_gain(*pairs(15, 15, 100))) == rows_to_detect(paired_gain(*pairs(22, 8, 100)))

    def test_graded_scores_have_their_own_spread(self) -> None:
        chance = np.random.default_rng(0)
        start = chance.uniform(0.2, 0.8, 100)

        assert rows_to_detect(paired_gain(start + chance.normal(0, 0.1, 100), start)) < rows_to_detect(
            paired_gain(*pairs(15, 15, 100))
        )
