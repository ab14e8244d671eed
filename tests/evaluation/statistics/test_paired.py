"""Two variants on the same rows: Tango's interval, McNemar's mid-p, t with two pseudo-rows, sign flips, ratios."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptkit.evaluation.statistics.interval import Interval, normal_quantile
from promptkit.evaluation.statistics.paired import mid_p, paired_binary, paired_graded, paired_ratio, sign_flips, tango

Counts = tuple[int, int, int]
Floats = NDArray[np.float64]


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    n = draw(st.integers(1, 3_000))
    better = draw(st.integers(0, n))
    return better, draw(st.integers(0, n - better)), n


levels = st.sampled_from([0.8, 0.9, 0.95, 0.975, 0.99, 0.9999])


class TestTango:
    @pytest.mark.parametrize(
        ("better", "worse", "n", "low", "high"),
        [
            (8, 2, 50, -0.0047, 0.2548),
            (4, 0, 20, 0.0066, 0.4160),
            (0, 0, 30, -0.1135, 0.1135),
            (16, 6, 100, 0.0087, 0.1957),
            (1, 0, 200, -0.0139, 0.0278),
        ],
    )
    def test_known_intervals(self, better: int, worse: int, n: int, low: float, high: float) -> None:
        assert tango(better, worse, n) == pytest.approx((low, high), abs=5e-5)

    @given(counts(), levels)
    def test_it_excludes_0_exactly_when_mcnemars_score_test_rejects(self, given_counts: Counts, level: float) -> None:
        better, worse, n = given_counts
        low, high = tango(better, worse, n, level=level)
        z = normal_quantile(level)

        assert (low > 0 or high < 0) == (abs(better - worse) > z * sqrt(better + worse))

    @given(counts(), levels)
    def test_swapping_the_sides_swaps_its_sign(self, given_counts: Counts, level: float) -> None:
        better, worse, n = given_counts
        low, high = tango(better, worse, n, level=level)

        assert tango(worse, better, n, level=level) == pytest.approx((-high, -low), abs=1e-12)

    @given(counts(), levels)
    def test_it_holds_the_observed_difference_and_stays_within_minus_1_and_1(
        self, given_counts: Counts, level: float
    ) -> None:
        better, worse, n = given_counts
        low, high = tango(better, worse, n, level=level)

        assert -1 <= low <= (better - worse) / n <= high <= 1
        assert high > low

    @given(counts())
    def test_a_higher_level_is_a_wider_interval(self, given_counts: Counts) -> None:
        narrow, wide = tango(*given_counts, level=0.9), tango(*given_counts, level=0.99)

        assert wide.low <= narrow.low and narrow.high <= wide.high

    @settings(deadline=None)
    @given(counts())
    def test_at_its_ends_the_score_statistic_is_z(self, given_counts: Counts) -> None:
        """The restricted estimate is found here by maximising the likelihood, not by its closed form."""
        from scipy.optimize import minimize_scalar

        better, worse, n = given_counts
        for end in tango(better, worse, n):
            lowest, highest = max(0.0, -end), (1 - end) / 2
            if abs(end) > 0.999 or highest - lowest < 1e-6:
                continue

            def lost(q: float, end: float = end) -> float:
                rest = max(1e-300, 1 - 2 * q - end)
                first, second = max(1e-300, q + end), max(1e-300, q)
                return -float(better * np.log(first) + worse * np.log(second) + (n - better - worse) * np.log(rest))

            q = minimize_scalar(lost, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}).x
            error = sqrt(n * (2 * q + end * (1 - end)))
            assert abs(better - worse - n * end) == pytest.approx(1.959964 * error, rel=2e-3, abs=1e-3)

    def test_no_rows_say_nothing(self) -> None:
        assert tango(0, 0, 0) == Interval(-1.0, 1.0)

    @pytest.mark.parametrize("given_counts", [(-1, 0, 3), (0, -1, 3), (2, 2, 3)])
    def test_counts_that_are_none_are_refused(self, given_counts: Counts) -> None:
        with pytest.raises(ValueError, match="not counts of 3 rows"):
            tango(*given_counts)


def wald(better: int, worse: int, n: int) -> Interval:
    difference = (better - worse) / n
    half = 1.959964 * sqrt(max(0.0, (better + worse) / n - difference**2) / n)
    return Interval(difference - half, difference + half)


@cache
def outcomes(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All (better, worse) that n rows can give."""
    better, worse = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = better + worse <= n
    return better[possible], worse[possible]


