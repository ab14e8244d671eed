"""Estimates and differences by kind of score: 0/1 scores, scores within bounds, and amounts without bounds."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isfinite
from typing import Any

import numpy as np

from promptkit.evaluation.metrics.base import Difference, Estimate, Metric, MetricInput, Sample
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.statistics.interval import CONFIDENCE, Mean, Paired, bounded_mean, quantile
from promptkit.evaluation.statistics.paired import paired_binary, paired_graded, paired_ratio

FEW_CLUSTERS = 10
"""Below this many clusters, or differing clusters, a note says that an interval rests on few."""
UPPER_QUANTILE = 0.95
"""The quantile that is shown beside the median."""
NO_BOOTSTRAP = f"fewer than {FEW_CLUSTERS} rows are too few for a bootstrap interval"
NOTHING_SCORED = Estimate(mean=None, notes=("no cell has a score",))


class Proportion(Metric):
    """A metric whose scores are 0 or 1: Wilson's interval, with an effective sample size where cells are clustered.

    Two variants with one cell a row are compared by Tango's interval and McNemar's mid-p, others by cluster sums.
    """

    def estimate(self, sample: Sample) -> Estimate:
        return bounded_estimate(sample, (0.0, 1.0), binary=True)

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        return binary_difference(a, b, self.higher_is_better, level)


class Graded(Metric):
    """A metric whose scores lie within `bounds`: Wilson's form with an effective sample size, on the scaled scores.

    Two variants are compared by a t interval on cluster differences with two pseudo-clusters, and by sign flips.
    """

    def estimate(self, sample: Sample) -> Estimate:
        assert self.bounds is not None, "a graded metric has bounds"
        return bounded_estimate(sample, self.bounds, binary=False)

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        assert self.bounds is not None, "a graded metric has bounds"
        return graded_difference(a, b, self.bounds, self.higher_is_better, level)


class Unbounded(Metric):
    """A metric without bounds, where lower is better: `mean` is the median, `parts` has the 95th percentile.

    Two variants are compared by the ratio of their geometric means. Unparsed and cut-off answers are measured like
    others.
    """

    bounds: tuple[float, float] | None = None
    higher_is_better = False
    needs_expected = False

    def unanswered(self, given: MetricInput) -> Score:
        return self.measure(given)

    def estimate(self, sample: Sample) -> Estimate:
        return median_estimate(sample)

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        return ratio_difference(a, b, self.higher_is_better, level)


def bounded_estimate(sample: Sample, bounds: tuple[float, float], *, binary: bool) -> Estimate:
    """Return the mean of scores within bounds, with its interval, in their units."""
    if not len(sample):
        return NOTHING_SCORED
    low, width = bounds[0], bounds[1] - bounds[0]
    found = bounded_mean((sample.scores - low) / width, sample.clusters, binary=binary)
    few = found.clusters < FEW_CLUSTERS and not (binary and found.clusters == found.n)
    return Estimate(
        mean=low + width * found.mean,
        low=low + width * found.low,
        high=low + width * found.high,
        n=found.n,
        clusters=found.clusters,
        notes=(f"only {found.clusters} independent rows: the interval is not reliable",) if few else (),
    )


def mean_estimate(found: Mean | None, *, parts: Mapping[str, Any], notes: tuple[str, ...] = ()) -> Estimate:
    """Return a mean as an estimate; None stands for an undefined mean."""
    if found is None:
        return Estimate(mean=None, parts=parts, notes=notes)
    mean, low, high, n, clusters, _ = found
    return Estimate(mean=mean, low=low, high=high, n=n, clusters=clusters, parts=parts, notes=notes)


def binary_difference(a: Sample, b: Sample, higher_is_better: bool, level: float) -> Difference | None:
    """Return the difference of 0/1 scores on the same cells."""
    if not len(a):
        return None
    if not has_independent_cells(a):
        return graded_difference(a, b, (0.0, 1.0), higher_is_better, level)
    return metric_difference(paired_binary(a.scores, b.scores, level=level), higher_is_better)


def graded_difference(
    a: Sample, b: Sample, bounds: tuple[float, float], higher_is_better: bool, level: float
) -> Difference | None:
    """Return the difference of scores within bounds on the same cells, in their units."""
    if not len(a):
        return None
    width = bounds[1] - bounds[0]
    first, second = ((sample.scores - bounds[0]) / width for sample in (a, b))
    found = paired_graded(first, second, a.clusters, level=level, seed=0)
    differing = found.better + found.worse
    few = (
        (f"only {differing} of {found.n} rows differ: the interval rests on few",)
        if 0 < differing < FEW_CLUSTERS
        else ()
    )
    return metric_difference(found, higher_is_better, scale=width, notes=few)


def median_estimate(sample: Sample) -> Estimate:
    """Return the median of a sample as its mean, with the 95th percentile and the average in `parts`."""
    if not len(sample):
        return NOTHING_SCORED
    median, low, high = _quantile(sample, 0.5)
    upper = dict(zip(("value", "low", "high"), _quantile(sample, UPPER_QUANTILE), strict=True))
    return Estimate(
        mean=median,
        low=low,
        high=high,
        n=len(sample),
        clusters=count_clusters(sample),
        parts={"mean_is": "median", "p95": upper, "average": float(sample.scores.mean())},
    )


def ratio_difference(a: Sample, b: Sample, higher_is_better: bool, level: float) -> Difference | None:
    """Return the ratio of geometric means of two samples on the same cells, without cells where either is 0."""
    if not len(a):
        return None
    if (a.scores < 0).any() or (b.scores < 0).any():
        return Difference(difference=None, is_ratio=True, notes=("a cell is below 0: there is no ratio",))
    found = paired_ratio(a.scores, b.scores, a.clusters, level=level)
    if not found.n:
        note = "in every cell one side is 0: there is no ratio"
        return Difference(difference=None, is_ratio=True, method=found.method, notes=(note,))
    # `paired_ratio` counts lower amounts as better.
    return metric_difference(found, not higher_is_better, is_ratio=True)


def has_independent_cells(sample: Sample) -> bool:
    """Tell whether each cell is its own cluster."""
    return count_clusters(sample) == len(sample)


def count_clusters(sample: Sample) -> int:
    """Return the number of clusters of a sample."""
    return len(np.unique(sample.clusters))


def metric_difference(
    found: Paired,
    higher_is_better: bool,
    *,
    scale: float = 1.0,
    is_ratio: bool = False,
    notes: tuple[str, ...] = (),
) -> Difference:
    """Return a paired result as a metric's difference, in units of `scale`, where better is as the metric defines it.

    Numbers that are not finite become None.
    """
    better, worse = (found.better, found.worse) if higher_is_better else (found.worse, found.better)
    return Difference(
        difference=finite(found.difference, scale),
        low=finite(found.low, scale),
        high=finite(found.high, scale),
        p=finite(found.p),
        n=found.n,
        better=better,
        worse=worse,
        is_ratio=is_ratio,
        spread=finite(found.spread, scale),
        method=found.method,
        notes=notes,
    )


def finite(value: Any, scale: float = 1.0) -> float | None:
    """Return a scaled number, None for infinity and NaN."""
    return None if value is None or not isfinite(value) else float(value) * scale


def _quantile(sample: Sample, q: float) -> tuple[float | None, float | None, float | None]:
    """Return a quantile of the first column with its limits, None where there are too few cells for one.

    Limits are order statistics; where cells are clustered their ranks come from the interval of the share of cells up
    to the quantile (Woodruff 1952, Journal of the American Statistical Association 47).
    """

    value, low, high = quantile(sample.scores, q)
    if has_independent_cells(sample):
        return value, finite(low), finite(high)
    ordered = np.sort(sample.scores)
    share = bounded_mean((sample.scores <= value).astype(float), sample.clusters, binary=True)
    below, above = int(share.low * len(ordered)) - 1, ceil(share.high * len(ordered))
    return (
        value,
        float(ordered[below]) if below >= 0 else None,
        float(ordered[above]) if above < len(ordered) else None,
    )
