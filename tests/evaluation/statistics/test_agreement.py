"""Kappa, AC1 and alpha against published examples and statsmodels."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.statistics.agreement import (
    OrderCounts,
    agreement_with_labels,
    both_orders,
    cohen_kappa,
    consistency,
    corrected_difference,
    corrected_mean,
    gwet_ac1,
    krippendorff_alpha,
    length_correlation,
    position_bias,
)
from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.statistics.paired import mid_p

NO = -1
# Krippendorff (2011), Computing Krippendorff's alpha-reliability, example C: four observers, twelve units.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NO, NO, NO],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NO, 3],
        [NO, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NO],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NO],
    ]
)


def judgements(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> tuple[list[int], list[int]]:
    observers, units = np.nonzero(table != NO)
    return table[observers, units].tolist(), units.tolist()


def from_table(table: list[list[int]]) -> tuple[list[int], list[int]]:
    """Two judges whose pairs of classes occur so often."""
    rows = [(i, j) for i, line in enumerate(table) for j, count in enumerate(line) for _ in range(count)]
    return [i for i, _ in rows], [j for _, j in rows]


pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40)


class TestTwoJudges:
    def test_kappas_own_example(self) -> None:
        """Cohen (1960), table 1, in 200ths."""
        a, b = from_table([[88, 14, 18], [10, 40, 10], [2, 6, 12]])

        assert cohen_kappa(a, b) == pytest.approx(0.492, abs=5e-4)

    def test_ac1_holds_where_kappa_collapses(self) -> None:
        """Gwet (2002): 118 of 125 on one class by both, kappa is negative."""
        a, b = from_table([[118, 5], [2, 0]])

        assert gwet_ac1(a, b) == pytest.approx(0.9408, abs=5e-5)
        assert cohen_kappa(a, b) == pytest.approx(-0.0234, abs=5e-5)

    @given(pairs)
    def test_kappa_is_what_statsmodels_says(self, rows: list[tuple[int, int]]) -> None:
        from statsmodels.stats.inter_rater import cohens_kappa, to_table

        a, b = zip(*rows, strict=True)
        kappa = cohen_kappa(a, b)
        if isnan(kappa):
            assert len({*a, *b}) == 1
            return
        assert kappa == pytest.approx(cohens_kappa(to_table(np.array(rows), bins=4)[0], return_results=False))

    @given(pairs)
    def test_neither_depends_on_who_is_first_nor_on_the_order_of_rows(self, rows: list[tuple[int, int]]) -> None:
        a, b = zip(*rows, strict=True)
        c, d = zip(*sorted(rows), strict=True)

        for agreement in (cohen_kappa, gwet_ac1):
            expected = pytest.approx(agreement(a, b), nan_ok=True)
            assert agreement(b, a) == expected
            assert agreement(c, d) == expected

    @given(pairs)
    def test_full_agreement_is_1(self, rows: list[tuple[int, int]]) -> None:
        a = [0, 1, *(one for one, _ in rows)]

        assert (cohen_kappa(a, a), gwet_ac1(a, a)) == pytest.approx((1, 1))

    def test_agreement_on_one_class_of_two_is_full_for_ac1_and_nothing_for_kappa(self) -> None:
        assert gwet_ac1([1, 1], [1, 1], classes=2) == 1
        assert isnan(gwet_ac1([1, 1], [1, 1]))
        assert isnan(cohen_kappa([1, 1], [1, 1]))

    def test_more_classes_than_there_could_be_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 classes occur where 2 could"):
            gwet_ac1([0, 1, 2], [0, 1, 1], classes=2)

    def test_rows_that_are_no_pairs_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not pairs"):
            cohen_kappa([1, 2], [1])


class TestAlpha:
    def test_krippendorffs_example(self) -> None:
        values, units = judgements(OBSERVERS)

        assert krippendorff_alpha(values, units) == pytest.approx(0.743, abs=5e-4)
        assert krippendorff_alpha(values, units, ordinal=True) == pytest.approx(0.815, abs=5e-4)

    def test_krippendorffs_example_of_two_observers_and_two_classes(self) -> None:
        """The same, example A."""
        table = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]])

        assert krippendorff_alpha(*judgements(table)) == pytest.approx(0.095, abs=5e-4)

    @given(st.permutations(range(60)))
    def test_the_order_of_judgements_does_not_matter(self, order: list[int]) -> None:
        values, units = judgements(OBSERVERS)
        order = [place for place in order if place < len(values)]

        assert krippendorff_alpha([values[i] for i in order], [units[i] for i in order]) == pytest.approx(
            krippendorff_alpha(values, units)
        )

    def test_a_unit_with_one_judgement_says_nothing(self) -> None:
        values, units = judgements(OBSERVERS)

        assert krippendorff_alpha([*values, 4], [*units, 99]) == krippendorff_alpha(values, units)

    def test_of_ordered_classes_only_the_order_counts(self) -> None:
        values, units = judgements(OBSERVERS)

        assert krippendorff_alpha([value**3 for value in values], units, ordinal=True) == pytest.approx(
            krippendorff_alpha(values, units, ordinal=True)
        )

    @given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=4), min_size=1, max_size=12), st.booleans())
    def test_it_is_one_less_the_disagreement_within_units_over_that_of_all(
        self, table: list[list[int]], ordinal: bool
    ) -> None:
        """From its definition, pair of judgements by pair."""
        values = [value for unit in table for value in unit]
        units = [number for number, unit in enumerate(table) for _ in unit]

        def distance(one: int, other: int) -> float:
            if one == other or not ordinal:
                return float(one != other)
            low, high = sorted((one, other))
            between = sum(low <= value <= high for value in values)
            return float((between - (values.count(one) + values.count(other)) / 2) ** 2)

        within = sum(
            distance(one, other) / (len(unit) - 1)
            for unit in table
            for i, one in enumerate(unit)
            for j, other in enumerate(unit)
            if i != j
        ) / len(values)
        overall = sum(
            distance(one, other) for i, one in enumerate(values) for j, other in enumerate(values) if i != j
        ) / (len(values) * (len(values) - 1))
        alpha = krippendorff_alpha(values, units, ordinal=ordinal)

        assert isnan(alpha) if not overall else alpha == pytest.approx(1 - within / overall)

    def test_of_one_class_or_of_no_pairs_it_is_not_defined(self) -> None:
        assert isnan(krippendorff_alpha([1, 1, 1], [0, 0, 1]))
        assert isnan(krippendorff_alpha([1, 2, 3], [0, 1, 2]))
        assert isnan(krippendorff_alpha([], []))

    def test_units_of_another_length_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not ratings"):
            krippendorff_alpha([1, 2], [1])


verdict = st.sampled_from([-1, 0, 1])
verdicts = st.lists(st.tuples(verdict, verdict), max_size=40)


class TestOrders:
    def test_a_row_is_won_only_in_both_orders(self) -> None:
        a_first = [1, -1, 1, -1, 0, 1, 0]
        b_first = [1, -1, -1, 1, 0, 0, -1]

        assert both_orders(a_first, b_first) == OrderCounts(wins=1, losses=1, first=1, last=1, same=3, n=7)

    @given(verdicts)
    def test_a_judge_that_names_the_sides_the_other_way_round_loses_what_it_won(
        self, rows: list[tuple[int, int]]
    ) -> None:
        one = both_orders([a for a, _ in rows], [b for _, b in rows])
        other = both_orders([-b for _, b in rows], [-a for a, _ in rows])

        assert (other.wins, other.losses, other.same, other.n) == (one.losses, one.wins, one.same, one.n)
        assert (other.first, other.last) == (one.first, one.last)

    def test_other_verdicts_are_refused(self) -> None:
        with pytest.raises(ValueError, match="1, -1 or 0"):
            both_orders([2], [1])
        with pytest.raises(ValueError, match="not pairs"):
            both_orders([1, 1], [1])


class TestPositionBias:
    def test_it_is_the_share_of_first_ones_less_that_of_last_ones(self) -> None:
        assert position_bias(15, 5) == pytest.approx((0.5, mid_p(15, 5)))
        assert position_bias(5, 15).bias == pytest.approx(-0.5)
        assert position_bias(7, 0).bias == 1

    def test_without_swayed_rows_there_is_none(self) -> None:
        assert position_bias(0, 0) == (0.0, 1.0)

    def test_a_judge_without_a_side_is_seldom_called_biased(self) -> None:
        from scipy.stats import binom

        chances = binom.pmf(range(41), 40, 0.5)
        called = [position_bias(first, 40 - first).p <= 0.05 for first in range(41)]

        assert 0.02 <= chances[called].sum() <= 0.05


def test_consistency_has_wilsons_interval() -> None:
    share = consistency(35, 50)

    assert (share.mean, share.n) == (0.7, 50)
    assert (share.low, share.high) == wilson(35, 50)
    assert isnan(consistency(0, 0).mean)


def noisy(rate: float, right: float, n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and a judge that has so many of them right."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < rate).astype(np.int64)
    return np.where(generator.random(n) < right, labels, 1 - labels), labels


class TestAgreement:
    def test_classes_of_like_size_get_kappa(self) -> None:
        judged, labels = noisy(0.5, 0.9, 100, seed=1)
        agreement = agreement_with_labels(judged, labels)

        assert agreement.method == "Cohen's kappa"
        assert agreement.value == pytest.approx(cohen_kappa(judged, labels))
        assert agreement.low < agreement.value < agreement.high
        same = int(np.sum(judged == labels))
        assert (agreement.raw.low, agreement.raw.high) == wilson(same, 100)

    def test_one_class_over_80_of_100_labels_gets_ac1(self) -> None:
        judged, labels = noisy(0.95, 0.95, 100, seed=2)
        agreement = agreement_with_labels(judged, labels)

        assert agreement.method == "Gwet's AC1"
        assert agreement.value == pytest.approx(gwet_ac1(judged, labels))

    def test_ordered_classes_get_alpha(self) -> None:
        generator = np.random.default_rng(3)
        labels = generator.integers(0, 5, 80)
        judged = np.clip(labels + generator.integers(-1, 2, 80), 0, 4)
        agreement = agreement_with_labels(judged, labels, ordinal=True)

        rows = list(range(80))
        assert agreement.method == "Krippendorff's alpha"
        assert agreement.value == pytest.approx(krippendorff_alpha([*judged, *labels], rows + rows, ordinal=True))
        assert agreement.low < agreement.value < agreement.high

    @given(st.permutations(range(60)))
    def test_the_order_of_rows_does_not_matter(self, order: list[int]) -> None:
        judged, labels = noisy(0.5, 0.8, 60, seed=4)

        def short(judged: np.ndarray, labels: np.ndarray) -> object:
            return agreement_with_labels(judged, labels, seed=1)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "promptkit.evaluation.statistics.agreement.percentile_interval",
                lambda statistic, n, **_: (statistic(np.arange(n // 2)), 1.0),
            )
            assert short(judged[order], labels[order]) == short(judged, labels)

    def test_labels_of_one_class_are_agreed_with_fully_or_not_defined(self) -> None:
        ones = np.ones(50, dtype=np.int64)

        assert agreement_with_labels(ones, ones)[1:] == ("Gwet's AC1", 1.0, 1.0, 1.0)
        assert isnan(agreement_with_labels(ones, ones, ordinal=True).low)

    def test_no_rows_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not pairs"):
            agreement_with_labels([], [])


def plain_interval(scores: np.ndarray, judged: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The interval as it is usually given, without two more corrections."""
    corrections = labels - judged
    mean = float(np.mean(scores) + np.mean(corrections))
    half = 1.959964 * sqrt(np.var(scores, ddof=1) / len(scores) + np.var(corrections, ddof=1) / len(corrections))
    return mean - half, mean + half


