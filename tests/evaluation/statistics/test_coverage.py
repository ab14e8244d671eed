"""How often intervals hold the truth. The same demands must tell a good interval from known bad ones."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, t

from promptkit.evaluation.statistics.interval import Interval, bounded_mean, wilson

Floats = NDArray[np.float64]
Scores = Callable[[np.random.Generator, int], Floats]
OfRate = Callable[[int, int], tuple[float, float]]
OfScores = Callable[[Floats, NDArray[np.int64]], tuple[float, float]]

RATES = np.linspace(0.005, 0.995, 397)


def coverage_of_rates(interval: OfRate, n: int) -> Floats:
    """The exact share of samples of n rows whose interval holds the rate, at each of RATES."""
    ends = np.array([interval(right, n) for right in range(n + 1)])
    held = (ends[:, :1] <= RATES) & (ends[:, 1:] >= RATES)
    return np.asarray((binom.pmf(np.arange(n + 1)[:, None], n, RATES) * held).sum(axis=0))


def shortcomings(interval: OfRate) -> list[str]:
    """What a 95 % interval of a rate fails of: its mean coverage, where most lies, and its lowest."""
    found = []
    for n in (20, 50, 200):
        covered = coverage_of_rates(interval, n)
        if not 0.945 <= covered.mean() <= 0.96:
            found.append(f"mean of {n}")
        if n >= 50 and ((covered >= 0.93) & (covered <= 0.97)).mean() < 0.9:
            found.append(f"spread of {n}")
        if covered.min() < 0.85:
            found.append(f"minimum of {n}")
    return found


def of_rows(right: int, n: int) -> tuple[float, float]:
    return bounded_mean(np.arange(n) < right, np.arange(n), binary=True)[1:3]


def wald(right: int, n: int) -> tuple[float, float]:
    rate = right / n
    half = 1.96 * sqrt(rate * (1 - rate) / n)
    return rate - half, rate + half


def clopper_pearson(right: int, n: int) -> tuple[float, float]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(right, n, method="beta")
    return low, high


@pytest.mark.parametrize("interval", [wilson, of_rows])
def test_rates_are_covered(interval: OfRate) -> None:
    assert shortcomings(interval) == []


def test_the_demands_tell_bad_intervals_of_rates() -> None:
    assert {"mean of 20", "minimum of 20", "mean of 50", "minimum of 50", "minimum of 200"} <= set(shortcomings(wald))
    assert {"mean of 20", "mean of 50", "spread of 50"} <= set(shortcomings(clopper_pearson))


def test_wilsons_coverage_is_the_published_one() -> None:
    covered = {n: coverage_of_rates(wilson, n) for n in (20, 50, 200)}

    # Brown, Cai & DasGupta (2001), Statistical Science 16, plot them; these are sums of the binomial.
    assert [round(100 * covered[n].mean(), 1) for n in (20, 50, 200)] == [95.3, 95.2, 95.1]
    assert [round(100 * covered[n].min(), 1) for n in (20, 50, 200)] == [86.0, 91.1, 92.0]


def covered_share(interval: OfScores, scores: Scores, truth: float, *, rows: int, repeats: int, runs: int) -> float:
    """The share of simulated samples whose interval holds the truth."""
    generator = np.random.default_rng(rows)
    clusters = np.repeat(np.arange(rows), repeats)
    held = 0
    for _ in range(runs):
        low, high = interval(scores(generator, rows), clusters)
        held += low <= truth <= high
    return held / runs


def graded(scores: Floats, clusters: NDArray[np.int64]) -> tuple[float, float]:
    return bounded_mean(scores, clusters, binary=False)[1:3]


def binary(scores: Floats, clusters: NDArray[np.int64]) -> tuple[float, float]:
    return bounded_mean(scores, clusters, binary=True)[1:3]


def t_on_rows(scores: Floats, clusters: NDArray[np.int64]) -> tuple[float, float]:
    half = t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / sqrt(len(scores))
    return scores.mean() - half, scores.mean() + half


def cells_as_rows(scores: Floats, clusters: NDArray[np.int64]) -> Interval:
    return wilson(int(scores.sum()), len(scores))


def ones_and_rest(share: float) -> Scores:
    return lambda generator, n: np.where(generator.random(n) < share, 1.0, generator.random(n))


GRADED: dict[str, tuple[Scores, float]] = {
    "even": (lambda generator, n: generator.beta(2, 2, n), 0.5),
    "high": (lambda generator, n: generator.beta(9, 1, n), 0.9),
    "mostly ones": (ones_and_rest(0.8), 0.9),
    "nearly all ones": (ones_and_rest(0.97), 0.985),
    "set F1": (lambda generator, n: generator.choice([0, 0.5, 2 / 3, 1], n, p=[0.2, 0.2, 0.2, 0.4]), 19 / 30),
    "mostly zeros": (lambda generator, n: (generator.random(n) < 0.3) * generator.beta(5, 2, n), 0.3 * 5 / 7),
}


@pytest.mark.parametrize("rows", [20, 50, 200])
@pytest.mark.parametrize("scores", GRADED)
def test_graded_scores_are_covered(scores: str, rows: int) -> None:
    found = covered_share(graded, *GRADED[scores], rows=rows, repeats=1, runs=800)

    # Two standard errors of 800 runs below the lowest coverage, 90.9 % of 50 rows that are nearly all 1.
    assert found >= (0.89 if scores == "nearly all ones" else 0.925)


def test_the_demand_tells_t_on_rows() -> None:
    assert covered_share(t_on_rows, *GRADED["nearly all ones"], rows=50, repeats=1, runs=800) < 0.75


def repeated(mean: float, correlation: float) -> Scores:
    """Five 0/1 cells a row, of a rate that differs by row so that they have this intraclass correlation."""
    weight = 1 / correlation - 1

    def draw(generator: np.random.Generator, rows: int) -> Floats:
        rates = np.repeat(generator.beta(mean * weight, (1 - mean) * weight, rows), 5)
        return (generator.random(rows * 5) < rates).astype(float)

    return draw


@pytest.mark.parametrize("rows", [20, 50, 200])
@pytest.mark.parametrize("correlation", [0.3, 0.8])
@pytest.mark.parametrize("mean", [0.5, 0.9, 0.99])
def test_repeats_are_covered(mean: float, correlation: float, rows: int) -> None:
    found = covered_share(binary, repeated(mean, correlation), mean, rows=rows, repeats=5, runs=800)

    assert found >= 0.91


@pytest.mark.parametrize("mean", [0.5, 0.9, 0.99])
def test_the_demand_tells_cells_taken_as_independent(mean: float) -> None:
    assert covered_share(cells_as_rows, repeated(mean, 0.8), mean, rows=50, repeats=5, runs=800) < 0.9


def lower_ends_above(rate: float, *, groups: int, runs: int) -> float:
    """The share of samples of unequal clusters, alike in themselves, whose lower end is above the rate."""
    generator, weight, above = np.random.default_rng(groups), 1 / 0.3 - 1, 0
    for _ in range(runs):
        sizes = np.clip(np.round(np.exp(generator.normal(1.3, 0.9, groups))), 1, 40).astype(int)
        rates = generator.beta(rate * weight, (1 - rate) * weight, groups)
        clusters = np.repeat(np.arange(groups), sizes)
        above += binary((generator.random(sizes.sum()) < rates[clusters]).astype(float), clusters)[0] > rate
    return above / runs


@pytest.mark.parametrize(("rate", "groups"), [(0.95, 50), (0.97, 100)])
def test_the_lower_end_of_unequal_clusters_is_seldom_above_the_rate(rate: float, groups: int) -> None:
    # Nominally 2.5 %; without what unequal sizes add it is 6 to 8 %.
    assert lower_ends_above(rate, groups=groups, runs=400) <= 0.04