@cache
def intervals(method: Callable[[int, int, int], Interval], n: int) -> tuple[Floats, Floats]:
    ends = np.array([method(int(b), int(c), n) for b, c in zip(*outcomes(n), strict=True)])
    return ends[:, 0], ends[:, 1]


def chances(n: int, discordant: float, difference: float) -> Floats:
    """The exact probability of each outcome."""
    from scipy.special import gammaln, xlogy

    better, worse = outcomes(n)
    first, second = (discordant + difference) / 2, (discordant - difference) / 2
    same = n - better - worse
    ways = gammaln(n + 1) - gammaln(better + 1) - gammaln(worse + 1) - gammaln(same + 1)
    logarithm: Floats = ways + xlogy(better, first) + xlogy(worse, second) + xlogy(same, 1 - discordant)
    return np.exp(logarithm)


def coverage(method: Callable[[int, int, int], Interval], n: int, discordant: float, difference: float) -> float:
    low, high = intervals(method, n)
    held = (low <= difference + 1e-12) & (difference - 1e-12 <= high)
    return float(100 * chances(n, discordant, difference)[held].sum())


Rejects = Callable[[NDArray[np.int64], NDArray[np.int64], int], NDArray[np.bool_]]


def largest_size(rejects: Rejects, n: int, *, up_to: float = 1.0) -> float:
    """The largest chance, over all discordant shares, that the first is shown to be better where none is."""
    wrong = rejects(*outcomes(n), n)
    return max(float(100 * chances(n, discordant, 0.0)[wrong].sum()) for discordant in np.linspace(0.005, up_to, 200))


