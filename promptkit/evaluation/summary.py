"""The summary of a run as JSON: metrics with intervals, comparisons with the baseline, live estimates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from promptkit.evaluation.cells.tally import Tally, paired_samples
from promptkit.evaluation.metrics.base import Difference, Estimate, Metric, Sample
from promptkit.evaluation.record import ComparisonRecord, DifferenceRecord, MetricRecord, VariantRecord
from promptkit.evaluation.suite.suite import Suite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.engine.requirements import Fallback
    from promptkit.evaluation.cells.progress import VariantRun
    from promptkit.evaluation.evaluate import Evaluation

CONFIDENCE = 0.95
MOST_MISSING = 0.02
"""The share of missing cells above which nothing is said of a difference, even with `--allow-missing`."""

SMALLEST_DIFFERENCE = 0.05
"""The smallest difference worth telling, where nobody says another (`--smallest`), of the range of a metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRules:
    """What is said when. `smallest` is a share of a metric's range; `so_far` marks a run that goes on."""

    allow_missing: bool = False
    smallest: float = SMALLEST_DIFFERENCE
    so_far: bool = False


class Summary(NamedTuple):
    """The variants of a run, and their comparisons with the baseline."""

    variants: list[VariantRecord]
    comparisons: list[ComparisonRecord]


def summarize(
    suite: Suite, contenders: Sequence[VariantRun], clusters: NDArray[np.int64] | None, rows: int, judging: ReportRules
) -> Summary:
    """Return the variants and comparisons of a run over so many rows.

    While cells are missing nothing is compared, but with `allow_missing` up to a share of MOST_MISSING, each missing
    cell counting against a difference.
    """
    cells = rows * suite.repeat
    variants = [
        variant_record(
            each.variant.name,
            each.variant.sets,
            each.tally,
            cells,
            clusters,
            cost=variant_cost(each, suite),
            fallbacks=each.fallbacks,
        )
        for each in contenders
    ]
    if judging.so_far:
        return Summary(variants, [])
    return Summary(variants, list(_comparisons(suite, contenders, cells, clusters, judging)))


def variant_record(
    name: str,
    sets: Mapping[str, Any],
    tally: Tally,
    cells: int,
    clusters: NDArray[np.int64] | None,
    *,
    cost: float | None,
    fallbacks: Sequence[Fallback],
) -> VariantRecord:
    """Return a variant that should have so many cells as its tally has it."""
    spent = tally.spent
    return VariantRecord(
        name=name,
        sets=dict(sets),
        cases=cells,
        missing=cells - (tally.done - tally.missing),
        metrics={metric.name: _metric_record(metric, tally, clusters) for metric in tally.metrics},
        unparsed=tally.unparsed,
        truncated=tally.truncated,
        calls=spent.calls,
        cached=spent.cached,
        tokens_in=spent.tokens_in,
        tokens_out=spent.tokens_out,
        seconds=round(spent.seconds, 3),
        cost=cost,
        fallbacks=list(fallbacks),
    )


def _metric_record(metric: Metric, tally: Tally, clusters: NDArray[np.int64] | None) -> MetricRecord:
    """Return a metric of a variant; `of_parsed` is its mean without answers that cannot be read."""
    of_parsed = None
    if metric.bounds is not None and tally.unparsed + tally.truncated:
        of_parsed = metric.estimate(tally.parsed(metric, clusters)).mean
    record = estimate_record(metric, metric.estimate(tally.sample(metric, clusters)))
    return record.model_copy(update={"of_parsed": of_parsed, "unscored": tally.unscored(metric)})


def estimate_record(metric: Metric, estimate: Estimate) -> MetricRecord:
    """Return an estimate as the record has it."""
    return MetricRecord(
        kind=metric.kind,
        mean=estimate.mean,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        clusters=estimate.clusters,
        bounds=None if metric.bounds is None else list(metric.bounds),
        higher_is_better=metric.higher_is_better,
        parts=dict(estimate.parts),
        notes=list(estimate.notes),
    )


def _comparisons(
    suite: Suite,
    contenders: Sequence[VariantRun],
    cells: int,
    clusters: NDArray[np.int64] | None,
    judging: ReportRules,
) -> Iterator[ComparisonRecord]:
    """Yield each variant against the baseline; the family of Holm's order is the variants compared by one metric."""
    from promptkit.evaluation.statistics.multiple_comparisons import holm

    baseline, others = contenders[0], contenders[1:]
    for measure in suite.measures:
        found = [
            (each, compare_tallies(measure.metric, each.tally, baseline.tally, cells, clusters, judging, len(others)))
            for each in others
        ]
        said = [(each, difference) for each, difference in found if difference is not None]
        ps = [1.0 if difference.p is None else difference.p for _, difference in said]
        for (each, difference), adjusted in zip(said, holm(ps), strict=True):
            record = difference_record(measure.metric, difference, judging.smallest, level=family_level(len(others)))
            yield ComparisonRecord(
                a=each.variant.name,
                b=baseline.variant.name,
                metric=measure.name,
                **record.to_json(),
                adjusted=None if difference.p is None else adjusted,
                comparisons=len(others),
            )


def compare_tallies(
    metric: Metric,
    a: Tally,
    b: Tally,
    cells: int,
    clusters: NDArray[np.int64] | None,
    judging: ReportRules,
    family: int,
) -> Difference | None:
    """Return what is said of `a` against `b` at a confidence for so many comparisons; None where nothing may be."""
    left, right = paired_samples(metric, a, b, clusters)
    missing = cells - len(left)
    if missing and not (judging.allow_missing and may_miss(metric, missing, cells)):
        return None
    difference = metric.difference(left, right, level=family_level(family))
    if difference is None or not missing:
        return difference
    return counting_against(metric, difference, missing, cells)


