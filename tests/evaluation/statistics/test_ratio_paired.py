"""Differences of F1, macro F1, balanced accuracy, precision and recall on the same rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptkit.evaluation.statistics.bootstrap import swap_test
from promptkit.evaluation.statistics.interval import Mean, Paired
from promptkit.evaluation.statistics.ratio import (
    balanced_accuracy,
    balanced_accuracy_difference,
    f1,
    f1_difference,
    macro_f1,
    macro_f1_difference,
    precision_recall,
    ratio_difference,
)

Single = Callable[..., Mean]
Two = Callable[..., Paired]
Codes = NDArray[np.int64]

answers = st.integers(-1, 3)
labelled = st.lists(st.tuples(st.integers(0, 2), answers, answers, st.integers(0, 6)), min_size=1, max_size=30)
OVER_CLASSES = pytest.mark.parametrize(
    ("single", "two"), [(macro_f1, macro_f1_difference), (balanced_accuracy, balanced_accuracy_difference)]
)


def counts_of(expected: Codes, predicted: Codes, code: int) -> Codes:
    """Right, too many and too few of a class in each cell."""
    wanted, got = expected == code, predicted == code
    return np.stack([wanted & got, got & ~wanted, wanted & ~got], axis=1).astype(np.int64)


@OVER_CLASSES
@given(labelled)
@settings(max_examples=50)
def test_a_difference_of_means_over_classes(single: Single, two: Two, rows: list[tuple[int, int, int, int]]) -> None:
    expected, a, b, clusters = np.array(rows).T
    found = two(expected, a, b, clusters)

    assert found.difference == pytest.approx(
        single(expected, a, clusters).mean - single(expected, b, clusters).mean, abs=1e-12
    )
    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert found.low < found.high
    assert 0 < found.p <= 1
    assert found.n == len(set(clusters))


@OVER_CLASSES
@given(labelled)
@settings(max_examples=50)
def test_the_other_way_round_it_is_mirrored(single: Single, two: Two, rows: list[tuple[int, int, int, int]]) -> None:
    expected, a, b, clusters = np.array(rows).T
    found, mirrored = two(expected, a, b, clusters), two(expected, b, a, clusters)

    assert (mirrored.difference, mirrored.low, mirrored.high) == pytest.approx(
        (-found.difference, -found.high, -found.low), abs=1e-12
    )
    assert (mirrored.better, mirrored.worse) == (found.worse, found.better)
    # All ways are tried, for there are at most seven clusters.
    assert mirrored.p == found.p
    assert mirrored.spread == pytest.approx(found.spread)


@OVER_CLASSES
@given(labelled, st.booleans())
@settings(max_examples=50)
def test_the_order_of_rows_changes_no_digit(
    single: Single, two: Two, rows: list[tuple[int, int, int, int]], independent: bool
) -> None:
    expected, a, b, clusters = np.array(rows).T
    if independent:
        clusters = np.arange(len(rows))

    assert two(expected[::-1], a[::-1], b[::-1], clusters[::-1]) == two(expected, a, b, clusters)


@OVER_CLASSES
@given(labelled)
@settings(max_examples=25)
def test_p_is_that_of_swapping_the_answers_of_each_cluster(
    single: Single, two: Two, rows: list[tuple[int, int, int, int]]
) -> None:
    expected, a, b, clusters = np.array(rows).T
    groups = np.unique(clusters)

    def swapped(mask: NDArray[np.bool_]) -> float:
        here = np.isin(clusters, groups[mask])
        first, second = np.where(here, b, a), np.where(here, a, b)
        difference = single(expected, first, clusters).mean - single(expected, second, clusters).mean
        return round(difference, 12)

    assert two(expected, a, b, clusters).p == pytest.approx(swap_test(swapped, len(groups)))


@pytest.mark.parametrize("single_sided", [(9, 0), (10, 3), (12, 11), (40, 15), (300, 250)])
def test_p_of_one_class_is_that_of_the_exact_test_of_signs(single_sided: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    better, worse = single_sided
    n = 1000
    a = np.where(np.arange(n) < better, 0, -1)
    b = np.where((np.arange(n) >= better) & (np.arange(n) < better + worse), 0, -1)
    found = balanced_accuracy_difference(np.zeros(n, dtype=np.int64), a, b, np.arange(n))

    assert (found.better, found.worse, found.n) == (better, worse, n)
    assert found.p == pytest.approx(binomtest(better, better + worse).pvalue, abs=0.02)


def test_random_swaps_are_the_same_for_a_seed() -> None:
    expected, a, b = np.random.default_rng(2).integers(0, 3, (3, 200))

    def p(seed: int) -> float:
        return macro_f1_difference(expected, a, b, np.arange(200), seed=seed).p

    assert p(1) == p(1)
    assert p(1) != p(2)
    assert p(1) == pytest.approx(p(2), abs=0.03)


@OVER_CLASSES
def test_the_same_answers_do_not_differ_but_20_rows_do_not_show_it(single: Single, two: Two) -> None:
    expected = np.arange(20) % 2
    found = two(expected, expected, expected, np.arange(20))

    assert (found.difference, found.p, found.better, found.worse) == (0, 1, 0, 0)
    assert found.low == -found.high
    assert 0.1 < found.high < 0.2


@OVER_CLASSES
@given(labelled, st.integers(2, 3))
@settings(max_examples=25)
def test_repeats_that_all_agree_say_no_more(
    single: Single, two: Two, rows: list[tuple[int, int, int, int]], times: int
) -> None:
    once, again = two(*np.array(rows).T), two(*np.array(rows * times).T)

    assert again[:4] == pytest.approx(once[:4], abs=1e-9)
    assert again[4:7] == once[4:7]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_influences_that_cancel_but_for_rounding_are_none(times: int) -> None:
    expected = [1] * 6 + [2] * 9
    a = [0] * 13 + [2, 2]
    b = [0] * 4 + [1, 1] + [0] * 6 + [2, 0, 2]
    clusters = [0, 0, 1, 1] + [0] * 8 + [1, 0, 0]

    found = balanced_accuracy_difference(expected * times, a * times, b * times, clusters * times)

    assert found[1:3] == (-1, 1)


def test_one_cluster_says_nothing() -> None:
    found = macro_f1_difference([0, 1, 1], [0, 1, 1], [1, 1, 0], [5, 5, 5])

    assert found[1:4] == (-1.0, 1.0, 1.0)


@given(labelled)
@settings(max_examples=50)
def test_a_difference_of_f1_of_one_class(rows: list[tuple[int, int, int, int]]) -> None:
    expected, a, b, clusters = np.array(rows).T
    counts = [counts_of(expected, predicted, 1) for predicted in (a, b)]
    first, second = (f1(each[:, 0], each[:, 1], each[:, 2], clusters) for each in counts)
    found = f1_difference(counts[0], counts[1], clusters)

    if first is None or second is None:
        assert found is None
        return
    assert found is not None
    assert found.difference == pytest.approx(first.mean - second.mean, abs=1e-12)
    assert found.low <= found.difference <= found.high
    assert found == f1_difference(counts[0][::-1], counts[1][::-1], clusters[::-1])
    right = [2 * each[:, 0] - each[:, 1] - each[:, 2] for each in counts]
    gained = [int((right[0] - right[1])[clusters == code].sum()) for code in set(clusters)]
    assert found.better == sum(each > 0 for each in gained)
    assert found.worse == sum(each < 0 for each in gained)


def test_a_difference_of_precision_and_of_recall() -> None:
    expected = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    a, b = np.array([0, 0, 0, 1, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 0, 0, 0, 1])
    first, second = (precision_recall(expected, predicted, 0, range(8)) for predicted in (a, b))
    right_a, right_b = (expected == 0) & (a == 0), (expected == 0) & (b == 0)
    precision = ratio_difference(right_a, a == 0, right_b, b == 0, range(8))
    recall = ratio_difference(right_a, expected == 0, right_b, expected == 0, range(8))

    assert first.precision and second.precision and first.recall and second.recall and precision and recall
    assert precision.difference == pytest.approx(first.precision.mean - second.precision.mean)
    assert recall.difference == pytest.approx(first.recall.mean - second.recall.mean)
    assert (precision.better, precision.worse) == (3, 0)
    assert (recall.better, recall.worse) == (1, 0)


def test_an_undefined_ratio_has_no_difference() -> None:
    assert ratio_difference([0, 0], [0, 0], [1, 0], [1, 1], [0, 1]) is None
    assert f1_difference([[1, 0, 0]], [[0, 0, 0]], [0]) is None


def test_a_part_beyond_its_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="more than its whole"):
        ratio_difference([2, 0], [1, 1], [1, 0], [1, 1], [0, 1])


ANSWERS = {
    "a class of few": ([0.6, 0.3, 0.1], [[0.9, 0.05, 0.05, 0], [0.1, 0.8, 0.07, 0.03], [0.2, 0.1, 0.65, 0.05]]),
    "nearly all right": ([0.6, 0.3, 0.1], [[0.98, 0.01, 0.01, 0], [0.03, 0.95, 0.02, 0], [0.05, 0.05, 0.9, 0]]),
}
WORSE = {
    "a class of few": [[0.85, 0.1, 0.05, 0], [0.1, 0.75, 0.12, 0.03], [0.3, 0.1, 0.55, 0.05]],
    "nearly all right": [[0.98, 0.01, 0.01, 0], [0.05, 0.92, 0.03, 0], [0.05, 0.05, 0.9, 0]],
}


def truth_of(shares: list[float], given: list[list[float]], metric: Single) -> float:
    """The metric of a table of 100,000 rows with these shares: it has no sampling error to speak of."""
    table = np.rint(100_000 * np.array(shares)[:, None] * np.array(given)).astype(int).ravel()
    expected, predicted = np.repeat(np.repeat(np.arange(3), 4), table), np.repeat(np.tile([0, 1, 2, -1], 3), table)
    return metric(expected, predicted, np.arange(len(expected))).mean


def covered(single: Single, two: Two, setting: str, rows: int) -> tuple[float, float]:
    """How often the interval holds the true difference, and how often it shows one in the wrong direction."""
    (shares, better), worse = ANSWERS[setting], WORSE[setting]
    truth = truth_of(shares, better, single) - truth_of(shares, worse, single)
    generator = np.random.default_rng(rows)
    held = wrong = 0
    for _ in range(300):
        expected = generator.choice(3, rows, p=shares)
        luck = generator.random(rows)
        other = np.where(generator.random(rows) < 0.7, luck, generator.random(rows))
        predicted = [
            (each[:, None] > np.cumsum(given, axis=1)[expected]).sum(axis=1)
            for each, given in ((luck, better), (other, worse))
        ]
        a, b = (np.where(each < 3, each, -1) for each in predicted)
        found = two(expected, a, b, np.arange(rows))
        held += found.low <= truth <= found.high
        wrong += found.high < 0
    return held / 300, wrong / 300


@pytest.fixture
def hardly_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the interval is looked at."""
    monkeypatch.setattr("promptkit.evaluation.statistics.ratio.SWAP_DRAWS", 1)


@OVER_CLASSES
@pytest.mark.parametrize("rows", [30, 100])
@pytest.mark.parametrize("setting", ANSWERS)
@pytest.mark.usefixtures("hardly_swapped")
def test_differences_are_covered_and_seldom_wrong(single: Single, two: Two, rows: int, setting: str) -> None:
    held, wrong = covered(single, two, setting, rows)

    assert held >= 0.9
    assert wrong <= 0.03


@OVER_CLASSES
@pytest.mark.usefixtures("hardly_swapped")
def test_the_demand_tells_an_interval_without_one_more_row(
    single: Single, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptkit.evaluation.statistics.ratio.LabelCodes.one_more", 0.0)

    assert covered(single, two, "nearly all right", 30)[0] < 0.75


def test_where_there_is_no_difference_p_is_seldom_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.evaluation.statistics.ratio.SWAP_DRAWS", 399)
    generator = np.random.default_rng(7)
    small = 0
    for seed in range(150):
        expected = generator.integers(0, 3, 60)
        a, b = (np.where(generator.random(60) < 0.7, expected, generator.integers(0, 3, 60)) for _ in "ab")
        small += macro_f1_difference(expected, a, b, np.arange(60), seed=seed).p <= 0.05

    assert small / 150 <= 0.1
