"""Kappa, AC1 and alpha against published examples and statsmodels."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.statistics import cohen_kappa, gwet_ac1, krippendorff_alpha

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
        with pytest.raises(ValueError, match="no pairs"):
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
        with pytest.raises(ValueError, match="no judgements"):
            krippendorff_alpha([1, 2], [1])