def tango_favours_first(better: NDArray[np.int64], worse: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    return intervals(tango, n)[0] > 0


def mid_p_favours_first(better: NDArray[np.int64], worse: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    ps = np.array([mid_p(int(b), int(c)) for b, c in zip(better, worse, strict=True)])
    return (better > worse) & (ps <= 0.05)


SETTINGS = [(0.1, 0.0), (0.3, 0.0), (0.1, 0.05), (0.3, 0.2), (0.3, 0.1), (0.02, 0.01)]


class TestExactly:
    """Enumerated: no chance is in these."""

    @pytest.mark.parametrize(
        ("n", "discordant", "difference", "expected", "of_wald"),
        [
            (20, 0.1, 0.0, 98.6, 98.6),
            (20, 0.3, 0.0, 95.2, 93.1),
            (20, 0.1, 0.05, 99.5, 78.0),
            (20, 0.3, 0.2, 95.3, 93.1),
            (50, 0.1, 0.0, 95.3, 94.0),
            (50, 0.3, 0.1, 95.2, 94.3),
        ],
    )
    def test_coverage(self, n: int, discordant: float, difference: float, expected: float, of_wald: float) -> None:
        assert coverage(tango, n, discordant, difference) == pytest.approx(expected, abs=0.051)
        assert coverage(wald, n, discordant, difference) == pytest.approx(of_wald, abs=0.051)

    @pytest.mark.parametrize("n", [20, 50, 80])
    def test_it_holds_the_truth_at_least_944_times_in_1000_where_walds_interval_does_not(self, n: int) -> None:
        assert min(coverage(tango, n, *setting) for setting in SETTINGS) >= 94.4
        assert min(coverage(wald, n, *setting) for setting in SETTINGS) < 94.4

    @pytest.mark.parametrize(("n", "of_tango", "of_mid_p"), [(10, 2.65, 2.08), (30, 2.72, 2.44), (100, 2.84, 2.84)])
    def test_a_difference_the_wrong_way_round_is_shown_at_most_3_times_in_100(
        self, n: int, of_tango: float, of_mid_p: float
    ) -> None:
        assert largest_size(tango_favours_first, n) == pytest.approx(of_tango, abs=0.011)
        assert largest_size(mid_p_favours_first, n) == pytest.approx(of_mid_p, abs=0.011)

    @pytest.mark.parametrize("n", [10, 21, 31, 48, 50, 60])
    def test_that_holds_for_any_number_of_rows_unless_nearly_all_of_them_differ(self, n: int) -> None:
        """Of 21 rows that all differ 15 are better in 3.9 of 100."""
        assert largest_size(tango_favours_first, n, up_to=0.8) < 2.84

    @pytest.mark.parametrize(
        ("n", "discordant", "difference", "of_mid_p", "of_tango"),
        [(20, 0.3, 0.2, 31.4, 37.7), (50, 0.1, 0.0, 2.5, 4.7), (50, 0.3, 0.1, 24.0, 24.4)],
    )
    def test_power(self, n: int, discordant: float, difference: float, of_mid_p: float, of_tango: float) -> None:
        better, worse = outcomes(n)
        chance = chances(n, discordant, difference)
        low, high = intervals(tango, n)
        by_mid_p = mid_p_favours_first(better, worse, n) | mid_p_favours_first(worse, better, n)

        assert 100 * chance[(low > 0) | (high < 0)].sum() == pytest.approx(of_tango, abs=0.051)
        assert 100 * chance[by_mid_p].sum() == pytest.approx(of_mid_p, abs=0.051)


class TestMidP:
    @pytest.mark.parametrize(
        ("better", "worse", "p"),
        [
            (1, 7, 0.039),  # Fagerland, Lydersen & Laake (2013), table 2: airway hyper-responsiveness
            (4, 0, 0.0625),
            (0, 4, 0.0625),
            (3, 3, 1.0),
            (0, 0, 1.0),
        ],
    )
    def test_known_values(self, better: int, worse: int, p: float) -> None:
        assert mid_p(better, worse) == pytest.approx(p, abs=5e-4)

    @given(st.integers(0, 2_000), st.integers(0, 2_000))
    def test_it_is_the_exact_p_less_half_the_chance_of_what_was_seen(self, better: int, worse: int) -> None:
        from scipy.stats import binom

        differ = better + worse
        exact = min(1.0, 2 * float(binom.cdf(min(better, worse), differ, 0.5)))
        expected = 1.0 if better == worse else exact - float(binom.pmf(better, differ, 0.5))

        assert mid_p(better, worse) == pytest.approx(expected, abs=1e-9)

    @given(st.integers(0, 200), st.integers(0, 200))
    def test_it_is_less_than_the_exact_p(self, better: int, worse: int) -> None:
        from statsmodels.stats.contingency_tables import mcnemar

        assert mid_p(better, worse) <= mcnemar([[0, better], [worse, 0]], exact=True).pvalue + 1e-12

    def test_counts_that_are_none_are_refused(self) -> None:
        with pytest.raises(ValueError, match="-1 better"):
            mid_p(-1, 2)


class TestBinary:
    def test_rows_are_counted_in_pairs(self) -> None:
        a, b = np.zeros(50), np.zeros(50)
        a[:8] = 1
        b[8:10] = 1
        a[10:30] = b[10:30] = 1

        paired = paired_binary(a, b)

        assert (paired.n, paired.better, paired.worse) == (50, 8, 2)
        assert paired.difference == pytest.approx(0.12)
        assert (paired.low, paired.high) == tango(8, 2, 50)
        assert paired.p == mid_p(8, 2)
        assert paired.spread == pytest.approx(11 / 52)

    @given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60), st.randoms(use_true_random=False))
    def test_the_order_of_rows_does_not_matter(self, rows: list[tuple[bool, bool]], random: object) -> None:
        other = sorted(rows)

        assert paired_binary([a for a, _ in rows], [b for _, b in rows]) == paired_binary(
            [a for a, _ in other], [b for _, b in other]
        )

    def test_no_rows_say_nothing(self) -> None:
        paired = paired_binary([], [])

        assert (paired.difference, paired.low, paired.high, paired.p, paired.n) == (0.0, -1.0, 1.0, 1.0, 0)

    def test_other_scores_are_refused(self) -> None:
        with pytest.raises(ValueError, match="0 or 1"):
            paired_binary([0.5], [1])
        with pytest.raises(ValueError, match="not a number"):
            paired_binary([float("nan")], [1])

    def test_rows_that_are_no_pairs_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not pairs"):
            paired_binary([1, 0], [1])


