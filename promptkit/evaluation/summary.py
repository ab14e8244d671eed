"""The summary of a run as JSON: metrics with intervals, and comparisons with the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from promptkit.engine.requirements import Fallback
from promptkit.evaluation.cells.progress import VariantRun
from promptkit.evaluation.cells.tally import Tally, paired_samples, shared_exempt, untimed_cells
from promptkit.evaluation.metrics.base import Difference, Estimate, Metric
from promptkit.evaluation.record import AskedApart, ComparisonRecord, DifferenceRecord, MetricRecord, VariantRecord
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.evaluation.statistics.multiple_comparisons import holm
from promptkit.evaluation.statistics.power import rows_needed, rows_needed_graded, smallest_shown, smallest_shown_graded
from promptkit.evaluation.suite.suite import Suite
from promptkit.evaluation.verdicts import rows_for_margin, verdict_of

MOST_MISSING = 0.02
"""The share of missing cells above which no difference is reported, even with `--allow-missing`."""

SMALLEST_DIFFERENCE = 0.05
"""The smallest relevant difference (`--smallest`), as a share of a metric's range."""


APART_SECONDS = 600.0
"""The time between the cells of a pair from which they are not of one run."""

FEWEST_APART = 0.02
"""The share of pairs asked apart below which nothing is said: some failed cells may have been asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRules:
    """Rules for reporting a comparison: missing data allowed, smallest relevant difference.

    `smallest` is a share of a metric's range; `so_far` marks a run that goes on.
    """

    allow_missing: bool = False
    smallest: float = SMALLEST_DIFFERENCE
    so_far: bool = False


class Summary(NamedTuple):
    """The variants of a run, and their comparisons with the baseline."""

    variants: list[VariantRecord]
    comparisons: list[ComparisonRecord]


def summarize(
    suite: Suite, runs: Sequence[VariantRun], clusters: NDArray[np.int64] | None, rows: int, rules: ReportRules
) -> Summary:
    """Return the variants and comparisons of a run over so many rows.

    While cells are missing nothing is compared; with `allow_missing` up to a share of MOST_MISSING may be, each of them
    counting against a difference.
    """
    cells = rows * suite.repeat
    variants = [
        variant_record(
            run.variant.name,
            run.variant.sets,
            run.tally,
            cells,
            clusters,
            cost=variant_cost(run, suite),
            fallbacks=run.fallbacks,
        )
        for run in runs
    ]
    if rules.so_far:
        return Summary(variants, [])
    return Summary(variants, list(_comparisons(suite, runs, cells, clusters, rules)))


def with_same_requests(summary: Summary, twins: Mapping[str, str]) -> Summary:
    """Return a summary whose variants and comparisons say which variants sent the same requests.

    `twins` map variants to the first before them that did.
    """
    variants = [
        variant.model_copy(update={"same_as": twins[variant.name]}) if variant.name in twins else variant
        for variant in summary.variants
    ]
    comparisons = [
        found.model_copy(update={"same_requests": twins.get(found.a, found.a) == twins.get(found.b, found.b)})
        for found in summary.comparisons
    ]
    return Summary(variants, comparisons)


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
    spent, by_step = tally.spent, tally.count_step_warnings()
    # Keys that are written where there is something to say.
    more: dict[str, Any] = {"step_warnings": by_step} if len(by_step) > 1 else {}
    more |= {"warned_by": tally.warned_by} if tally.warned_by else {}
    more |= {"unrecorded": tally.unrecorded} if tally.unrecorded else {}
    user = tally.simulated_user
    more |= {"simulated_user": {**asdict(user), "seconds": round(user.seconds, 3)}} if user.calls else {}
    return VariantRecord(
        name=name,
        sets=dict(sets),
        cases=cells,
        missing=cells - (tally.done - tally.missing),
        metrics={metric.name: _metric_record(metric, tally, clusters) for metric in tally.metrics},
        unparsed=tally.unparsed,
        truncated=tally.truncated,
        warnings=tally.count_warnings(),
        **more,
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
    sample = tally.sample(metric, clusters)
    record = estimate_record(metric, metric.estimate(sample))
    more: dict[str, Any] = {"of_parsed": of_parsed, "unscored": tally.unscored(metric)}
    if exempt := tally.count_exempt(metric):
        note = f"on {len(sample):,} of {len(sample) + exempt:,} answers; {metric.exempt_note}"
        more |= {"exempt": exempt, "notes": [note, *record.notes]}
    return record.model_copy(update=more)


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
        notes=[*estimate.notes, *metric.setting_notes],
    )


def _comparisons(
    suite: Suite,
    runs: Sequence[VariantRun],
    cells: int,
    clusters: NDArray[np.int64] | None,
    rules: ReportRules,
) -> Iterator[ComparisonRecord]:
    """Yield each variant against the baseline, or against each variant before it where the suite compares all pairs.

    The family of Holm's order is the pairs compared by one metric.
    """
    pairs = [(b, a) for b, a in combinations(runs, 2) if suite.compare.all_pairs or b is runs[0]]
    apart = {(b.variant.name, a.variant.name): asked_apart(a.tally, b.tally) for b, a in pairs}
    for measure in suite.measures:
        metric = measure.metric
        found = [
            (
                a,
                b,
                untimed_difference(metric, (a.tally, b.tally))
                or compare_tallies(metric, a.tally, b.tally, cells, clusters, rules, len(pairs)),
            )
            for b, a in pairs
        ]
        reported = [(a, b, difference) for a, b, difference in found if difference is not None]
        for (a, b, difference), adjusted in zip(
            reported, adjusted_ps([difference for *_, difference in reported]), strict=True
        ):
            record = difference_record(
                metric,
                difference,
                rules.smallest,
                level=family_level(len(pairs)),
                margin=suite.compare.margins.get(measure.name),
            )
            times = apart[b.variant.name, a.variant.name]
            more: dict[str, Any] = {} if times is None else {"asked_apart": times}
            yield ComparisonRecord(
                a=a.variant.name,
                b=b.variant.name,
                metric=measure.name,
                **record.to_json(),
                adjusted=adjusted,
                comparisons=len(pairs),
                **more,
            )


def adjusted_ps(differences: Sequence[Difference]) -> list[float | None]:
    """Return p of each of a family of differences adjusted by Holm's procedure, None where it has none."""
    adjusted = holm([1.0 if difference.p is None else difference.p for difference in differences])
    return [None if found.p is None else p for found, p in zip(differences, adjusted, strict=True)]


