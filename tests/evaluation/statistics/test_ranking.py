"""Bradley-Terry strengths: the model, its limits, and how often its intervals hold the truth."""

from __future__ import annotations

from itertools import combinations
from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.statistics.ranking import Ranking, bradley_terry


def ranked(outcomes: list[tuple[int, int, float]], variants: int, times: int = 1) -> Ranking:
    """A ranking of comparisons that are each repeated on other rows."""
    first, second, score = zip(*outcomes * times, strict=True)
    return bradley_terry(first, second, score, range(len(first)), variants=variants)


comparisons = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])).filter(lambda c: c[0] != c[1]),
    min_size=2,
    max_size=30,
)


class TestStrengths:
    def test_two_variants_differ_by_the_log_odds_of_the_wins(self) -> None:
        found = ranked([(0, 1, 1.0)] * 3 + [(0, 1, 0.0)], 2, times=500).difference(0, 1)

        assert found.difference == pytest.approx(log(3), abs=0.01)
        assert found.wins == pytest.approx(0.75, abs=0.002)

    def test_a_tie_is_half_a_win_for_both(self) -> None:
        tied = ranked([(0, 1, 0.5)] * 4, 2, times=500).difference(0, 1)
        shared = ranked([(0, 1, 1.0), (0, 1, 0.0)] * 2, 2, times=500).difference(0, 1)

        assert tied.difference == pytest.approx(shared.difference, abs=1e-9)
        assert tied.high - tied.low < shared.high - shared.low

    def test_strengths_are_about_the_average_variant_and_wins_are_against_the_others(self) -> None:
        ranking = ranked([(0, 1, 1.0), (0, 1, 0.0), (1, 2, 1.0), (1, 2, 0.5), (0, 2, 1.0), (0, 2, 0.5)], 3, times=20)
        strengths = [ranking.strength(variant) for variant in range(3)]

        assert sum(found.strength for found in strengths) == pytest.approx(0)
        against = expit(strengths[0].strength - np.array([found.strength for found in strengths[1:]]))
        assert strengths[0].wins == pytest.approx(against.mean())
        assert [found.n for found in strengths] == [80, 80, 80]
        assert ranking.order[-1] == 2

    @given(comparisons)
    def test_order_and_sides_of_comparisons_do_not_matter(self, outcomes: list[tuple[int, int, float]]) -> None:
        rows = np.arange(len(outcomes)) // 2
        turned = [(second, first, 1 - score) for first, second, score in outcomes]
        first, second, score = zip(*outcomes, strict=True)
        one = bradley_terry(first, second, score, rows, variants=4)
        first, second, score = zip(*turned[::-1], strict=True)
        other = bradley_terry(first, second, score, rows[::-1], variants=4)

        for a, b in combinations(range(4), 2):
            assert other.difference(a, b) == pytest.approx(one.difference(a, b), abs=1e-6)

    @given(comparisons)
    def test_ends_surround_each_number(self, outcomes: list[tuple[int, int, float]]) -> None:
        ranking = ranked(outcomes, 4)
        for variant in range(4):
            found = ranking.strength(variant)
            assert found.low <= found.strength <= found.high
            assert 0 <= found.wins_low <= found.wins <= found.wins_high <= 1

    def test_repeats_of_a_row_are_one_cluster(self) -> None:
        outcomes = [(0, 1, 1.0)] * 12 + [(0, 1, 0.0)] * 8
        first, second, score = zip(*outcomes * 5, strict=True)
        rows = bradley_terry(first, second, score, list(range(20)) * 5, variants=2).difference(0, 1)
        once = ranked(outcomes, 2).difference(0, 1)

        assert rows.high - rows.low == pytest.approx(once.high - once.low, rel=0.1)


class TestLimits:
    def test_a_variant_that_is_never_beaten_has_no_upper_end(self) -> None:
        ranking = ranked([(0, 1, 1.0), (0, 2, 1.0), (1, 2, 1.0), (1, 2, 0.0)], 3, times=10)
        best = ranking.strength(0)

        assert np.isfinite([best.strength, best.low]).all()
        assert (best.high, best.wins_high) == (inf, 1.0)
        assert ranking.difference(0, 1).high == inf
        assert ranking.difference(1, 0).low == -inf
        assert np.isfinite(ranking.difference(1, 2)).all()

    def test_variants_that_no_comparison_links_are_not_set_in_order(self) -> None:
        ranking = ranked([(0, 1, 1.0), (0, 1, 0.0), (2, 3, 1.0), (2, 3, 0.5)], 4, times=10)
        found = ranking.difference(0, 2)

        assert not ranking.connected
        assert (found.low, found.high, found.p, found.wins_low, found.wins_high) == (-inf, inf, 1.0, 0.0, 1.0)
        assert np.isfinite(ranking.difference(0, 1)).all()

    def test_a_variant_between_two_others_links_them(self) -> None:
        ranking = ranked([(0, 1, 1.0), (0, 1, 0.0), (1, 2, 1.0), (1, 2, 0.0)], 3, times=10)

        assert ranking.connected
        direct, through = ranking.difference(0, 1), ranking.difference(0, 2)
        assert direct.high - direct.low < through.high - through.low < inf

    def test_one_cluster_says_nothing(self) -> None:
        found = bradley_terry([0, 0], [1, 1], [1, 0], [7, 7], variants=2).difference(0, 1)

        assert (found.low, found.high, found.p) == (-inf, inf, 1.0)

    @pytest.mark.parametrize(
        ("comparison", "message"),
        [
            (([], [], [], []), "not comparisons"),
            (([0], [1, 1], [1], [0]), "not comparisons"),
            (([0], [2], [1], [0]), "from 0 to 1"),
            (([1], [1], [1], [0]), "with itself"),
            (([0], [1], [2], [0]), "from 0 to 1"),
            (([0], [1], [np.nan], [0]), "from 0 to 1"),
        ],
    )
    def test_what_is_not_a_comparison_is_refused(self, comparison: tuple[list[int], ...], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            bradley_terry(*comparison, variants=2)


@pytest.mark.parametrize(("strengths", "rows"), [((0, 0, 0), 20), ((1, 0, -1), 20), ((2, -1, -1), 50)])
def test_differences_are_covered(strengths: tuple[float, ...], rows: int) -> None:
    """All pairs on each row, with ties."""
    generator, truth, runs = np.random.default_rng(rows), np.array(strengths), 300
    first, second = np.array(list(combinations(range(3), 2))).T
    held = 0
    for _ in range(runs):
        chance, luck = expit(truth[first] - truth[second]), generator.random((rows, 3))
        tie = chance * (1 - chance)
        score = np.where(luck < chance - tie / 2, 1.0, np.where(luck < chance + tie / 2, 0.5, 0.0))
        ranking = bradley_terry(
            np.tile(first, rows), np.tile(second, rows), score.ravel(), np.repeat(np.arange(rows), 3), variants=3
        )
        found = ranking.difference(0, 2)
        held += found.low <= truth[0] - truth[2] <= found.high

    assert held / runs >= 0.925


@pytest.mark.parametrize("rows", [20, 50, 100])
def test_a_perfect_record_is_limited_about_as_by_wilson(rows: int) -> None:
    found = ranked([(0, 1, 1.0)] * rows, 2).difference(0, 1)

    assert found.p < 0.05
    assert found.wins_low == pytest.approx(wilson(rows, rows).low, abs=0.06)