scores = st.floats(0, 1, allow_subnormal=False)
cells = st.lists(st.tuples(scores, scores, st.integers(0, 6)), min_size=1, max_size=40)


class TestGraded:
    @pytest.mark.parametrize(
        ("differences", "low", "high"),
        [([0.0] * 15 + [0.5, 0.5, 1, -0.25, 0.33], -0.0471, 0.2362), ([0.0] * 20, -0.1368, 0.1368)],
    )
    def test_known_intervals(self, differences: list[float], low: float, high: float) -> None:
        a = np.maximum(differences, 0)
        paired = paired_graded(a, a - differences, range(20))

        assert (paired.low, paired.high) == pytest.approx((low, high), abs=5e-5)
        assert paired.difference == pytest.approx(sum(differences) / 20)
        assert paired.method == "t with two pseudo-rows, sign flips"

    @given(cells)
    def test_it_is_scipys_t_interval_of_the_differences_and_two_more(
        self, rows: list[tuple[float, float, int]]
    ) -> None:
        from scipy.stats import ttest_1samp

        a, b, clusters = (np.array(column) for column in zip(*rows, strict=True))
        size = len(a) / len(set(clusters))
        differences = [float(np.sum((a - b)[clusters == one])) / size for one in set(clusters)]
        differ = [one for one in differences if one]
        r = sqrt(np.mean(np.square(differ))) if differ else 1.0

        expected = ttest_1samp([*differences, r, -r], 0).confidence_interval(0.95)
        paired = paired_graded(a, b, clusters)

        assert paired.low == pytest.approx(max(-1, expected.low), abs=1e-9)
        assert paired.high == pytest.approx(min(1, expected.high), abs=1e-9)
        assert paired.difference == pytest.approx(float(np.mean(a) - np.mean(b)))

    @given(cells, levels)
    def test_swapping_the_sides_swaps_the_sign(self, rows: list[tuple[float, float, int]], level: float) -> None:
        a, b, clusters = zip(*rows, strict=True)
        one, other = paired_graded(a, b, clusters, level=level), paired_graded(b, a, clusters, level=level)

        assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)
        assert other.difference == pytest.approx(-one.difference, abs=1e-12)
        assert (other.better, other.worse, other.p) == (one.worse, one.better, one.p)

    @given(cells, st.permutations(range(40)))
    def test_the_order_of_rows_does_not_matter(self, rows: list[tuple[float, float, int]], order: list[int]) -> None:
        shuffled = [rows[index] for index in order if index < len(rows)]

        assert paired_graded(*zip(*rows, strict=True)) == paired_graded(*zip(*shuffled, strict=True))

    @given(cells, levels)
    def test_it_holds_the_observed_difference(self, rows: list[tuple[float, float, int]], level: float) -> None:
        paired = paired_graded(*zip(*rows, strict=True), level=level)

        assert -1 <= paired.low <= paired.difference <= paired.high <= 1
        assert 0 < paired.p <= 1

    def test_repeats_that_agree_say_no_more_than_one(self) -> None:
        generator = np.random.default_rng(1)
        a, b = generator.random(30), generator.random(30)

        once = paired_graded(a, b, range(30))
        five = paired_graded(np.repeat(a, 5), np.repeat(b, 5), np.repeat(np.arange(30), 5))

        assert five[:7] == pytest.approx(once[:7])

    def test_it_is_the_same_under_one_seed(self) -> None:
        generator = np.random.default_rng(2)
        a, b = generator.random(40), generator.random(40)

        assert paired_graded(a, b, range(40), seed=5) == paired_graded(a, b, range(40), seed=5)

    def test_scores_of_another_scale_are_not_cut_off(self) -> None:
        paired = paired_graded([50.0, 80, 90], [1.0, 2, 3], range(3))

        assert paired.low < paired.difference == pytest.approx(214 / 3) and paired.high > paired.difference

    def test_it_covers_where_t_collapses(self) -> None:
        """97 % of rows equal, the rest skewed, 20 rows: t holds the truth in 4 of 10."""
        generator = np.random.default_rng(3)
        truth = 0.03 * 0.4
        held = 0
        for _ in range(400):
            differences = (generator.random(20) < 0.03) * (1.2 * generator.random(20) - 0.2)
            a = np.maximum(differences, 0)
            paired = paired_graded(a, a - differences, range(20))
            held += paired.low <= truth <= paired.high

        assert held / 400 > 0.93

    def test_no_cells_say_nothing(self) -> None:
        paired = paired_graded([], [], [])

        assert (paired.difference, paired.low, paired.high, paired.p, paired.n) == (0.0, -1.0, 1.0, 1.0, 0)

    def test_clusters_of_another_length_are_refused(self) -> None:
        with pytest.raises(ValueError, match="2 values have cluster codes"):
            paired_graded([0.5, 0.6], [0.1, 0.2], [1])

    def test_missing_scores_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not a number"):
            paired_graded([0.5, float("nan")], [0.1, 0.2], [1, 2])