def ours(scores: np.ndarray, judged: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    return corrected_mean(scores, judged, labels)[1:3]


def covered(
    interval: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]],
    *,
    rows: int,
    labelled: int,
    right: float,
    rate: float,
) -> float:
    held = 0
    for seed in range(500):
        judged, labels = noisy(rate, right, rows + labelled, seed=seed)
        low, high = interval(judged[labelled:], judged[:labelled], labels[:labelled])
        held += low <= rate <= high
    return held / 500


class TestCorrectedMean:
    def test_it_is_the_judges_mean_and_what_it_is_off_by(self) -> None:
        mean = corrected_mean([1, 1, 0, 1], [1, 1, 1, 0], [1, 0, 0, 0])

        assert mean.mean == pytest.approx(0.75 - 0.5)
        assert mean.n == 8

    @pytest.mark.parametrize(("when_right", "when_wrong"), [(0.95, 0.4), (0.6, 0.6), (0.1, 0.9)])
    def test_it_is_without_bias_however_bad_the_judge(self, when_right: float, when_wrong: float) -> None:
        generator = np.random.default_rng(5)
        means, of_judge = [], []
        for _ in range(400):
            labels = (generator.random(400) < 0.7).astype(float)
            judged = (generator.random(400) < np.where(labels == 1, when_right, when_wrong)).astype(float)
            means.append(corrected_mean(judged[100:], judged[:100], labels[:100]).mean)
            of_judge.append(judged.mean())

        assert np.mean(means) == pytest.approx(0.7, abs=0.012)
        assert abs(np.mean(of_judge) - 0.7) > 0.08

    def test_a_good_judge_narrows_it_and_a_bad_one_does_not(self) -> None:
        def width(right: float) -> float:
            judged, labels = noisy(0.7, right, 2_100, seed=6)
            low, high = ours(judged[100:], judged[:100], labels[:100])
            return high - low

        low, high = wilson(70, 100)
        assert width(0.95) < 0.7 * (high - low)
        assert width(0.5) > high - low

    @pytest.mark.parametrize(
        ("rows", "labelled", "right", "rate"),
        [(2_000, 50, 0.97, 0.9), (2_000, 100, 0.99, 0.9), (200, 50, 0.7, 0.5), (200, 200, 0.9, 0.9)],
    )
    def test_it_holds_the_truth(self, rows: int, labelled: int, right: float, rate: float) -> None:
        assert covered(ours, rows=rows, labelled=labelled, right=right, rate=rate) >= 0.93

    def test_the_usual_interval_does_not_where_few_labels_meet_a_good_judge(self) -> None:
        assert covered(plain_interval, rows=2_000, labelled=50, right=0.97, rate=0.9) < 0.85

    def test_the_order_of_rows_does_not_matter(self) -> None:
        judged, labels = noisy(0.6, 0.8, 150, seed=7)

        assert corrected_mean(judged[50:], judged[:50], labels[:50]) == corrected_mean(
            judged[50:][::-1], judged[:50][::-1], labels[:50][::-1]
        )

    @given(
        st.lists(st.floats(0, 1), min_size=2, max_size=20),
        st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1),
    )
    def test_it_stays_within_0_and_1(self, scores: list[float], labelled: list[tuple[float, float]]) -> None:
        judged, labels = zip(*labelled, strict=True)
        mean = corrected_mean(scores, judged, labels)

        assert 0 <= mean.low <= mean.mean <= mean.high <= 1

    def test_a_judge_far_off_by_chance_gives_no_mean_beyond_1(self) -> None:
        mean = corrected_mean([1] * 500, [0] * 500, [1] * 500)

        assert mean.low <= mean.mean == mean.high == 1

    def test_too_little_is_refused(self) -> None:
        with pytest.raises(ValueError, match="too few"):
            corrected_mean([1, 0], [], [])
        with pytest.raises(ValueError, match="not pairs"):
            corrected_mean([1, 0], [1], [])
        with pytest.raises(ValueError, match="not a number"):
            corrected_mean([1, float("nan")], [1], [1])