def untimed_difference(metric: Metric, tallies: Sequence[Tally]) -> Difference | None:
    """Return a difference without a value, with the reason, where some times were not measured in this run."""
    if not metric.timed:
        return None
    untimed, cells = untimed_cells(metric, tallies)
    if not untimed:
        return None
    note = (
        f"not compared: {untimed:,} of {cells:,} cells have a time of an earlier run or of a cached reply; "
        "measure all of them together with --fresh"
    )
    return Difference(difference=None, is_ratio=metric.bounds is None, notes=(note,))


def asked_apart(a: Tally, b: Tally) -> AskedApart | None:
    """Return when the cells of two variants were asked, where the times of some pairs are far from each other.

    The two cells of a pair are asked one after the other in one run, and far from each other if one was kept from an
    earlier one. None for a share of the pairs below FEWEST_APART.
    """
    left, right = a.asked, b.asked
    both = min(len(left), len(right))
    left, right = left[:both], right[:both]
    known = np.isfinite(left) & np.isfinite(right)
    apart = known & (np.abs(left - right) > APART_SECONDS)
    cells = int(apart.sum())
    if not cells or cells < FEWEST_APART * int(known.sum()):
        return None
    ends = [[float(times[apart].min()), float(times[apart].max())] for times in (left, right)]
    return AskedApart(cells=cells, a=ends[0], b=ends[1])


