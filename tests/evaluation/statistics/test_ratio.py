"""F1, macro F1, balanced accuracy, precision and recall with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import t

from promptkit.evaluation.statistics.interval import Mean, wilson
from promptkit.evaluation.statistics.ratio import balanced_accuracy, f1, macro_f1, precision_recall

OverClasses = Callable[..., Mean]
Weighted = Callable[[Sequence[tuple[int, int]], NDArray[np.float64]], float]

labelled = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 4), st.integers(0, 9)), min_size=1, max_size=40)
counted = st.lists(st.tuples(*[st.integers(0, 3)] * 3, st.integers(0, 9)), min_size=1, max_size=40)


def weighted_macro_f1(pairs: Sequence[tuple[int, int]], weights: NDArray[np.float64]) -> float:
    """Macro F1 as its definition says it, each pair of expected and predicted counting its weight."""
    scores: list[float] = []
    for code in {expected for expected, _ in pairs}:
        right = sum(w for (e, p), w in zip(pairs, weights, strict=True) if e == p == code)
        wrong = sum(w for (e, p), w in zip(pairs, weights, strict=True) if e != p and code in (e, p))
        scores.append(2 * right / (2 * right + wrong))
    return sum(scores) / len(scores)


def weighted_recall(pairs: Sequence[tuple[int, int]], weights: NDArray[np.float64]) -> float:
    scores: list[float] = []
    for code in {expected for expected, _ in pairs}:
        right = sum(w for (e, p), w in zip(pairs, weights, strict=True) if e == p == code)
        scores.append(right / sum(w for (e, _), w in zip(pairs, weights, strict=True) if e == code))
    return sum(scores) / len(scores)


OVER_CLASSES = pytest.mark.parametrize(
    ("metric", "definition"), [(macro_f1, weighted_macro_f1), (balanced_accuracy, weighted_recall)]
)


def test_f1_is_twice_the_right_over_what_is_expected_and_found() -> None:
    found = f1([1, 0, 2], [0, 1, 1], [0, 0, 3], [5, 6, 7])

    assert found is not None
    assert found.mean == pytest.approx(6 / 11)
    assert (found.n, found.clusters) == (3, 3)


@given(counted)
def test_its_variance_is_that_of_the_jackknife_with_small_weights(counts: list[tuple[int, int, int, int]]) -> None:
    right, many, few, clusters = np.array(counts).T
    found = f1(right, many, few, clusters)
    groups = np.unique(clusters)
    if found is None or found.mean in (0, 1) or len(groups) < 2:
        return

    def of(weights: NDArray[np.float64]) -> float:
        return float(2 * weights @ right / (weights @ (2 * right + many + few)))

    moved = [(of(1 + 1e-4 * (clusters == code)) - of(1 - 1e-4 * (clusters == code))) / 2e-4 for code in groups]
    variance = len(groups) / (len(groups) - 1) * float(np.square(moved).sum())
    if variance > 1e-9:
        assert found.mean * (1 - found.mean) / found.effective == pytest.approx(variance, rel=1e-4)


@given(counted)
def test_it_lies_in_its_interval_in_any_order(counts: list[tuple[int, int, int, int]]) -> None:
    found = f1(*np.array(counts).T)

    assert found == f1(*np.array(counts[::-1]).T)
    if found is not None:
        assert 0 <= found.low <= found.mean <= found.high <= 1
        assert found.low < found.high


@given(counted, st.integers(2, 4))
def test_repeats_that_all_agree_say_no_more_of_f1(counts: list[tuple[int, int, int, int]], times: int) -> None:
    once, again = f1(*np.array(counts).T), f1(*np.array(counts * times).T)

    assert (once is None) == (again is None)
    if once is not None and again is not None:
        assert again[:3] == pytest.approx(once[:3], abs=1e-9)
        assert (again.n, again.clusters) == (times * once.n, once.clusters)


@given(counted)
def test_a_failed_row_never_raises_f1(counts: list[tuple[int, int, int, int]]) -> None:
    before, after = f1(*np.array(counts).T), f1(*np.array([*counts, (0, 1, 2, 10)]).T)

    assert after is not None
    assert before is None or after.mean <= before.mean


def test_f1_of_nothing_expected_and_nothing_found_is_undefined() -> None:
    assert f1([0, 0], [0, 0], [0, 0], [0, 1]) is None


def test_f1_of_rows_that_are_all_right_keeps_a_width() -> None:
    found = f1([1] * 10 + [0] * 10, [0] * 20, [0] * 20, range(20))

    assert found is not None
    assert (found.mean, found.high, found.effective) == (1.0, 1.0, 10.0)
    assert 0.65 < found.low < 0.75


def test_rows_of_one_same_ratio_have_no_variance_to_speak_of() -> None:
    found = f1([1] * 20, [1] * 20, [0] * 20, range(20))

    assert found is not None
    assert found.effective == pytest.approx(30)


@OVER_CLASSES
@given(labelled)
def test_a_mean_over_classes_is_what_its_definition_says(
    metric: OverClasses, definition: Weighted, rows: list[tuple[int, int, int]]
) -> None:
    expected, predicted, clusters = np.array(rows).T
    found = metric(expected, predicted, clusters)

    assert found.mean == pytest.approx(definition(list(zip(expected, predicted, strict=True)), np.ones(len(rows))))
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.low < found.high
    assert (found.n, found.clusters) == (len(rows), len(set(clusters)))


@OVER_CLASSES
@given(labelled, st.booleans())
def test_its_variance_is_that_of_the_jackknife_and_a_row_a_class(
    metric: OverClasses, definition: Weighted, rows: list[tuple[int, int, int]], independent: bool
) -> None:
    expected, predicted, clusters = np.array(rows).T
    if independent:
        clusters = np.arange(len(rows)) * 3
    found = metric(expected, predicted, clusters)
    groups, sizes = np.unique(clusters, return_counts=True)
    classes, times = np.unique(expected, return_counts=True)
    alike = times * len(rows) / float((sizes**2).sum())
    pairs = list(zip(expected, predicted, strict=True))

    def moved(code: int) -> float:
        by = 1e-4 * (clusters == code)
        return (definition(pairs, 1 + by) - definition(pairs, 1 - by)) / 2e-4

    largest = found.mean * (1 - found.mean)
    squares = sum(moved(code) ** 2 for code in groups)
    if largest < 1e-9 or squares < 1e-9 or len(groups) == 1:
        assert found.effective == pytest.approx(len(classes) ** 2 / (1 / alike).sum())
    else:
        one_more = largest * float((alike**-2).sum()) / len(classes) ** 2
        assert found.effective == pytest.approx(largest / (squares + one_more), rel=1e-4)


@OVER_CLASSES
@given(labelled, st.integers(2, 4))
def test_neither_order_nor_agreeing_repeats_change_it(
    metric: OverClasses, definition: Weighted, rows: list[tuple[int, int, int]], times: int
) -> None:
    found = metric(*np.array(rows).T)

    assert metric(*np.array(rows[::-1]).T) == found
    assert metric(*np.array(rows * times).T)[:3] == pytest.approx(found[:3], abs=1e-9)


@OVER_CLASSES
@given(labelled)
def test_the_codes_of_classes_and_clusters_do_not_matter(
    metric: OverClasses, definition: Weighted, rows: list[tuple[int, int, int]]
) -> None:
    expected, predicted, clusters = np.array(rows).T
    renamed = metric(50 - 7 * expected, np.where(predicted < 0, -1, 50 - 7 * predicted), -11 * clusters)

    assert renamed == pytest.approx(metric(expected, predicted, clusters), abs=1e-9)


@OVER_CLASSES
def test_an_unread_answer_is_wrong(metric: OverClasses, definition: Weighted) -> None:
    right = metric([0, 0, 1, 1], [0, 0, 1, 1], range(4))
    unread = metric([0, 0, 1, 1], [0, 0, 1, -1], range(4))

    assert right.mean == 1
    assert unread.mean < 1


@OVER_CLASSES
def test_a_class_that_is_never_expected_has_no_part(metric: OverClasses, definition: Weighted) -> None:
    predicted_once = metric([0, 0, 1, 1], [0, 0, 1, 7], range(4))

    assert predicted_once == metric([0, 0, 1, 1], [0, 0, 1, -1], range(4))


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_balanced_accuracy_of_one_class_is_accuracy_with_one_more_row(right: list[bool]) -> None:
    n = len(right)
    found = balanced_accuracy([3] * n, [3 if each else 1 for each in right], range(n))

    assert found.mean == pytest.approx(sum(right) / n)
    assert found.effective == pytest.approx(n if sum(right) in (0, n) else n * n / (n + 1))


def test_precision_and_recall_of_independent_rows_are_wilsons() -> None:
    expected, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 0, 1, -1]
    scores = precision_recall(expected, predicted, 0, range(6))

    assert scores.precision == Mean(2 / 3, *wilson(2, 3), 3, 3, 3)
    assert scores.recall == Mean(2 / 3, *wilson(2, 3), 3, 3, 3)
    assert scores.f1 == f1([1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0], range(6))


def test_precision_recall_and_f1_are_left_out_where_they_are_undefined() -> None:
    expected, predicted = [0, 0, 1], [0, 3, 0]

    never_expected = precision_recall(expected, predicted, 3, range(3))
    never_predicted = precision_recall(expected, predicted, 1, range(3))

    assert never_expected.recall is None
    assert never_expected.precision is not None and never_expected.precision.mean == 0
    assert never_predicted.precision is None
    assert never_predicted.recall is not None and never_predicted.recall.mean == 0
    assert precision_recall(expected, predicted, 9, range(3)) == (None, None, None)


@OVER_CLASSES
@pytest.mark.parametrize(
    ("expected", "predicted", "clusters", "says"),
    [
        ([], [], [], "not of the same cells"),
        ([0, 1], [0], [0, 1], "not of the same cells"),
        ([0, 1], [0, 1], [0], "not of the same cells"),
        ([-1, 1], [0, 1], [0, 1], "0 or more"),
        ([0, 1], [0, -2], [0, 1], "0 or more"),
        ([0.5, 1], [0, 1], [0, 1], "whole numbers"),
        ([0, 1], [0, float("nan")], [0, 1], "whole numbers"),
    ],
)
def test_what_is_no_code_is_refused(
    metric: OverClasses,
    definition: Weighted,
    expected: list[int],
    predicted: list[int],
    clusters: list[int],
    says: str,
) -> None:
    with pytest.raises(ValueError, match=says):
        metric(expected, predicted, clusters)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        (([], [], []), "say nothing"),
        (([1], [0, 1], [0]), "not of the same cells"),
        (([1, 0], [0, 0], [0, 0]), "say nothing"),
        (([1], [float("nan")], [0]), "negative or not a number"),
        (([1], [-1], [0]), "negative or not a number|more than its whole"),
    ],
)
def test_what_is_no_count_is_refused(counts: tuple[list[int], list[int], list[int]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        f1(*counts, clusters=range(len(counts[0]) and 1))


def delta_method(y: NDArray[np.bool_], p: NDArray[np.bool_]) -> tuple[float, float]:
    """The interval of F1 that the shape of Wilson's replaces."""
    a, d = 2.0 * (y & p), 1.0 * y + 1.0 * p
    mean = a.sum() / d.sum()
    half = t.ppf(0.975, len(y) - 1) * sqrt(float(((a - mean * d) ** 2).sum()) / float(d.sum()) ** 2)
    return mean - half, mean + half


