"""How many rows would tell."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.statistics.paired import tango
from promptkit.evaluation.statistics.power import (
    rows_for_bound,
    rows_needed,
    rows_needed_graded,
    rows_needed_within,
    smallest_shown,
    smallest_shown_graded,
)

NEEDED = [
    (0.05, 0.02, 979),
    (0.05, 0.03, 434),
    (0.1, 0.02, 1960),
    (0.1, 0.03, 870),
    (0.1, 0.05, 312),
    (0.2, 0.02, 3923),
    (0.2, 0.03, 1742),
    (0.2, 0.05, 626),
    (0.2, 0.1, 155),
    (0.3, 0.02, 5885),
    (0.3, 0.03, 2614),
    (0.3, 0.05, 940),
    (0.3, 0.1, 234),
    (0.3, 0.2, 57),
]


def power(rows: int, discordant: float, difference: float) -> float:
    """How often Tango's interval lies above 0, over all outcomes."""
    from scipy.stats import binom

    total = 0.0
    for differing in range(1, rows + 1):
        chance = float(binom.pmf(differing, rows, discordant))
        if chance < 1e-9:
            continue
        better = np.arange(differing + 1)
        shown = np.array([tango(int(b), differing - int(b), rows).low > 0 for b in better])
        total += chance * float(binom.pmf(better, differing, (1 + difference / discordant) / 2)[shown].sum())
    return total


class TestRowsNeeded:
    @pytest.mark.parametrize(("discordant", "difference", "rows"), NEEDED)
    def test_known_numbers(self, discordant: float, difference: float, rows: int) -> None:
        assert rows_needed(discordant, difference) == rows
        assert rows_needed(discordant, -difference) == rows

    @pytest.mark.parametrize(("discordant", "difference"), [(0.1, 0.05), (0.2, 0.1), (0.3, 0.2)])
    def test_with_so_many_80_to_84_of_100_runs_show_it(self, discordant: float, difference: float) -> None:
        assert 0.795 <= power(rows_needed(discordant, difference), discordant, difference) <= 0.84

    def test_more_rows_than_seen_must_differ_for_a_large_difference(self) -> None:
        assert rows_needed(0.02, 0.05) == rows_needed(0.05, 0.05) == 155

    def test_more_power_and_more_confidence_need_more(self) -> None:
        assert (
            rows_needed(0.2, 0.05) < rows_needed(0.2, 0.05, power=0.9) < rows_needed(0.2, 0.05, power=0.9, level=0.99)
        )

    @pytest.mark.parametrize(("discordant", "difference"), [(0.2, 0.0), (0.2, 1.1), (1.2, 0.1), (-0.1, 0.1)])
    def test_what_no_number_of_rows_shows_is_refused(self, discordant: float, difference: float) -> None:
        with pytest.raises(ValueError, match="no number of rows"):
            rows_needed(discordant, difference)


class TestGraded:
    def test_known_number(self) -> None:
        assert rows_needed_graded(0.3, 0.05) == 285  # (2.80 · 0.3/0.05)² + 2 = 284.2, of 2.8016

    def test_with_so_many_about_80_of_100_runs_show_it(self) -> None:
        from statsmodels.stats.power import TTestPower

        for sd, difference in [(0.3, 0.05), (0.2, 0.1), (0.4, 0.2)]:
            shown = TTestPower().power(difference / sd, rows_needed_graded(sd, difference), 0.05)
            assert 0.795 <= shown <= 0.82

    def test_what_no_number_of_rows_shows_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no number of rows"):
            rows_needed_graded(0.3, 0.0)


class TestSmallestShown:
    @pytest.mark.parametrize(
        ("discordant", "rows", "points"),
        [
            (0.1, 100, 8.5),
            (0.1, 200, 6),
            (0.1, 400, 4.5),
            (0.1, 1000, 3),
            (0.2, 30, 19.5),
            (0.2, 50, 16.5),
            (0.2, 100, 12),
            (0.2, 200, 9),
            (0.2, 400, 6.5),
            (0.2, 1000, 4),
            (0.3, 30, 25.5),
            (0.3, 50, 20.5),
            (0.3, 100, 15),
            (0.3, 200, 11),
            (0.3, 400, 8),
            (0.3, 1000, 5),
        ],
    )
    def test_known_differences_in_steps_of_half_a_point(self, discordant: float, rows: int, points: float) -> None:
        smallest = smallest_shown(discordant, rows)

        assert smallest is not None and points - 0.5 < 100 * smallest <= points

    @pytest.mark.parametrize("rows", [0, 1, 30, 50])
    def test_too_few_rows_show_none(self, rows: int) -> None:
        assert smallest_shown(0.1, rows) is None

    @pytest.mark.parametrize(("discordant", "rows"), [(0.2, 50), (0.3, 30), (1.0, 40)])
    def test_it_is_shown_in_80_of_100_of_all_outcomes(self, discordant: float, rows: int) -> None:
        smallest = smallest_shown(discordant, rows)

        assert smallest is not None and power(rows, discordant, smallest) == pytest.approx(0.8, abs=1e-4)

    @given(st.floats(0.01, 1), st.integers(1, 3_000))
    def test_no_fewer_rows_show_less_than_four_times_as_many(self, discordant: float, rows: int) -> None:
        few, many = smallest_shown(discordant, rows), smallest_shown(discordant, 4 * rows)

        assert (inf if few is None else few) >= (inf if many is None else many)

    def test_without_rows_that_differ_none_is_shown(self) -> None:
        assert smallest_shown(0.0, 100) is None


