"""The check of a suite's thresholds after a run.

Thresholds apply to the first variant. Each is a separate test, so a suite with many fails a good target more often than
a suite with few. Demanding an interval's end rather than the mean errs on the same side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from promptkit.errors import place
from promptkit.evaluation.cells.tally import Tally
from promptkit.evaluation.comparison.baseline import names_run
from promptkit.evaluation.comparison.compare import (
    EQUAL,
    NOT_TIMED,
    BaselineComparisons,
    Comparison,
    MetricComparison,
)
from promptkit.evaluation.comparison.run_rows import RunRows
from promptkit.evaluation.metrics.base import Difference, Metric
from promptkit.evaluation.metrics.estimation import Proportion, bounded_estimate
from promptkit.evaluation.record import ThresholdRecord, VariantRecord
from promptkit.evaluation.suite.suite import Measure, Suite, Threshold
from promptkit.evaluation.summary import MOST_MISSING
from promptkit.evaluation.thresholds.texts import (
    Measurement,
    drop_text,
    listed,
    number_text,
    remedy_text,
    shown_text,
)
from promptkit.techniques.warnings import warning_text

LEAST_SHARE = 0.9
"""The share of the rows of a run, and of its baseline, that a threshold on a drop must compare."""
LIMITED = "not judged, since --limit or --filter left rows out"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdInput:
    """The data that thresholds are checked on: the first variant's record and tally, which should have `cells` cells.

    `against` compares the run with `baselines`, which are those of `threshold_baselines`.
    """

    suite: Suite
    variant: VariantRecord
    tally: Tally
    clusters: NDArray[np.int64] | None
    cells: int
    limited: bool
    against: BaselineComparisons
    baselines: Mapping[str, RunRows | str | None]

    def may_miss(self, missing: int, cells: int) -> bool:
        """Tell whether a threshold may be judged with this many of the cells missing."""
        return not missing or (self.against.allow_missing and missing <= MOST_MISSING * cells)

    def applicable(self, metric: Metric) -> int:
        """Return the number of cells that should have a score by a metric."""
        return self.cells - self.tally.count_exempt(metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdResult:
    """The result of one bound. `passed` is None where it cannot be judged; `says` has the reason.

    `missing` cells are then one reason. `shown` is the end of the interval, `rows` are the numbers of failing rows.
    """

    passed: bool | None
    says: str
    shown: float | None = None
    missing: int = 0
    rows: Sequence[int] = ()


def check_thresholds(run: ThresholdInput) -> list[ThresholdRecord]:
    """Return the thresholds of a run that ended, as `promptkit eval --json` prints them.

    While cells are missing no bound is judged. With `allow_missing`, and at most a share of MOST_MISSING missing, a
    bound passes or fails if it would do so whatever the missing cells were. That is known for means of cells only.
    """
    return [
        ThresholdRecord(
            metric=threshold.name,
            variant=run.variant.name,
            kind=kind,
            wanted=threshold.bounds[kind],
            # A key that only these have.
            **({"against": threshold.bounds["against"]} if kind == "drop_at_most" else {}),
            shown=result.shown,
            passed=result.passed,
            missing=result.missing,
            says=result.says,
            rows=list(result.rows),
        )
        for threshold in run.suite.thresholds
        for kind, result in _results(threshold, run)
    ]


def _results(threshold: Threshold, run: ThresholdInput) -> Iterator[tuple[str, ThresholdResult]]:
    checks: dict[str, Callable[[Threshold, ThresholdInput], ThresholdResult]] = {
        "at_least": partial(_check_end, kind="at_least"),
        "at_most": partial(_check_end, kind="at_most"),
        "per_case": _check_per_case,
        "drop_at_most": _check_drop,
    }
    for kind, check in checks.items():
        if kind not in threshold.bounds:
            continue
        if run.limited:
            yield kind, ThresholdResult(passed=None, says=f"{threshold.name}: {LIMITED}")
        else:
            yield kind, check(threshold, run)


def _check_end(threshold: Threshold, run: ThresholdInput, *, kind: str) -> ThresholdResult:
    """Check that the interval's end on the side of the limit reaches it."""
    limit, measurement = float(threshold.bounds[kind]), _measurement(threshold.name, run)
    if measurement.unrecorded:
        of = f"{measurement.unrecorded} of {measurement.unrecorded + measurement.cells} answers"
        says = f"{threshold.name}: not judged, since the warnings of {of} are not recorded; --fresh asks again"
        return ThresholdResult(passed=None, says=says)
    up = kind == "at_least"
    end = measurement.low if up else measurement.high
    cells = run.cells - measurement.exempt
    missing = cells - measurement.cells
    if not run.may_miss(missing, cells) or (missing and (measurement.bounds is None or not measurement.is_mean)):
        return _undecided(threshold.name, missing, cells)
    demand = f"{threshold.name}: {'at least' if up else 'at most'} {number_text(limit, limit, measurement)} is required"
    if end is None:
        return ThresholdResult(
            passed=False, says=f"{demand}, but {measurement.lack or 'there are too few rows for an interval'}"
        )
    worst, best = _worst_and_best(end, missing / max(1, cells), measurement.bounds, up)
    shown = shown_text(measurement, worst, limit, up) + _timing_text(threshold.name, run)
    counted = f", each of {missing} missing cells counted against it" if missing else ""
    if worst >= limit if up else worst <= limit:
        return ThresholdResult(passed=True, shown=worst, says=f"{demand}; {shown}{counted}")
    if best < limit if up else best > limit:
        return ThresholdResult(
            passed=False, shown=end, says=f"{demand}, but {shown}; {remedy_text(measurement, end, limit, up)}"
        )
    return ThresholdResult(passed=None, shown=worst, missing=missing, says=f"{demand}, but {shown}{counted}")