def of_f1(y: NDArray[np.bool_], p: NDArray[np.bool_]) -> tuple[float, float]:
    found = f1(y & p, p & ~y, y & ~p, np.arange(len(y)))
    assert found is not None
    return found[1:3]


def covered_f1(
    interval: Callable[[NDArray[np.bool_], NDArray[np.bool_]], tuple[float, float]],
    rows: int,
    prevalence: float,
    sensitivity: float,
    specificity: float,
) -> float:
    generator = np.random.default_rng(rows)
    right, many = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    truth = 2 * right / (right + many + prevalence)
    held = []
    for _ in range(500):
        y = generator.random(rows) < prevalence
        p = np.where(y, generator.random(rows) < sensitivity, generator.random(rows) > specificity)
        if (y | p).any():
            low, high = interval(y, p)
            held.append(low <= truth <= high)
    return sum(held) / len(held)


@pytest.mark.parametrize("rows", [20, 50, 200])
@pytest.mark.parametrize("setting", [(0.1, 0.7, 0.95), (0.3, 0.9, 0.95), (0.5, 0.98, 0.98), (0.1, 0.95, 0.99)])
def test_f1_is_covered(rows: int, setting: tuple[float, float, float]) -> None:
    assert covered_f1(of_f1, rows, *setting) >= 0.93


