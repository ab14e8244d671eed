"""Kappa, AC1 and alpha against published examples and statsmodels."""

from __future__ import annotations

from math import isnan

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


class TestLength:
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 400)), min_size=10, max_size=40))
    def test_it_is_scipys_rank_correlation(self, rows: list[tuple[int, int]]) -> None:
        from scipy.stats import spearmanr

        scores, tokens = zip(*rows, strict=True)
        correlation = length_correlation(scores, tokens)
        if len(set(scores)) < 2 or len(set(tokens)) < 2:
            assert isnan(correlation)
            return
        assert correlation == pytest.approx(spearmanr(scores, tokens).statistic)

    def test_it_is_not_defined_for_fewer_than_ten_rows(self) -> None:
        assert length_correlation(range(10), range(10)) == pytest.approx(1)
        assert isnan(length_correlation(range(9), range(9)))

    def test_other_lengths_are_refused(self) -> None:
        with pytest.raises(ValueError, match="not pairs"):
            length_correlation([1, 2], [1])


@pytest.mark.parametrize(("of_20", "method"), [(15, "Cohen's kappa"), (16, "Cohen's kappa"), (17, "Gwet's AC1")])
def test_kappa_gives_way_to_ac1_above_80_percent_of_one_class(of_20: int, method: str) -> None:
    labels = [0] * of_20 + [1] * (20 - of_20)
    assert agreement_with_labels([*labels[1:], 0], labels).method == method


def test_one_row_has_no_kappa() -> None:
    assert isnan(cohen_kappa([0], [0]))