class TestSignFlips:
    @settings(deadline=None)
    @given(st.lists(st.integers(-4, 4), min_size=1, max_size=10))
    def test_few_differences_give_scipys_exact_p(self, differences: list[int]) -> None:
        from scipy.stats import permutation_test

        if not any(differences):
            assert sign_flips(differences) == 1.0
            return
        scaled = np.array([one for one in differences if one]) / 4
        if len(scaled) == 1:
            assert sign_flips(scaled) == 1.0
            return
        expected = permutation_test(
            (scaled,), np.sum, permutation_type="samples", alternative="two-sided", n_resamples=inf
        )

        assert sign_flips(np.array(differences) / 4) == pytest.approx(expected.pvalue)

    def test_many_differences_give_about_the_p_of_all_flips(self) -> None:
        from scipy.stats import wilcoxon

        ranks = np.array([-3, -6, 1, 2, 4, 5, 7, 8, 9, 10, 11, -12, 13, 14, -15, 16, 17, -18, 19, -20], dtype=float)

        assert sign_flips(ranks) == pytest.approx(wilcoxon(ranks, method="exact").pvalue, abs=0.015)

    def test_no_p_is_below_what_the_draws_can_show(self) -> None:
        assert sign_flips(np.ones(40)) == pytest.approx(1 / 10_000)

    def test_sums_that_are_equal_but_for_rounding_are_hits(self) -> None:
        assert sign_flips([0.1, 0.2, 0.3]) == sign_flips([1, 2, 3]) == 0.25
        assert sign_flips([0.1, 0.2, -0.3]) == 1.0

    def test_it_rejects_seldom_where_nothing_differs(self) -> None:
        generator = np.random.default_rng(4)
        ps = [sign_flips(generator.normal(size=25), draws=399, seed=seed) for seed in range(600)]

        assert 0.03 <= np.mean(np.array(ps) <= 0.05) <= 0.07

    def test_it_draws_in_parts_where_there_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("promptkit.evaluation.statistics.paired.FLIPS_AT_ONCE", 1_000)
        differences = np.random.default_rng(5).normal(0.2, 1, size=30)

        in_parts = sign_flips(differences)
        monkeypatch.undo()

        assert in_parts == pytest.approx(sign_flips(differences), abs=0.02)


amounts = st.floats(0.001, 1e6)
spent = st.lists(st.tuples(amounts, amounts, st.integers(0, 6)), min_size=1, max_size=40)