def test_the_demand_tells_the_delta_method() -> None:
    assert covered_f1(delta_method, 20, 0.1, 0.95, 0.99) < 0.6


@OVER_CLASSES
@pytest.mark.parametrize("rows", [50, 200])
@pytest.mark.parametrize(
    ("shares", "answers"),
    [
        ([1 / 3] * 3, [[0.8, 0.1, 0.07, 0.03], [0.1, 0.8, 0.07, 0.03], [0.1, 0.1, 0.75, 0.05]]),
        ([0.6, 0.3, 0.1], [[0.9, 0.05, 0.05, 0], [0.1, 0.8, 0.07, 0.03], [0.2, 0.1, 0.65, 0.05]]),
    ],
    ids=["even", "a class of few"],
)
def test_means_over_classes_are_covered(
    metric: OverClasses, definition: Weighted, rows: int, shares: list[float], answers: list[list[float]]
) -> None:
    generator = np.random.default_rng(rows)
    ends = np.cumsum(answers, axis=1)
    pairs = [(e, p if p < 3 else -1) for e in range(3) for p in range(4)]
    truth = definition(pairs, (np.array(shares)[:, None] * np.array(answers)).ravel())
    held = []
    for _ in range(500):
        expected = generator.choice(3, rows, p=shares)
        predicted = (generator.random((rows, 1)) > ends[expected]).sum(axis=1)
        found = metric(expected, np.where(predicted < 3, predicted, -1), np.arange(rows))
        held.append(found.low <= truth <= found.high)

    # The least is that of balanced accuracy with five rows of a class, 91 %; one pseudo-row in all gives 84 %.
    assert sum(held) / len(held) >= 0.88
