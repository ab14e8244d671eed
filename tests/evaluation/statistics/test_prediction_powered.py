"""Means and differences of labels from a judge's scores: how often they hold the truth, and never less than labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptkit.evaluation.statistics.interval import Mean, bounded_mean, wilson
from promptkit.evaluation.statistics.paired import paired_binary, paired_graded
from promptkit.evaluation.statistics.prediction_powered import JudgedCells, corrected_difference, corrected_mean

Floats = NDArray[np.float64]


def noisy(generator: np.random.Generator, rate: float, right: float, rows: int) -> tuple[Floats, Floats]:
    """Labels, and a judge that has so many of them right."""
    labels = (generator.random(rows) < rate).astype(float)
    return np.where(generator.random(rows) < right, labels, 1 - labels), labels


def first(labels: Floats, labelled: int) -> Floats:
    """The labels of the first rows; the others have none."""
    return np.where(np.arange(len(labels)) < labelled, labels, np.nan)


def mean_of(judged: Floats, labels: Floats, **options: object) -> Mean:
    return corrected_mean(JudgedCells(judged, labels), np.arange(len(labels)), binary=True, **options)  # type: ignore[arg-type]


def covered(
    estimate: Callable[[Floats, Floats], Mean], *, rows: int, labelled: int, right: float, rate: float
) -> float:
    generator, held, runs = np.random.default_rng(labelled), 0, 300
    for _ in range(runs):
        judged, labels = noisy(generator, rate, right, rows)
        found = estimate(judged, first(labels, labelled))
        held += found.low <= rate <= found.high
    return held / runs


class TestMean:
    @pytest.mark.parametrize("right", [0.55, 0.85, 1.0])
    @pytest.mark.parametrize(("rows", "labelled"), [(200, 10), (500, 50), (200, 100), (200, 190), (200, 198)])
    def test_it_holds_the_truth_at_any_share_of_labels(self, rows: int, labelled: int, right: float) -> None:
        # Wilson's interval of 10 rows covers 91 % at 0.7: see `benchmarks/coverage.py` for all settings.
        least = 0.90 if labelled == 10 else 0.925
        assert covered(mean_of, rows=rows, labelled=labelled, right=right, rate=0.7) >= least

    @pytest.mark.parametrize(("right", "labelled"), [(0.97, 50), (0.85, 198)])
    def test_the_demand_tells_an_untuned_correction(self, right: float, labelled: int) -> None:
        """The judge's mean plus its mean error, without pseudo-rows, and with a weight of 1 always."""

        def untuned(judged: Floats, labels: Floats) -> Mean:
            known = ~np.isnan(labels)
            errors = labels[known] - judged[known]
            mean = judged[~known].mean() + errors.mean()
            half = 1.96 * float(np.sqrt(judged[~known].var() / np.sum(~known) + errors.var() / np.sum(known)))
            return Mean(mean, mean - half, mean + half, len(labels), len(labels), 0)

        rows = 200 if labelled == 198 else 2_000
        assert covered(untuned, rows=rows, labelled=labelled, right=right, rate=0.9) < 0.85

    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.7, 0.9, 1.0]), st.integers(1, 40))
    def test_it_is_never_less_certain_than_the_labels_alone(self, seed: int, right: float, labelled: int) -> None:
        judged, labels = noisy(np.random.default_rng(seed), 0.7, right, 40)
        found, alone = mean_of(judged, first(labels, labelled)), wilson(int(labels[:labelled].sum()), labelled)

        assert found.effective >= labelled
        if found.mean == pytest.approx(labels[:labelled].mean()):
            assert found.high - found.low <= alone.high - alone.low + 1e-9

    @pytest.mark.parametrize("judged", [[0.5] * 60, [1.0, 0.0] * 30])
    def test_a_judge_that_tells_nothing_leaves_the_labels_alone(self, judged: list[float]) -> None:
        labels = first(np.array([1.0, 1.0, 1.0, 0.0, 0.0, 1.0] * 10), 24)
        found = mean_of(np.array(judged), labels)

        assert found.mean == pytest.approx(16 / 24)
        assert (found.low, found.high) == pytest.approx(wilson(16, 24))

    def test_where_every_cell_has_a_label_the_judge_does_not_matter(self) -> None:
        labels = np.array([1.0, 0.0, 1.0, 1.0] * 10)
        chosen = corrected_mean(JudgedCells(1 - labels, labels, np.zeros(40, bool)), np.arange(40), binary=True)

        assert mean_of(1 - labels, labels) == chosen == bounded_mean(labels, np.arange(40), binary=True)

    def test_a_good_judge_narrows_it(self) -> None:
        judged, labels = noisy(np.random.default_rng(6), 0.7, 0.95, 2_100)
        found, alone = mean_of(judged, first(labels, 100)), wilson(int(labels[:100].sum()), 100)

        assert found.high - found.low < 0.65 * (alone.high - alone.low)

    @pytest.mark.parametrize(("when_right", "when_wrong"), [(0.95, 0.4), (0.6, 0.6), (0.1, 0.9)])
    def test_it_is_without_bias_however_bad_the_judge(self, when_right: float, when_wrong: float) -> None:
        generator, means = np.random.default_rng(5), []
        for _ in range(300):
            labels = (generator.random(400) < 0.7).astype(float)
            judged = (generator.random(400) < np.where(labels == 1, when_right, when_wrong)).astype(float)
            means.append(mean_of(judged, first(labels, 100)).mean)

        assert np.mean(means) == pytest.approx(0.7, abs=0.012)

    @given(
        st.lists(st.tuples(st.floats(0, 1), st.none() | st.floats(0, 1)), min_size=1), st.integers(1, 9), st.booleans()
    )
    def test_it_stays_within_0_and_1_in_any_order(
        self, cells: list[tuple[float, float | None]], clusters: int, chosen: bool
    ) -> None:
        judged = np.array([score for score, _ in cells])
        labels = np.array([np.nan if label is None else label for _, label in cells])
        codes = np.arange(len(cells)) % clusters
        at_random = np.arange(len(cells)) % 3 > 0 if chosen else None
        given_cells = JudgedCells(judged, labels, at_random)
        if not given_cells.correctable:
            with pytest.raises(ValueError, match="no label was drawn at random"):
                corrected_mean(given_cells, codes)
            return
        found = corrected_mean(given_cells, codes)
        turned = JudgedCells(judged[::-1], labels[::-1], None if at_random is None else at_random[::-1])

        assert 0 <= found.low <= found.mean <= found.high <= 1
        assert corrected_mean(turned, codes[::-1]) == pytest.approx(found)

    def test_repeats_of_a_row_are_one_row(self) -> None:
        judged, labels = noisy(np.random.default_rng(1), 0.7, 0.9, 80)
        labels = first(labels, 30)
        twice = JudgedCells(np.tile(judged, 2), np.tile(labels, 2))
        found = corrected_mean(twice, np.tile(np.arange(80), 2))

        assert found.low == pytest.approx(corrected_mean(JudgedCells(judged, labels), np.arange(80)).low)

    @pytest.mark.parametrize(
        ("cells", "message"),
        [
            (JudgedCells([1, 0], [np.nan, np.nan]), "no label was drawn at random"),
            (JudgedCells([1, 0], [1.0, np.nan], [False, False]), "no label was drawn at random"),
            (JudgedCells([1, 0], [1.0]), "not of cells"),
            (JudgedCells([1, np.nan], [1.0, np.nan]), "from 0 to 1"),
            (JudgedCells([1, 0], [2.0, np.nan]), "from 0 to 1"),
        ],
    )
    def test_what_cannot_be_corrected_is_refused(self, cells: JudgedCells, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            corrected_mean(cells, [0, 1])


def chosen_where_unsure(
    generator: np.random.Generator, rate: float, *, at_random: int, chosen: int
) -> tuple[JudgedCells, Floats]:
    """200 rows whose judge is wrong where it is unsure, with the labels of the most unsure and of others at random."""
    rows = 200
    labels, sure = (generator.random(rows) < rate).astype(float), generator.random(rows)
    verdict = np.where(generator.random(rows) < 0.5 + sure / 2, labels, 1 - labels)
    unsure = np.argsort(sure)[:chosen]
    others = generator.permutation(np.setdiff1d(np.arange(rows), unsure))[:at_random]
    known, random = np.zeros(rows, bool), np.zeros(rows, bool)
    known[unsure], known[others], random[others] = True, True, True
    return JudgedCells(0.5 + (verdict - 0.5) * sure, np.where(known, labels, np.nan), random), labels


class TestChosenLabels:
    @pytest.mark.parametrize(("at_random", "chosen"), [(20, 20), (20, 100), (50, 50)])
    def test_it_holds_the_truth(self, at_random: int, chosen: int) -> None:
        generator, held, runs = np.random.default_rng(chosen), 0, 300
        for _ in range(runs):
            cells, _ = chosen_where_unsure(generator, 0.9, at_random=at_random, chosen=chosen)
            found = corrected_mean(cells, np.arange(200), binary=True)
            held += found.low <= 0.9 <= found.high

        assert held / runs >= 0.925

    def test_chosen_labels_count_for_their_own_cells_only(self) -> None:
        # The judge says 1 of all. All chosen labels are 0, and all of those drawn at random 1.
        labels = np.array([0.0] * 20 + [1.0] * 30 + [np.nan] * 50)
        random = np.arange(100) >= 20
        found = corrected_mean(JudgedCells(np.ones(100), labels, random), np.arange(100), binary=True)

        assert found.mean == pytest.approx(0.8)
        assert mean_of(np.ones(100), labels).mean == pytest.approx(0.6)

    def test_both_strata_and_their_shares_are_uncertain(self) -> None:
        labels = np.array([0.0] * 20 + [1.0] * 30 + [np.nan] * 50)
        found = corrected_mean(JudgedCells(np.ones(100), labels, np.arange(100) >= 20), np.arange(100), binary=True)

        # The lower parts of 0 of 20 and 30 of 30, and that of a share of 20 in 100.
        lower = np.hypot(0.8 * (1 - wilson(30, 30).low), 1.959964 * np.sqrt(0.2 * 0.8 / 100))
        assert found.low == pytest.approx(0.8 - lower)
        upper = np.hypot(0.2 * wilson(0, 20).high, 1.959964 * np.sqrt(0.2 * 0.8 / 100))
        assert found.high == pytest.approx(0.8 + upper)


def pairs(
    generator: np.random.Generator, right: float, labelled: int, *, same: bool
) -> tuple[JudgedCells, JudgedCells]:
    """Variants that are right in 70 and 60 % of 200 rows, mostly the same ones, with labels of the same rows or not."""
    hard = generator.random(200)
    sides = []
    for side, rate in enumerate((0.7, 0.6)):
        labels = (np.where(generator.random(200) < 0.8, hard, generator.random(200)) < rate).astype(float)
        judged = np.where(generator.random(200) < right, labels, 1 - labels)
        known = first(labels, labelled) if same or not side else first(labels[::-1], labelled)[::-1]
        sides.append(JudgedCells(judged, known))
    return sides[0], sides[1]


class TestDifference:
    @pytest.mark.parametrize("same", [True, False])
    @pytest.mark.parametrize("right", [0.6, 0.9])
    @pytest.mark.parametrize("labelled", [20, 198])
    def test_it_holds_the_truth_also_where_a_row_has_a_label_of_one_answer_only(
        self, labelled: int, right: float, same: bool
    ) -> None:
        generator, held, runs = np.random.default_rng(labelled), 0, 200
        for _ in range(runs):
            found = corrected_difference(*pairs(generator, right, labelled, same=same), np.arange(200), binary=True)
            held += found.low <= 0.1 <= found.high

        assert held / runs >= 0.92

    def test_it_is_without_bias_where_the_judge_favours_one_side(self) -> None:
        generator, differences = np.random.default_rng(8), []
        for _ in range(300):
            a, b = (generator.random((2, 400)) < [[0.7], [0.6]]).astype(float)
            favoured = np.maximum(a, (generator.random(400) < 0.3).astype(float))
            cells = JudgedCells(favoured, first(a, 100)), JudgedCells(b, first(b, 100))
            differences.append(corrected_difference(*cells, np.arange(400), binary=True).difference)

        assert np.mean(differences) == pytest.approx(0.1, abs=0.015)

    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.8, 1.0]), st.integers(2, 60), st.booleans())
    def test_it_is_never_wider_than_the_pairs_of_labels_alone(
        self, seed: int, right: float, labelled: int, binary: bool
    ) -> None:
        a, b = pairs(np.random.default_rng(seed), right, labelled, same=True)
        found = corrected_difference(a, b, np.arange(200), binary=binary)
        labels = np.asarray(a.labels)[:labelled], np.asarray(b.labels)[:labelled]
        alone = paired_binary(*labels) if binary else paired_graded(*labels, np.arange(labelled))

        assert found.high - found.low <= alone.high - alone.low + 1e-12

    def test_where_every_cell_has_a_label_it_is_that_of_the_labels(self) -> None:
        a, b = pairs(np.random.default_rng(3), 0.8, 200, same=True)

        found, alone = corrected_difference(a, b, np.arange(200), binary=True), paired_binary(a.labels, b.labels)
        assert found == alone._replace(spread=np.sqrt(alone.spread))

    def test_the_order_of_cells_does_not_change_a_digit(self) -> None:
        a, b = pairs(np.random.default_rng(4), 0.9, 80, same=False)
        c, d = (JudgedCells(np.asarray(side.judged)[::-1], np.asarray(side.labels)[::-1]) for side in (a, b))

        assert corrected_difference(c, d, np.arange(200)[::-1]) == corrected_difference(a, b, np.arange(200))

    @given(st.integers(0, 2**32 - 1), st.booleans())
    def test_swapping_the_sides_swaps_the_sign(self, seed: int, same: bool) -> None:
        a, b = pairs(np.random.default_rng(seed), 0.9, 40, same=same)
        one, other = corrected_difference(a, b, np.arange(200)), corrected_difference(b, a, np.arange(200))

        assert (other.difference, other.low, other.high) == pytest.approx((-one.difference, -one.high, -one.low))
        assert (other.better, other.worse) == (one.worse, one.better)
        assert other.p == pytest.approx(one.p)

    def test_labels_count_where_both_sides_have_one(self) -> None:
        a = JudgedCells([1.0] * 40, [0.0] * 10 + [np.nan] * 30)
        b = JudgedCells([0.0] * 40, [1.0] * 8 + [np.nan] * 32)
        found = corrected_difference(a, b, np.arange(40))

        assert (found.n, found.better, found.worse) in ((40, 32, 8), (8, 0, 8))
        assert found.difference < 0