class TestCorrectedDifference:
    def test_it_is_without_bias_where_the_judge_favours_one_side(self) -> None:
        generator = np.random.default_rng(8)
        differences, held = [], 0
        for _ in range(400):
            first = (generator.random(400) < 0.7).astype(float)
            second = (generator.random(400) < 0.6).astype(float)
            favoured = np.maximum(first, (generator.random(400) < 0.3).astype(float))
            corrected = corrected_difference(
                (favoured - second)[100:], (favoured - second)[:100], (first - second)[:100]
            )
            differences.append(corrected.difference)
            held += corrected.low <= 0.1 <= corrected.high

        assert np.mean(differences) == pytest.approx(0.1, abs=0.012)
        assert 0.93 <= held / 400 <= 0.98

    def test_labels_count_where_there_are_any(self) -> None:
        corrected = corrected_difference([1, 1, -1, 0], [1, 0], [-1, -1])

        assert (corrected.n, corrected.better, corrected.worse) == (6, 2, 3)
        assert -1 == corrected.low == corrected.difference < corrected.high <= 1  # 0.25 - 1.5, which no label can give

    def test_swapping_the_sides_swaps_the_sign(self) -> None:
        generator = np.random.default_rng(9)
        judged, labels = generator.integers(-1, 2, 60), generator.integers(-1, 2, 20)
        one = corrected_difference(judged[20:], judged[:20], labels)
        other = corrected_difference(-judged[20:], -judged[:20], -labels)

        assert (other.difference, other.low, other.high) == pytest.approx((-one.difference, -one.high, -one.low))
        assert (other.better, other.worse) == (one.worse, one.better)
        assert other.p == pytest.approx(one.p)