def _timing_text(name: str, run: ThresholdInput) -> str:
    """Return of how many answers a metric of times has no time of this run; nothing for other metrics."""
    measure = _measure(name, run.suite)
    if measure is None or not measure.metric.timed or not run.tally.untimed:
        return ""
    return f", {run.tally.untimed:,} of {run.cells:,} times being of earlier runs or cached replies (--fresh measures)"


def _worst_and_best(end: float, share: float, bounds: tuple[float, float] | None, up: bool) -> tuple[float, float]:
    """Return an end with the missing share of cells counted against it, and with it counted in favour (Manski 1989)."""
    if not share or bounds is None:
        return end, end
    worst, best = bounds if up else (bounds[1], bounds[0])
    return end * (1 - share) + worst * share, end * (1 - share) + best * share


def _undecided(name: str, missing: int, cells: int) -> ThresholdResult:
    says = f"{name}: not judged while {missing} of {cells} cells are missing"
    allowed = f" (--allow-missing allows {MOST_MISSING * 100:.0f} %)" if missing > MOST_MISSING * cells else ""
    return ThresholdResult(passed=None, missing=missing, says=f"{says}{allowed}")


def _measurement(name: str, run: ThresholdInput) -> Measurement:
    """Return the measurement of a metric, or of a total that is not a metric."""
    measure = _measure(name, run.suite)
    if measure is not None:
        metric, record = measure.metric, run.variant.metrics[name]
        cells = len(run.tally.sample(metric))
        return Measurement(
            mean=record.mean,
            low=record.low,
            high=record.high,
            cells=cells,
            rows=record.clusters,
            bounds=metric.bounds,
            is_mean=metric.is_mean,
            what="" if isinstance(metric, Proportion) else "observed" if metric.bounds else "in the median",
            noun="right" if isinstance(metric, Proportion) else "",
            lack="; ".join(record.notes),
            exempt=record.exempt,
        )
    if name == "cost":
        cost = run.variant.cost
        lack = "its model has no price under `prices` in promptkit.yaml"
        there = run.cells - run.variant.missing
        return Measurement(mean=cost, low=cost, high=cost, cells=there, rows=0, bounds=None, what="in all", lack=lack)
    is_warning = name != "unparsed"
    sample = run.tally.warned(name, run.clusters) if is_warning else run.tally.unanswered(run.clusters)
    found = bounded_estimate(sample, (0.0, 1.0), binary=True)
    return Measurement(
        mean=found.mean,
        low=found.low,
        high=found.high,
        cells=len(sample),
        rows=found.clusters,
        bounds=(0.0, 1.0),
        noun=warning_text(name) if is_warning else "without an answer that parses",
        lack="; ".join(found.notes),
        unrecorded=run.tally.unrecorded if is_warning else 0,
    )


def _measure(name: str, suite: Suite) -> Measure | None:
    return next((measure for measure in suite.measures if measure.name == name), None)


def _check_per_case(threshold: Threshold, run: ThresholdInput) -> ThresholdResult:
    """Check every row by the scores of its repeats."""
    measure = _measure(threshold.name, run.suite)
    assert measure is not None, "the reader allows `per_case` for a metric alone"
    metric, limit, repeat = measure.metric, float(threshold.bounds["per_case"]), run.suite.repeat
    scored = ((row.number, row.values(metric.name, repeat)) for row in run.against.run.read())
    rows = [(number, values) for number, values in scored if values]
    shares = [_share(metric, values) for _, values in rows]
    short = [row for row, (_, most) in zip(rows, shares, strict=True) if most < limit]
    cells = run.applicable(metric)
    missing = cells - len(run.tally.sample(metric))
    undecided = sum(least < limit <= most for least, most in shares) + (cells > sum(len(values) for _, values in rows))
    if not run.may_miss(missing, cells):
        return _undecided(threshold.name, missing, cells)
    demand = f"{threshold.name}: in each row a share of {limit:g} of the answers must be right"
    least = min((share for share, _ in shares), default=None)
    if short:
        names = [f"{number} ({_count_right(metric, values)} of {len(values)})" for number, values in short]
        says = f"{demand}, but {len(short)} of {len(rows)} rows have less: row {listed(names)}"
        return ThresholdResult(passed=False, shown=least, says=says, rows=[number for number, _ in short])
    if undecided:
        return _undecided(threshold.name, missing, cells)
    return ThresholdResult(passed=True, shown=least, says=f"{demand}; all {len(rows)} rows have it")


