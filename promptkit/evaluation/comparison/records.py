"""The records of comparisons, as `runs compare --json` prints them, and `eval --json` under `against`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from promptkit.evaluation.comparison.compare import Comparison, MetricComparison
from promptkit.evaluation.comparison.differences import RunDifference
from promptkit.evaluation.comparison.run_rows import RunRows
from promptkit.evaluation.metrics.base import Difference, Metric
from promptkit.evaluation.record import (
    BaselineMetric,
    BaselineRecord,
    ComparisonRecord,
    MetricRecord,
    Record,
    ServingLevel,
    SharedRows,
    VariantRecord,
)
from promptkit.evaluation.summary import difference_record


class ComparedRun(Record):
    """One side of a comparison. `warnings` counts its answers by the name of a warning, among the `recorded` ones.

    `serving` is what was measured of the variant at each concurrency, empty where it was not.
    """

    name: str
    run: int
    suite: str
    variant: str
    sets: dict[str, Any]
    status: str
    model: dict[str, Any]
    exact: bool
    in_flight: int | None
    repeat: int
    started: float
    warnings: dict[str, int] = Field(default_factory=dict)
    warned_by: dict[str, list[str]] = Field(default_factory=dict)
    recorded: int = 0
    serving: list[ServingLevel] = Field(default_factory=list)


class ComparedMetric(ComparisonRecord):
    """The difference by one metric; `missing` cells have no score in one of the runs."""

    missing: int


class CompareRecord(Record):
    """Two runs compared, as `promptkit runs compare --json` prints it; it adds `rows_shown`.

    `rows` counts rows of `both` runs and of one alone, `cells` those of both and those with one stored answer. `unsaid`
    maps metrics without a difference to the reason. `better` and `worse` are the rows that changed by `aim`. `notes`
    name rows that count as one.
    """

    a: ComparedRun
    b: ComparedRun
    differs: list[RunDifference]
    rows: dict[str, int]
    cells: dict[str, int]
    metrics: dict[str, MetricRecord]
    comparisons: list[ComparedMetric]
    unsaid: dict[str, str]
    aim: str
    better: list[int]
    worse: list[int]
    notes: list[str] = Field(default_factory=list)


def compare_record(
    comparison: Comparison, *, smallest: float, margins: Mapping[str, float] | None = None
) -> CompareRecord:
    """Return the comparison as `promptkit runs compare --json` prints it, without single rows.

    Margins that are not given are those of the suite that run `a` measured.
    """
    run = comparison.a.run
    margins = {**(run.how.get("margins", {}) if run is not None else {}), **(margins or {})}
    return CompareRecord(
        a=_side_record(comparison.a),
        b=_side_record(comparison.b),
        differs=list(comparison.differs),
        rows={"both": comparison.rows.both, "only_a": comparison.rows.only_a, "only_b": comparison.rows.only_b},
        cells={"both": comparison.cells, "same_answer": comparison.same_answer},
        metrics={name: _metric_record(found.metric) for name, found in comparison.metrics.items()},
        comparisons=[
            ComparedMetric(
                a=comparison.a.name,
                b=comparison.b.name,
                metric=name,
                **difference_record(found.metric, difference, smallest, margin=margins.get(name)).to_json(),
                adjusted=difference.p,
                comparisons=1,
                missing=found.missing,
            )
            for name, found, difference in _differences(comparison)
        ],
        unsaid=comparison.not_compared,
        aim=comparison.primary,
        better=[row.row for row in comparison.changed if row.change == "better"],
        worse=[row.row for row in comparison.changed if row.change == "worse"],
        **({"notes": list(comparison.row_notes)} if comparison.row_notes else {}),
    )


def baseline_record(comparison: Comparison, *, smallest: float, margins: Mapping[str, float]) -> BaselineRecord:
    """Return the comparison of a run with its baseline as `promptkit eval --json` prints it under `against`."""
    unsaid = (f"{name}: {why}" for name, why in comparison.not_compared.items() if name in comparison.a.keys)
    return BaselineRecord(
        reference=comparison.b.name,
        model=dict(comparison.b.model),
        made=comparison.b.made,
        variant=comparison.a.variant,
        rows=SharedRows(both=comparison.rows.both, new=comparison.rows.new, gone=comparison.rows.gone),
        notes=[*comparison.notes(), *unsaid],
        comparisons=[
            BaselineMetric(
                metric=name,
                **difference_record(found.metric, difference, smallest, margin=margins.get(name)).to_json(),
                missing=found.missing,
                regressions=list(found.regressions),
            )
            for name, found, difference in _differences(comparison)
        ],
    )


def _differences(comparison: Comparison) -> Iterator[tuple[str, MetricComparison, Difference]]:
    """Yield the metrics that have a difference."""
    for name, found in comparison.metrics.items():
        if found.difference is not None:
            yield name, found, found.difference


def _side_record(side: RunRows) -> ComparedRun:
    assert side.run is not None, "only stored runs are recorded as sides"
    variants = () if side.run.record is None else side.run.record.variants
    variant = next((found for found in variants if found.name == side.variant), VariantRecord(name=side.variant))
    serving = side.run.record.serving if side.run.record is not None else None
    served = [level for level in serving.levels if level.variant == side.variant] if serving else []
    return ComparedRun(
        name=side.name,
        run=side.run.number,
        suite=side.suite,
        variant=side.variant,
        sets=dict(side.sets),
        status=side.run.status,
        model=dict(side.model),
        exact=side.exact,
        in_flight=side.in_flight,
        repeat=side.repeat,
        started=side.run.started,
        warnings=variant.warnings,
        warned_by=variant.warned_by,
        recorded=variant.recorded,
        **({"serving": served} if served else {}),
    )


def _metric_record(metric: Metric) -> MetricRecord:
    bounds = None if metric.bounds is None else list(metric.bounds)
    return MetricRecord(kind=metric.kind, bounds=bounds, higher_is_better=metric.higher_is_better)