class TestLength:
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 400)), min_size=2, max_size=40))
    def test_it_is_scipys_rank_correlation(self, rows: list[tuple[int, int]]) -> None:
        from scipy.stats import spearmanr

        scores, tokens = zip(*rows, strict=True)
        correlation = length_correlation(scores, tokens)
        if len(set(scores)) < 2 or len(set(tokens)) < 2:
            assert isnan(correlation)
            return
        assert correlation == pytest.approx(spearmanr(scores, tokens).statistic)

    def test_other_lengths_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not pairs"):
            length_correlation([1, 2], [1])


@pytest.mark.parametrize(("of_20", "method"), [(15, "Cohen's kappa"), (16, "Cohen's kappa"), (17, "Gwet's AC1")])
def test_kappa_gives_way_to_ac1_above_80_percent_of_one_class(of_20: int, method: str) -> None:
    labels = [0] * of_20 + [1] * (20 - of_20)
    assert agreement_with_labels([*labels[1:], 0], labels).method == method


def test_one_row_has_no_kappa() -> None:
    assert isnan(cohen_kappa([0], [0]))


def corrected_variance(judged: list[float], judged_labelled: list[float], labels: list[float]) -> float:
    """Return the variance of a corrected mean, written out: label minus score has two pseudo-rows."""
    apart = np.subtract(labels, judged_labelled)
    r = float(np.sqrt(np.mean(apart[apart != 0] ** 2)))
    padded = [*apart, r, -r]
    return float(np.var(judged, ddof=1) / len(judged) + np.var(padded, ddof=1) / len(padded))