def compare_tallies(
    metric: Metric,
    a: Tally,
    b: Tally,
    cells: int,
    clusters: NDArray[np.int64] | None,
    rules: ReportRules,
    family: int,
) -> Difference | None:
    """Return the difference of `a` and `b` at the level for `family` comparisons; None with too many cells missing."""
    left, right = paired_samples(metric, a, b, clusters)
    exempt_a, exempt_b = shared_exempt(metric, (a, b))
    cells -= int((exempt_a | exempt_b).sum())
    missing = cells - len(left)
    if missing and not (rules.allow_missing and may_miss(metric, missing, cells)):
        return None
    difference = metric.difference(left, right, level=family_level(family))
    if difference is None:
        return None
    if (exempt_a != exempt_b).any():
        note = f"compared on the {len(left):,} answers to which it applies in both"
        difference = replace(difference, notes=(*difference.notes, note))
    return counting_against(metric, difference, missing, cells)


def may_miss(metric: Metric, missing: int, cells: int) -> bool:
    """Tell whether a difference may be reported with so many missing cells: at most a share of MOST_MISSING, each of
    which can be counted against it. A missing cell can move F1 or pass^k further than its share.
    """
    return not missing or (missing <= MOST_MISSING * cells and (metric.bounds is None or metric.is_mean))


def family_level(family: int) -> float:
    """Return the confidence level of each of `family` intervals that are to hold simultaneously (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(1, family)


def counting_against(metric: Metric, difference: Difference, missing: int, cells: int) -> Difference:
    """Return a difference whose bounds hold whatever the missing cells would have been (Manski 1989).

    There is no p value then. A metric without bounds has no such interval, and a note says so.
    """
    if not missing:
        return difference
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
    metric: Metric,
    difference: Difference,
    smallest: float,
    *,
    level: float = CONFIDENCE,
    margin: float | None = None,
) -> DifferenceRecord:
    """Return a difference as the record has it, with how many rows would show one of `smallest` four times in five.

    `smallest_shown` is the smallest difference that these rows would show; both are shares of the metric's range. A
    loss up to `margin` does not matter.
    """
    rows_needed, smallest_shown = rows_to_tell(metric, difference, smallest, level=level)
    verdict = verdict_of(
        difference.low,
        difference.high,
        higher_is_better=metric.higher_is_better,
        is_ratio=difference.is_ratio,
        margin=margin,
    )
    # Keys that only comparisons with a margin have.
    of_margin: dict[str, Any] = {} if margin is None else {"margin": margin}
    if margin is not None and verdict == "not shown":
        of_margin["rows_for_margin"] = rows_for_margin(difference, margin, level=level)
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
        verdict=verdict,
        **of_margin,
        notes=list(difference.notes),
    )


def rows_to_tell(
    metric: Metric, difference: Difference, smallest: float, *, level: float
) -> tuple[int | None, float | None]:
    """Return about how many rows would show a difference of `smallest` of the metric's range with a power of 80 %, and
    the smallest difference that these rows would show.

    None where the spread of the pairs is not known (ratios), or the pairs hardly differ.
    """
    if difference.spread is None or metric.bounds is None or difference.is_ratio or not difference.n:
        return None, None
    if "Tango" in difference.method:
        discordant = (difference.better + difference.worse + 1) / (difference.n + 2)
        # A discordant share goes with the square of one row's weight: 1, and ½ in a pairwise judge's mean.
        one = sqrt(difference.spread / discordant)
        needed = rows_needed(discordant, smallest / one, level=level) if discordant > smallest / one else None
        shown = smallest_shown(discordant, difference.n, level=level)
        return needed, None if shown is None else shown * one
    spread = difference.spread / (metric.bounds[1] - metric.bounds[0])
    return (
        rows_needed_graded(spread, smallest, level=level),
        smallest_shown_graded(spread, difference.n, level=level),
    )


def variant_cost(run: VariantRun, suite: Suite) -> float | None:
    """Return the cost of a variant's tokens by `prices` of `promptkit.yaml`, None where a model has no price there.

    `prices: {REFERENCE: {in: 0.15, out: 0.6}}` are for a million tokens.
    """
    prices: Mapping[str, Any] = suite.project.settings.prices
    answered = {model.reference for model in run.runner.session.answered.values()}
    if len(answered) != 1 or (price := prices.get(answered.pop())) is None:
        return None
    spent = run.tally.spent
    return float((spent.tokens_in * price.get("in", 0) + spent.tokens_out * price.get("out", 0)) / 1_000_000)
