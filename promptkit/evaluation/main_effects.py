"""Main effects of a matrix: each value of a key against the key's first one, averaged over the other keys.

Averages are of the variants of one value, row by row, so that effects are paired as comparisons of variants are. An
effect that depends on the other keys (an interaction) is reported, since its average may be true of none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.cells.progress import VariantRun
from promptkit.evaluation.cells.tally import shared_exempt, shared_samples
from promptkit.evaluation.metrics.base import Difference, Metric, Sample
from promptkit.evaluation.metrics.estimation import graded_difference, ratio_difference
from promptkit.evaluation.record import InteractionRecord, MainEffectRecord
from promptkit.evaluation.statistics.paired import paired_graded
from promptkit.evaluation.suite.suite import Suite, short_keys, short_text
from promptkit.evaluation.summary import (
    ReportRules,
    adjusted_ps,
    counting_against,
    difference_record,
    family_level,
    may_miss,
    untimed_difference,
)

_Runs = Sequence[VariantRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    """One value of a key against the first one: the variants of both, pairs of which differ in the key alone."""

    key: str
    value: Any
    first: Any
    runs: _Runs
    first_runs: _Runs


class _Deviation(NamedTuple):
    """The pair of variants, by its place, in which an effect deviates most, its value there, and p."""

    pair: int
    difference: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimated:
    """An effect by one metric. `deviation` is None where there is no difference."""

    effect: _Effect
    difference: Difference
    deviation: _Deviation | None


def main_effects(
    suite: Suite, runs: _Runs, cells: int, clusters: NDArray[np.int64] | None, rules: ReportRules
) -> list[MainEffectRecord]:
    """Return the main effects of a suite's matrix by each metric whose value is a mean or a ratio.

    The effects by one metric are a family for Holm's procedure, and their intervals hold together (Bonferroni). There
    are none where each value has one variant, since comparisons say it already, and while too many cells are missing.
    """
    effects = list(_effects(suite, runs))
    records: list[MainEffectRecord] = []
    for measure in suite.measures:
        metric = measure.metric
        if metric.pairs or not (metric.is_mean or metric.bounds is None):
            continue
        found = [_estimate(metric, effect, cells, clusters, rules, family_level(len(effects))) for effect in effects]
        estimated = [one for one in found if one is not None]
        ps = adjusted_ps([one.difference for one in estimated])
        margin = suite.compare.margins.get(measure.name)
        records += [
            _record(suite, metric, one, p, len(effects), rules.smallest, margin)
            for one, p in zip(estimated, ps, strict=True)
        ]
    return records


def _effects(suite: Suite, runs: _Runs) -> Iterator[_Effect]:
    """Yield the effects of all keys with several values, where each value was run with the same other settings."""
    for key, values in suite.matrix.items():
        of_value = [[run for run in runs if run.variant.sets.get(key) == value] for value in values]
        first, *others = of_value
        settings = [_others(run, key) for run in first]
        for value, found in zip(values[1:], others, strict=True):
            if len(first) > 1 and value != values[0] and [_others(run, key) for run in found] == settings:
                yield _Effect(key=key, value=value, first=values[0], runs=found, first_runs=first)


def _others(run: VariantRun, key: str) -> dict[str, Any]:
    return {name: value for name, value in run.variant.sets.items() if name != key}


def _estimate(
    metric: Metric,
    effect: _Effect,
    cells: int,
    clusters: NDArray[np.int64] | None,
    rules: ReportRules,
    level: float,
) -> _Estimated | None:
    """Return an effect by one metric; None with too many cells missing, and where the metric has none."""
    tallies = [run.tally for run in (*effect.runs, *effect.first_runs)]
    samples = shared_samples(metric, tallies, clusters)
    cells -= int(shared_exempt(metric, tallies).any(axis=0).sum())
    missing = cells - len(samples[0])
    if not len(samples[0]) or (missing and not (rules.allow_missing and may_miss(metric, missing, cells))):
        return None
    pairs = len(effect.runs)
    is_ratio = metric.bounds is None
    scale: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.log if is_ratio else np.asarray
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = scale(np.column_stack([sample.scores for sample in samples]))
    if not np.isfinite(scores).all():
        return None  # An amount of 0 has no ratio.
    if (without := untimed_difference(metric, tallies)) is not None:
        return _Estimated(effect=effect, difference=without, deviation=None)
    difference = _difference(metric, samples[0], scores, pairs, level)
    if difference is None:
        return None
    difference = counting_against(metric, difference, missing, cells)
    deviation = _largest_deviation(scores[:, :pairs] - scores[:, pairs:], samples[0].clusters)
    if is_ratio:
        deviation = deviation._replace(difference=float(np.exp(deviation.difference)))
    return _Estimated(effect=effect, difference=difference, deviation=deviation)


def _difference(
    metric: Metric, sample: Sample, scores: NDArray[np.float64], pairs: int, level: float
) -> Difference | None:
    """Return the difference of the means over the first `pairs` columns and over the others, row by row."""
    means = [scores[:, :pairs].mean(axis=1), scores[:, pairs:].mean(axis=1)]
    if metric.bounds is None:
        means = [np.exp(mean) for mean in means]
    a, b = (Sample(mean[:, None], sample.rows, sample.clusters) for mean in means)
    if metric.bounds is None:
        return ratio_difference(a, b, metric.higher_is_better, level)
    return graded_difference(a, b, metric.bounds, metric.higher_is_better, level)


def _record(
    suite: Suite,
    metric: Metric,
    found: _Estimated,
    adjusted: float | None,
    family: int,
    smallest: float,
    margin: float | None,
) -> MainEffectRecord:
    effect, level = found.effect, family_level(family)
    record = difference_record(metric, found.difference, smallest, level=level, margin=margin)
    interaction = None if found.deviation is None else _interaction(effect, found.deviation, suite)
    return MainEffectRecord(
        metric=metric.name,
        **record.to_json(),
        key=effect.key,
        value=short_text(effect.value),
        first=short_text(effect.first),
        variants=len(effect.runs),
        adjusted=adjusted,
        comparisons=family,
        interaction=interaction,
    )


def _interaction(effect: _Effect, deviation: _Deviation, suite: Suite) -> InteractionRecord:
    sets = effect.first_runs[deviation.pair].variant.sets
    return InteractionRecord(
        settings=_settings_text(suite.matrix, sets, effect.key),
        difference=deviation.difference,
        adjusted=deviation.p,
    )


def _largest_deviation(by_pair: NDArray[np.float64], clusters: NDArray[np.int64]) -> _Deviation:
    """Return the pair whose difference is furthest from that of the other pairs; `by_pair` are (cells, pairs).

    The deviation is tested as a paired difference on the rows, and p is for the largest of all (Bonferroni). Of two
    pairs the deviations are the same.
    """
    pairs = by_pair.shape[1]
    rest = (by_pair.sum(axis=1, keepdims=True) - by_pair) / (pairs - 1)
    largest = int(np.abs((by_pair - rest).mean(axis=0)).argmax())
    p = paired_graded(by_pair[:, largest], rest[:, largest], clusters).p
    return _Deviation(largest, float(by_pair[:, largest].mean()), min(1.0, p * (pairs if pairs > 2 else 1)))


def _settings_text(matrix: Mapping[str, Any], sets: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return the settings of a variant, but for one key, by the short names of the matrix."""
    names = dict(zip(matrix, short_keys(matrix), strict=True))
    return {names.get(name, name): short_text(value) for name, value in sets.items() if name != key}
