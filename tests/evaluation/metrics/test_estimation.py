"""How scores of many cells are summed up and compared, by family."""

from typing import Any

import pytest
from pytest import approx

from promptkit.evaluation.metrics.base import Metric
from promptkit.evaluation.metrics.estimation import Graded, Proportion, Unbounded
from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.statistics.paired import tango
from tests.evaluation.metrics.given import metric, sample


class Halves(Graded):
    """Scores from 1 to 5, the fewer the better."""

    kind = "halves"
    about = "for these tests"
    bounds = (1.0, 5.0)
    higher_is_better = False


@pytest.fixture
def halves() -> Metric:
    example = metric("exact")
    return Halves("halves", example.parameters, example.context)


def test_independent_0_and_1_have_wilsons_interval() -> None:
    found = metric("exact").estimate(sample([1.0] * 18 + [0.0] * 2))
    assert (found.mean, found.n, found.clusters, found.notes) == (0.9, 20, 20, ())
    assert (found.low, found.high) == approx(wilson(18, 20))


def test_repeats_that_agree_say_no_more_than_their_rows() -> None:
    scores = [1.0] * 40 + [0.0] * 10
    five = metric("exact").estimate(sample(scores * 5, [*range(50)] * 5))
    once = metric("exact").estimate(sample(scores))
    assert five.low is not None and five.high is not None and once.low is not None and once.high is not None
    assert five.high - five.low == approx(once.high - once.low, rel=0.06)


def test_an_interval_of_few_clusters_says_so() -> None:
    found = metric("exact").estimate(sample([1.0, 0.0] * 10, clusters=[row // 5 for row in range(20)]))
    assert found.clusters == 4 and "only 4 independent rows" in found.notes[0]


def test_a_metric_with_other_bounds_is_told_in_its_own_units(halves: Metric) -> None:
    unit = metric("edit").estimate(sample([0.0, 0.25, 0.5, 1.0] * 5))
    found = halves.estimate(sample([1.0, 2.0, 3.0, 5.0] * 5))
    assert None not in (unit.mean, unit.low, unit.high)
    assert (found.mean, found.low, found.high) == approx((2.75, 1 + 4 * (unit.low or 0), 1 + 4 * (unit.high or 0)))


def test_pairs_of_0_and_1_have_tangos_interval() -> None:
    a, b = sample([1.0] * 30 + [0.0] * 20), sample([1.0] * 18 + [0.0] * 28 + [1.0] * 4)
    found = metric("exact").difference(a, b)
    assert found is not None and "Tango" in found.method
    assert found.difference == approx(8 / 50) and (found.better, found.worse, found.n) == (12, 4, 50)
    assert (found.low, found.high) == approx(tango(12, 4, 50))
    assert found.spread == approx(17 / 52)


def test_repeats_are_compared_by_their_rows() -> None:
    rows = [row for row in range(20) for _ in range(3)]
    a = sample([1.0] * 60, rows)
    b = sample([float(cell % 3 > 0) for cell in range(60)], rows)
    found = metric("exact").difference(a, b)
    assert found is not None and "sign flips" in found.method
    assert found.difference == approx(1 / 3) and (found.n, found.better, found.worse) == (20, 20, 0)


def test_where_less_is_better_a_fall_is_for_the_better(halves: Metric) -> None:
    a, b = sample([1.0] * 15 + [3.0] * 5), sample([3.0] * 15 + [2.0] * 5)
    found = halves.difference(a, b)
    assert found is not None and (found.better, found.worse) == (15, 5)
    assert found.difference == approx((15 * -2 + 5 * 1) / 20) and found.high is not None and found.high < 0
    assert found.spread is not None and found.spread > 1 and not found.notes


def test_a_graded_difference_of_few_rows_says_so(halves: Metric) -> None:
    found = halves.difference(sample([1.0] * 20), sample([1.0] * 17 + [2.0] * 3))
    assert found is not None and found.notes == ("only 3 of 20 rows differ: the interval rests on few",)


def test_a_difference_reaches_no_further_than_the_scores_can(halves: Metric) -> None:
    found = halves.difference(sample([5.0, 1.0]), sample([1.0, 5.0]))
    assert found is not None and (found.low, found.high) == (-4, 4)


@pytest.mark.parametrize("family", [Proportion, Graded, Unbounded])
def test_of_no_cells_nothing_is_said(family: Any) -> None:
    example = metric("exact")
    of, nothing = family("none", example.parameters, example.context), sample([[0.0]])
    nothing = type(nothing)(nothing.values[:0], nothing.rows[:0], nothing.clusters[:0])
    found = of.estimate(nothing)
    assert (found.mean, found.n, found.notes) == (None, 0, ("no cell has a score",))
    assert of.difference(nothing, nothing) is None