def test_the_corrected_mean_has_the_variance_of_its_two_samples() -> None:
    judged, judged_labelled, labels = [0.2, 0.4, 0.9, 0.7, 0.3, 0.5], [0.5, 0.6, 0.2, 0.8], [1.0, 0.0, 0.0, 1.0]
    variance = corrected_variance(judged, judged_labelled, labels)
    found = corrected_mean(judged, judged_labelled, labels)

    assert found.high - found.low == pytest.approx(min(1, 2 * 1.959964 * sqrt(variance)))
    assert found.effective == pytest.approx(found.mean * (1 - found.mean) / variance)


def test_a_corrected_mean_may_be_0_and_a_corrected_difference_1() -> None:
    assert corrected_mean([0.0] * 50, [0.0] * 10, [0.0] * 10).mean == 0
    assert corrected_difference([1.0] * 50, [1.0] * 10, [1.0] * 10).difference == 1


def test_the_p_of_a_corrected_difference_is_two_sided_and_normal() -> None:
    from scipy.stats import norm

    judged, judged_labelled, labels = [0.2, -0.1, 0.4, 0.0] * 30, [0.2, 0.0, -0.1, 0.3] * 10, [0.3, 0.0, -0.2, 0.4] * 10
    found = corrected_difference(judged, judged_labelled, labels)
    error = found.spread / sqrt(found.n)
    assert found.p == pytest.approx(2 * norm.sf(abs(found.difference) / error))
