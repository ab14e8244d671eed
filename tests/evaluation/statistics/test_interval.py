"""Intervals of rates, of means of bounded scores, and of quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.statistics.interval import (
    CONFIDENCE,
    NORMAL_QUANTILE,
    Interval,
    Mean,
    bounded_mean,
    normal_quantile,
    quantile,
    t_quantile,
    wilson,
)

counts = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
grades = st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0])
millionths = st.integers(0, 1_000_000).map(lambda part: part / 1_000_000)
cells = st.lists(st.tuples(millionths | grades, st.integers(-3, 3)), min_size=1, max_size=40)
graded_cells = st.lists(st.tuples(grades, st.integers(-3, 3)), min_size=1, max_size=40)
Cells = list[tuple[float, int]]


def mean_of(cells: Cells, *, binary: bool = False, level: float = 0.95) -> Mean:
    """The interval of cells given as (score, cluster)."""
    return bounded_mean([score for score, _ in cells], [code for _, code in cells], binary=binary, level=level)


def rows(right_of: Sequence[tuple[int, int]]) -> Cells:
    """0/1 cells of clusters given as (right, cells), with codes that are neither in a row nor from 0 on."""
    return list(
        chain.from_iterable(
            [(1.0, 7 * code + 3)] * right + [(0.0, 7 * code + 3)] * (n - right)
            for code, (right, n) in enumerate(right_of)
        )
    )


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),  # the same
        (0, 20, 0.0, 0.1611),  # the same
        (1, 29, 0.0061, 0.1718),  # the same
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_known_intervals(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


@given(counts)
def test_it_is_what_scipy_says(given_counts: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    right, n = given_counts
    expected = binomtest(right, n).proportion_ci(method="wilson")

    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-7)


@given(counts)
def test_it_lies_within_0_and_1_and_holds_the_rate(given_counts: tuple[int, int]) -> None:
    right, n = given_counts

    low, high = wilson(right, n)

    assert 0 <= low <= right / n <= high <= 1
    assert high - low > 0


@given(counts, st.integers(2, 50))
def test_it_shrinks_with_more_rows_of_the_same_rate(given_counts: tuple[int, int], factor: int) -> None:
    right, n = given_counts
    few, many = wilson(right, n), wilson(right * factor, n * factor)

    assert many.high - many.low < few.high - few.low


@given(counts)
def test_right_and_wrong_are_mirrored(given_counts: tuple[int, int]) -> None:
    right, n = given_counts
    low, high = wilson(right, n)

    assert wilson(n - right, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(counts)
def test_its_ends_are_the_rates_from_which_the_observed_one_is_just_not_too_far(given_counts: tuple[int, int]) -> None:
    right, n = given_counts
    rate = right / n
    for end in wilson(right, n):
        assert abs(rate - end) == pytest.approx(NORMAL_QUANTILE * sqrt(end * (1 - end) / n), rel=1e-6, abs=1e-9)


def test_no_rows_say_nothing() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(("right", "n"), [(-1, 3), (4, 3)])
def test_counts_that_are_none_are_refused(right: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{right} of {n}"):
        wilson(right, n)


@given(counts)
def test_statsmodels_says_the_same(given_counts: tuple[int, int]) -> None:
    from statsmodels.stats.proportion import proportion_confint

    right, n = given_counts

    assert wilson(right, n) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-7)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 1 - 0.05 / 6])
def test_quantiles_are_those_of_scipy(level: float) -> None:
    from scipy.stats import norm, t

    assert normal_quantile(level) == pytest.approx(norm.ppf((1 + level) / 2), abs=5e-8)
    assert t_quantile(level, 7) == pytest.approx(t.ppf((1 + level) / 2, 7))
    assert t_quantile(level, 0) == inf


@pytest.mark.parametrize("level", [0, 1, 95, -0.1])
def test_a_confidence_lies_between_0_and_1(level: float) -> None:
    for quantile_of in (normal_quantile, lambda level: t_quantile(level, 5)):
        with pytest.raises(ValueError, match="not a confidence"):
            quantile_of(level)


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.sampled_from([0.8, 0.95, 0.99]))
def test_independent_0_1_rows_get_wilsons_interval_to_the_digit(right: list[bool], level: float) -> None:
    n = len(right)
    low, high = wilson(sum(right), n, z=normal_quantile(level))

    found = bounded_mean(right, [(code * 37) % 1009 for code in range(n)], binary=True, level=level)

    assert found == Mean(sum(right) / n, low, high, n, n, n)


@pytest.mark.parametrize(
    ("cells", "binary", "mean", "effective", "low", "high"),
    [
        (list(zip([1.0] * 10 + [0.5] * 6 + [0.0] * 4, range(20), strict=True)), False, 0.65, 27.77, 0.4523, 0.8068),
        (rows([(5, 5)] * 12 + [(4, 5)] * 3 + [(1, 5)] * 3 + [(0, 5)] * 2), True, 0.75, 25.19, 0.5422, 0.8837),
        (
            rows([(8, 10), (3, 4), (1, 1), (2, 2), (4, 4), (0, 1), (1, 1), (1, 1), (2, 4), (6, 8)]),
            True,
            0.7778,
            14.40,
            0.4393,
            0.9399,
        ),
    ],
    ids=["graded", "repeats", "documents"],
)
def test_known_means(cells: Cells, binary: bool, mean: float, effective: float, low: float, high: float) -> None:
    found = mean_of(cells, binary=binary)

    assert found.effective == pytest.approx(effective, abs=5e-3)
    assert found[:3] == pytest.approx((mean, low, high), abs=5e-5)


@given(graded_cells)
def test_its_variance_is_that_of_a_regression_with_clustered_errors(given_cells: Cells) -> None:
    from statsmodels.api import OLS

    found = mean_of(given_cells)
    largest = found.mean * (1 - found.mean)
    groups = found.clusters
    scores, codes = np.array(given_cells).T
    sizes = np.unique(codes, return_counts=True)[1]
    fewest = len(scores) ** 2 / float((sizes**2).sum())
    if groups < 2 or largest == 0:
        assert found.effective == pytest.approx(fewest)
        return
    fit = OLS(scores, np.ones(len(scores))).fit(cov_type="cluster", cov_kwds={"groups": codes})
    variance = (groups - 1) / groups * float(fit.cov_params()[0, 0])
    expected = max(fewest, largest / (variance + largest * groups / fewest**3))

    if len(set(sizes)) == 1:
        assert found.effective == pytest.approx(expected)
    assert found.effective <= expected * (1 + 1e-9)


def test_clusters_of_unequal_sizes_have_at_least_a_variance_that_grows_with_their_size() -> None:
    # One small cluster has both wrong cells.
    sizes, wrong = np.array([2, 2, 2, 12, 12]), np.array([2, 0, 0, 0, 0])
    found = mean_of(rows([(size - missed, size) for size, missed in zip(sizes, wrong, strict=True)]), binary=True)

    mean, squares = 28 / 30, (wrong - 2 / 30 * sizes) ** 2
    by_size = (sizes**1.5).sum() * (squares / np.sqrt(sizes)).sum() / 30
    assert by_size > squares.sum()
    fewest, largest = 900 / (sizes**2).sum(), mean * (1 - mean)
    assert found.effective == pytest.approx(max(fewest, largest / (by_size / 900 + largest * 5 / fewest**3)))


@given(cells, st.randoms(), st.booleans())
def test_neither_order_nor_codes_change_a_digit(given_cells: Cells, random: object, binary: bool) -> None:
    if binary:
        given_cells = [(float(score > 0.5), code) for score, code in given_cells]
    shuffled = [(score, 1000 - 13 * code) for score, code in given_cells]
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert mean_of(shuffled, binary=binary) == mean_of(given_cells, binary=binary)


@given(cells, st.sampled_from([0.5, 0.95, 0.999]))
def test_a_mean_lies_in_its_interval_within_the_bounds(given_cells: Cells, level: float) -> None:
    found = mean_of(given_cells, level=level)

    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.mean == pytest.approx(sum(score for score, _ in given_cells) / len(given_cells))
    assert found.high > found.low
    assert (found.n, found.clusters) == (len(given_cells), len({code for _, code in given_cells}))


@given(cells)
def test_a_higher_confidence_holds_a_lower_one(given_cells: Cells) -> None:
    narrow, wide = mean_of(given_cells, level=0.9), mean_of(given_cells, level=0.99)

    assert wide.low <= narrow.low + 1e-12
    assert narrow.high <= wide.high + 1e-12


@given(cells, st.integers(-5, 5))
def test_one_more_failed_cell_never_raises_the_mean(given_cells: Cells, code: int) -> None:
    assert mean_of([*given_cells, (0.0, code)]).mean <= mean_of(given_cells).mean


@given(graded_cells)
def test_scores_and_their_opposites_are_mirrored(given_cells: Cells) -> None:
    found, mirrored = mean_of(given_cells), mean_of([(1 - score, code) for score, code in given_cells])

    assert (mirrored.mean, mirrored.low, mirrored.high) == pytest.approx(
        (1 - found.mean, 1 - found.high, 1 - found.low), abs=1e-9
    )


@given(cells, st.integers(2, 6))
def test_repeats_that_all_agree_say_no_more_than_one(given_cells: Cells, times: int) -> None:
    once, again = mean_of(given_cells), mean_of(given_cells * times)

    assert again[:3] == pytest.approx(once[:3], abs=1e-9)
    assert again.effective == pytest.approx(once.effective)


@given(cells)
def test_more_clusters_of_the_same_scores_narrow_it(given_cells: Cells) -> None:
    doubled = given_cells + [(score, code + 100) for score, code in given_cells]
    few, many = mean_of(given_cells), mean_of(doubled)

    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_equal_scores_keep_a_width(score: float) -> None:
    found = mean_of([(score, code) for code in range(20)])

    assert 0.05 < found.high - found.low < 0.25


def test_one_cluster_says_nothing_of_others() -> None:
    assert mean_of([(1.0, 4), (0.0, 4), (1.0, 4)], binary=True)[1:3] == (0.0, 1.0)


def test_rounding_beyond_a_bound_is_forgiven() -> None:
    assert mean_of([(1 + 2e-16, 0), (0.1 + 0.2 + 0.7, 1), (-1e-17, 2)]).mean == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("scores", "clusters", "binary", "says"),
    [
        ([], [], False, "at least one value"),
        ([0.5, float("nan")], [0, 1], False, "not a number"),
        ([0.5, 1.1], [0, 1], False, "not within 0 and 1"),
        ([-0.1], [0], False, "not within 0 and 1"),
        ([1.0, 0.5], [0, 1], True, "neither 0 nor 1"),
        ([1.0, 0.5], [0], False, "cluster codes"),
        ([[1.0], [0.5]], [0, 1], False, "at least one value"),
    ],
)
def test_what_is_no_score_is_refused(scores: list[float], clusters: list[int], binary: bool, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bounded_mean(scores, clusters, binary=binary)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    st.sampled_from([0.05, 0.5, 0.9, 0.95]),
    st.sampled_from([0.9, 0.95]),
)
def test_a_quantile_and_its_limits_are_those_of_scipy(values: list[float], q: float, level: float) -> None:
    from scipy.stats import quantile_test

    value, low, high = quantile(values, q, level=level)
    test = quantile_test(values, q=value, p=q).confidence_interval(confidence_level=level)

    assert value == pytest.approx(np.quantile(values, q))
    assert low == (-inf if np.isnan(test.low) else min(test.low, value))
    assert high == (inf if np.isnan(test.high) else max(test.high, value))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_quantile_lies_within_its_limits_in_any_order(values: list[float], q: float, level: float) -> None:
    found = quantile(values, q, level=level)

    assert found.low <= found.value <= found.high
    assert quantile(values[::-1], q, level=level) == found


def test_too_few_values_have_no_limit_of_a_95th_percentile() -> None:
    assert quantile(range(72), 0.95).high < inf
    assert quantile(range(71), 0.95).high == inf
    assert quantile(range(71), 0.95).low > -inf


@pytest.mark.parametrize(("values", "q"), [([], 0.5), ([1.0, float("nan")], 0.5), ([1.0], 0.0), ([1.0], 1.0)])
def test_what_has_no_quantile_is_refused(values: list[float], q: float) -> None:
    with pytest.raises(ValueError, match=r"at least one value|not a number|not a quantile"):
        quantile(values, q)


def test_the_level_of_intervals_is_one_constant() -> None:
    assert (CONFIDENCE, NORMAL_QUANTILE) == (0.95, 1.959964)
    assert normal_quantile(CONFIDENCE) == NORMAL_QUANTILE
    assert wilson(7, 10) == wilson(7, 10, z=normal_quantile(0.95))