class TestRatio:
    @given(st.lists(st.tuples(amounts, amounts), min_size=2, max_size=40))
    def test_it_is_scipys_t_of_the_logarithms(self, rows: list[tuple[float, float]]) -> None:
        from scipy.stats import ttest_rel

        a, b = np.array(rows).T
        logs = np.log(a) - np.log(b)
        if np.std(logs) < 1e-6:
            return
        expected = ttest_rel(np.log(a), np.log(b))
        paired = paired_ratio(a, b, range(len(a)))
        ends = expected.confidence_interval(0.95)

        assert paired.p == pytest.approx(expected.pvalue, abs=1e-9)
        assert np.log(paired.difference) == pytest.approx(float(np.mean(logs)), abs=1e-9)
        if paired.low and paired.high < inf:
            assert (np.log(paired.low), np.log(paired.high)) == pytest.approx((ends.low, ends.high), abs=1e-6)

    def test_twice_as_many_is_2(self) -> None:
        paired = paired_ratio([20, 40, 60], [10, 20, 30], range(3))

        assert (paired.difference, paired.low, paired.high) == pytest.approx((2, 2, 2))
        assert (paired.better, paired.worse, paired.n) == (0, 3, 3)

    @given(spent)
    def test_swapping_the_sides_inverts_it(self, rows: list[tuple[float, float, int]]) -> None:
        a, b, clusters = zip(*rows, strict=True)
        one, other = paired_ratio(a, b, clusters), paired_ratio(b, a, clusters)

        assert other.difference * one.difference == pytest.approx(1)
        assert (other.better, other.worse) == (one.worse, one.better)

    @given(spent, st.permutations(range(40)))
    def test_the_order_of_rows_does_not_matter(self, rows: list[tuple[float, float, int]], order: list[int]) -> None:
        shuffled = [rows[index] for index in order if index < len(rows)]

        assert paired_ratio(*zip(*rows, strict=True)) == paired_ratio(*zip(*shuffled, strict=True))

    def test_amounts_of_0_are_left_out_and_said(self) -> None:
        paired = paired_ratio([0, 20, 30, 0], [5, 10, 15, 0], range(4))

        assert (paired.n, paired.difference) == pytest.approx((2, 2))
        assert paired.method.endswith("2 with an amount of 0 left out")

    def test_one_row_has_no_interval(self) -> None:
        paired = paired_ratio([2], [1], [0])

        assert (paired.difference, paired.low, paired.high, paired.p) == pytest.approx((2, 0, inf, 1))

    def test_no_rows_say_nothing(self) -> None:
        paired = paired_ratio([0.0], [0.0], [0])

        assert (paired.difference, paired.low, paired.high, paired.n) == (1.0, 0.0, inf, 0)

    def test_negative_amounts_are_refused(self) -> None:
        with pytest.raises(ValueError, match="is negative"):
            paired_ratio([-1], [1], [0])


def test_all_flips_are_tried_of_14_differences_and_random_ones_of_more() -> None:
    assert sign_flips([1.0] * 14) == 2 / 2**14
    assert sign_flips([1.0] * 15) >= 1 / 10_000 > 2 / 2**15


def test_where_every_flip_is_a_hit_p_is_1() -> None:
    assert sign_flips([1.0, -1.0] * 8) == 1


def test_random_flips_turn_every_difference() -> None:
    signs = 2 * (np.arange(2**18)[:, None] >> np.arange(18) & 1) - 1
    differences = np.array([10.0, -10.0, *[1.0] * 16])
    exact = float(np.mean(np.abs(signs @ differences) >= abs(differences.sum())))
    assert sign_flips(differences) == pytest.approx(exact, abs=0.02)


def test_scores_beyond_1_may_differ_by_more_than_1() -> None:
    found = paired_graded([1.5, 0.0, 1.5], [0.0, 0.0, 0.0], [0, 1, 2])
    assert found.low < -1 and found.high > 1


def test_an_amount_of_0_on_either_side_has_no_ratio() -> None:
    for a, b in [([0, 1, 2], [1, 1, 1]), ([1, 1, 1], [0, 1, 2])]:
        found = paired_ratio(a, b, [0, 1, 2])
        assert (found.n, np.isfinite(found.difference)) == (2, True)


def test_one_ratio_has_no_interval_and_equal_ratios_are_certain() -> None:
    one = paired_ratio([2], [1], [0])
    assert (one.low, one.high, one.p, one.spread) == (0, inf, 1, 0)
    assert paired_ratio([2, 2], [1, 1], [0, 1]).p == 0
    assert paired_ratio([1, 1], [1, 1], [0, 1]).p == 1