class TestSmallestShownGraded:
    @given(st.floats(0.05, 1), st.integers(10, 10_000), st.sampled_from([0.95, 0.975, 0.99]))
    def test_so_many_rows_are_needed_for_it(self, sd: float, rows: int, level: float) -> None:
        smallest = smallest_shown_graded(sd, rows, level=level)

        assert smallest is not None and abs(rows_needed_graded(sd, smallest, level=level) - rows) <= 1

    def test_two_rows_show_none(self) -> None:
        assert smallest_shown_graded(0.5, 2) is None

    def test_a_negative_deviation_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not a deviation"):
            smallest_shown_graded(-0.1, 10)


class TestRowsForBound:
    @given(st.integers(1, 200), st.integers(0, 200), st.floats(0.01, 0.99))
    def test_with_so_many_the_end_reaches_it_and_with_fewer_not(self, n: int, right: int, bound: float) -> None:
        rate = min(right, n) / n
        rows = rows_for_bound(rate, bound)
        if rows is None or rows > 1e12:
            assert rate == pytest.approx(bound, abs=1e-5)
            return

        def end(of: int) -> float:
            low, high = wilson_of_rate(rate, of)
            return bound - low if rate > bound else high - bound

        assert end(rows) <= 1e-9
        assert rows == 1 or end(rows - 1) >= -1e-9

    @pytest.mark.parametrize(("rate", "bound", "rows"), [(0.95, 0.8, 28), (1.0, 0.95, 73), (0.0, 0.05, 73)])
    def test_known_numbers(self, rate: float, bound: float, rows: int) -> None:
        assert rows_for_bound(rate, bound) == rows

    def test_no_number_shows_the_rate_itself(self) -> None:
        assert rows_for_bound(0.9, 0.9) is None

    def test_it_is_the_interval_that_the_rows_get(self) -> None:
        assert wilson(73, 73).low >= 0.95 > wilson(72, 72).low

    @pytest.mark.parametrize(("rate", "bound"), [(1.2, 0.5), (0.5, -0.1), (float("nan"), 0.5)])
    def test_what_is_no_rate_is_refused(self, rate: float, bound: float) -> None:
        with pytest.raises(ValueError, match="not rates"):
            rows_for_bound(rate, bound)


def wilson_of_rate(rate: float, n: int) -> tuple[float, float]:
    """Wilson's ends for a rate that need not be a count of n."""
    z = 1.959964
    spread = 1 + z * z / n
    half = z / spread * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    centre = (rate + z * z / (2 * n)) / spread
    return centre - half, centre + half


def test_pairs_without_a_spread_need_two_rows_and_show_any_difference() -> None:
    assert rows_needed_graded(0.0, 0.1) == 2
    assert smallest_shown_graded(0.0, 10) == 0


def test_graded_pairs_show_a_difference_from_three_rows_on() -> None:
    assert smallest_shown_graded(0.4, 2) is None
    assert smallest_shown_graded(0.4, 3) == pytest.approx(2.801585 * 0.4)
    assert smallest_shown_graded(0.4, 102) == pytest.approx(0.2801585 * 0.4)


def test_a_bound_or_rate_may_be_0_or_1_and_no_more() -> None:
    assert rows_for_bound(1, 0.9) == rows_for_bound(0, 0.1) == 35
    assert rows_for_bound(0.5, 1) == rows_for_bound(0.5, 0) == 1
    for rate, bound in [(0.5, 1.1), (0.5, -0.1), (1.1, 0.5), (-0.1, 0.5)]:
        with pytest.raises(ValueError, match="rates"):
            rows_for_bound(rate, bound)


@pytest.mark.parametrize("two_sided", [True, False])
def test_so_many_rows_show_that_equal_variants_are_within_a_margin(two_sided: bool) -> None:
    discordant, margin, runs = 0.2, 0.08, 300
    rows = rows_needed_within(sqrt(discordant), margin, two_sided=two_sided)
    generator, shown = np.random.default_rng(1), 0
    for _ in range(runs):
        better, worse, _ = generator.multinomial(rows, [discordant / 2, discordant / 2, 1 - discordant])
        low, high = tango(int(better), int(worse), rows)
        shown += -margin < low and (high < margin or not two_sided)

    assert 0.74 <= shown / runs <= 0.86


def test_equivalence_needs_more_rows_than_not_being_worse() -> None:
    assert rows_needed_within(0.5, 0.02, two_sided=True) == 6570
    assert rows_needed_within(0.5, 0.02, two_sided=False) == 4908


@pytest.mark.parametrize("margin", [0, -0.1])
def test_a_margin_is_above_0(margin: float) -> None:
    with pytest.raises(ValueError, match="not above 0"):
        rows_needed_within(0.5, margin, two_sided=True)