def may_miss(metric: Metric, missing: int, cells: int) -> bool:
    """Tell whether a difference may be said though so many cells are missing: at most a share of MOST_MISSING, each of
    which can be counted against it. One cell that lacks can move F1 or pass^k further than its share.
    """
    return not missing or (missing <= MOST_MISSING * cells and (metric.bounds is None or metric.is_mean))


def family_level(family: int) -> float:
    """Return the confidence of each of so many intervals that all shall hold at once (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(1, family)


def counting_against(metric: Metric, difference: Difference, missing: int, cells: int) -> Difference:
    """Return a difference whose ends hold whatever the missing cells would have been (Manski 1989).

    A p value knows nothing of them, and there is none. Of a metric without bounds there are no such ends: it says so.
    """
    from dataclasses import replace

    if metric.bounds is None:
        note = f"{missing} of {cells} cells are missing, and left out"
        return replace(difference, notes=(*difference.notes, note))
    if difference.low is None or difference.high is None:
        return difference
    share, width = missing / cells, metric.bounds[1] - metric.bounds[0]
    low = difference.low * (1 - share) - width * share
    high = difference.high * (1 - share) + width * share
    note = f"{missing} of {cells} cells are missing; each counts against the difference"
    return replace(difference, low=low, high=high, p=None, notes=(*difference.notes, note))


def difference_record(
    metric: Metric, difference: Difference, smallest: float, *, level: float = CONFIDENCE
) -> DifferenceRecord:
    """Return a difference as the record has it, with how many rows would show one of `smallest` four times in five.

    `smallest_shown` is what the rows that are there would show so; both are shares of the metric's range.
    """
    rows_needed, smallest_shown = rows_to_tell(metric, difference, smallest, level=level)
    return DifferenceRecord(
        difference=difference.difference,
        low=difference.low,
        high=difference.high,
        p=difference.p,
        n=difference.n,
        better=difference.better,
        worse=difference.worse,
        is_ratio=difference.is_ratio,
        method=difference.method,
        spread=difference.spread,
        smallest=smallest,
        rows_needed=rows_needed,
        smallest_shown=smallest_shown,
        notes=list(difference.notes),
    )


def rows_to_tell(
    metric: Metric, difference: Difference, smallest: float, *, level: float
) -> tuple[int | None, float | None]:
    """Return about how many rows would show a difference of `smallest` of the metric's range four times in five, and
    the smallest that the rows which are there would show so.

    None where the spread of the pairs is not known (ratios), or the pairs hardly differ.
    """
    from promptkit.evaluation.statistics.power import (
        rows_needed,
        rows_needed_graded,
        smallest_shown,
        smallest_shown_graded,
    )

    if difference.spread is None or metric.bounds is None or difference.is_ratio or not difference.n:
        return None, None
    if "Tango" in difference.method:
        discordant = (difference.better + difference.worse + 1) / (difference.n + 2)
        # A discordant share goes with the square of what one row adds: 1, and ½ to a pairwise judge's mean.
        one = sqrt(difference.spread / discordant)
        needed = rows_needed(discordant, smallest / one, level=level) if discordant > smallest / one else None
        shown = smallest_shown(discordant, difference.n, level=level)
        return needed, None if shown is None else shown * one
    spread = difference.spread / (metric.bounds[1] - metric.bounds[0])
    return (
        rows_needed_graded(spread, smallest, level=level),
        smallest_shown_graded(spread, difference.n, level=level),
    )


def variant_cost(contender: VariantRun, suite: Suite) -> float | None:
    """Return what a variant's tokens cost by `prices` of `promptkit.yaml`, None where a model has no price there.

    `prices: {REFERENCE: {in: 0.15, out: 0.6}}` are for a million tokens.
    """
    prices: Mapping[str, Any] = suite.project.settings.prices
    answered = {model.reference for model in contender.runner.session.answered.values()}
    if len(answered) != 1 or (price := prices.get(answered.pop())) is None:
        return None
    spent = contender.tally.spent
    return float((spent.tokens_in * price.get("in", 0) + spent.tokens_out * price.get("out", 0)) / 1_000_000)


class LiveEstimate(NamedTuple):
    """What the cells that are there say of a variant by a metric, and how many seconds of CPU that took to reckon."""

    variant: str
    metric: str
    estimate: MetricRecord
    seconds: float


async def live_estimates(evaluation: Evaluation) -> AsyncIterator[LiveEstimate]:
    """Yield what each variant's cells say by each metric, one after the other.

    The cells are copied between events and reckoned in a thread: of a million of them a metric takes seconds. The
    intervals do not hold for one who stops when they please.
    """
    for contender in evaluation.execution.contenders:
        for metric in contender.tally.metrics:
            began = time.thread_time()
            sample = contender.tally.sample(metric, evaluation.execution.clusters.array())
            copied = time.thread_time() - began
            estimate, seconds = await asyncio.to_thread(_timed, metric, sample)
            yield LiveEstimate(contender.variant.name, metric.name, estimate_record(metric, estimate), copied + seconds)


def live_cost(evaluation: Evaluation) -> float | None:
    """Return what the tokens of all variants cost by `prices` of `promptkit.yaml`; None without any."""
    costs = [variant_cost(each, evaluation.suite) for each in evaluation.execution.contenders]
    known = [each for each in costs if each is not None]
    return sum(known) if known else None


def _timed(metric: Metric, sample: Sample) -> tuple[Estimate, float]:
    began = time.thread_time()
    return metric.estimate(sample), time.thread_time() - began