def _share(metric: Metric, values: Sequence[float | None]) -> tuple[float, float]:
    """Return a row's mean score, scaled to 0 to 1: with its missing scores counted as wrong, and as right.

    For scores of 0 and 1 it is the share that is right.
    """
    assert metric.bounds is not None, "the reader allows `per_case` for a metric with bounds alone"
    low, high = metric.bounds if metric.higher_is_better else (metric.bounds[1], metric.bounds[0])
    known = [(value - low) / (high - low) for value in values if value is not None]
    return sum(known) / len(values), (sum(known) + len(values) - len(known)) / len(values)


def _count_right(metric: Metric, values: Sequence[float | None]) -> int:
    """Return the number of scores that are the best one."""
    assert metric.bounds is not None, "the reader allows `per_case` for a metric with bounds alone"
    best = metric.bounds[1 if metric.higher_is_better else 0]
    return sum(value is not None and abs(value - best) < EQUAL for value in values)


def _check_drop(threshold: Threshold, run: ThresholdInput) -> ThresholdResult:
    """Check the worse end of the difference to a baseline; a run in which no row is worse passes."""
    measure, limit = _measure(threshold.name, run.suite), float(threshold.bounds["drop_at_most"])
    assert measure is not None, "the reader allows `against` for a metric alone"
    name, metric, baseline = measure.name, measure.metric, run.baselines[str(threshold.bounds["against"])]
    if baseline is None:
        return ThresholdResult(passed=None, says=f"{name}: not judged, since `{run.suite.name}` has no earlier run")
    if isinstance(baseline, str):
        return _not_compared(threshold, baseline, run)
    cells = run.applicable(metric)
    missing = cells - len(run.tally.sample(metric))
    if not run.may_miss(missing, cells):
        return _undecided(name, missing, cells)
    comparison = run.against.compare(baseline)
    found = comparison.metrics.get(name)
    if found is None:
        return _not_compared(threshold, comparison.excluded[name], run)
    if found.why == NOT_TIMED:
        return ThresholdResult(passed=False, says=f"{name}: not compared, since {NOT_TIMED}")
    if found.missing and (found.difference is None or metric.bounds is None):
        why = found.why or f"{found.missing} cells have no score in one of the two"
        return ThresholdResult(passed=None, missing=found.missing, says=f"{name}: not judged, since {why}")
    if found.difference is None:
        return _not_compared(threshold, found.why, run)
    share = float(threshold.bounds.get("share", LEAST_SHARE))
    if comparison.rows.share < share:
        return _too_few_rows(threshold, share, comparison, run)
    return _drop_result(limit, found, found.difference, comparison)


def _not_compared(threshold: Threshold, why: str, run: ThresholdInput) -> ThresholdResult:
    assert run.against.run.run is not None, "a run that is checked is in the store"
    against = str(threshold.bounds["against"])
    file = "FILE" if names_run(against) else quote(str(place(run.suite.file.parent / against)))
    hint = f"to make this run the baseline: promptkit runs export {run.against.run.run.number} --baseline {file}"
    return ThresholdResult(passed=False, says=f"{threshold.name}: not compared, since {why}; {hint}")


def _too_few_rows(threshold: Threshold, share: float, comparison: Comparison, run: ThresholdInput) -> ThresholdResult:
    rows, baseline = comparison.rows, comparison.b.name
    most = max(rows.all_a, rows.all_b)
    what = f"only {rows.both} of {most} rows are in both"
    says = f"{what}, and a share of {share:g} is required (`share`)"
    return _not_compared(threshold, f"{says}: {rows.new} are new, {rows.gone} of {baseline} are gone", run)


def _drop_result(
    limit: float, found: MetricComparison, difference: Difference, comparison: Comparison
) -> ThresholdResult:
    metric = found.metric
    end = difference.low if metric.higher_is_better else difference.high
    loss, most = _loss(difference.difference, metric, difference.is_ratio), _loss(end, metric, difference.is_ratio)
    is_shown = most is not None and most <= limit
    passed: bool | None = is_shown or (difference.worse == 0 and difference.n > 0)
    if found.missing and not is_shown:
        passed = None
    says = drop_text(limit, loss, most, found, difference, comparison.b.name)
    return ThresholdResult(
        passed=passed,
        shown=end,
        says="; ".join([says, *comparison.notes()]),
        missing=found.missing if passed is None else 0,
        rows=found.regressions,
    )


def _loss(value: float | None, metric: Metric, is_ratio: bool) -> float | None:
    """Return a difference as a loss, a gain as a negative one: a ratio's as a share."""
    if value is None:
        return None
    change = value - 1 if is_ratio else value
    return -change if metric.higher_is_better else change
