"""The learning curve as a drawing of the page: the leader's score against calls, and the confirmation at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from promptkit.reports.evaluation.figures import metric_text
from promptkit.reports.tuning.axes import Axes, make_axes
from promptkit.tuning.tune_record import CurvePoint, EstimateRecord, ObjectiveRecord, SideRecord, TuneRecord

LEAST_POINTS = 2


class CurveMark(NamedTuple):
    """A point of the curve. Those of confirm rows have a label, and an interval of their own in place of the band."""

    x: str
    y: str
    kinds: str
    title: str
    low: str = ""
    high: str = ""
    label: str = ""


class Curve(NamedTuple):
    """The leader's line with the band of its interval, marks of leaders and of the start, and those of confirm rows."""

    name: str
    axes: Axes
    line: str
    band: str
    marks: Sequence[CurveMark]


def make_curve(record: TuneRecord) -> Curve | None:
    """Return the drawing; None for fewer than two points."""
    points = [point for point in record.curve if point.mean is not None]
    if len(points) < LEAST_POINTS:
        return None
    metric = record.metric
    confirmed = [(side.confirm, kind) for side, kind in _sides(record) if side.confirm is not None]
    known = [*points, *(mean for mean, _ in confirmed)]
    scores = [float(end) for mean in known for end in (mean.mean, mean.low, mean.high) if end is not None]
    scores += [float(point.start) for point in points if point.start is not None]
    costs = [float(point.calls) for point in points] + ([float(record.calls)] if confirmed else [])
    axes = make_axes([0.0, *costs], scores, metric, "calls")
    ends = [(point.calls, point.low, point.high) for point in points if point.low is not None]
    upper = [(calls, high) for calls, _, high in ends if high is not None]
    lower = [(calls, low) for calls, low, _ in ends if low is not None]
    return Curve(
        name=f"{metric.name} of the leader against calls, {len(points)} points",
        axes=axes,
        line=_path(axes, [(point.calls, point.mean) for point in points if point.mean is not None]),
        band=_path(axes, [*upper, *reversed(lower)]) + "Z" if ends else "",
        marks=[
            *(mark for point in points for mark in _marks(axes, point, metric)),
            *(_confirmed(axes, mean, kind, record) for mean, kind in confirmed),
        ],
    )


def _sides(record: TuneRecord) -> list[tuple[SideRecord, str]]:
    return [(record.baseline, "start"), (record.best, "incumbent")]


def _marks(axes: Axes, point: CurvePoint, metric: ObjectiveRecord) -> list[CurveMark]:
    assert point.mean is not None, "points of a curve have a mean"
    x, score = f"{axes.x(point.calls):.1f}", metric_text(metric.with_mean(point))
    title = f"after {point.calls:,} calls {score} on {point.n:,} search rows: {point.name}"
    marks = [CurveMark(x, f"{axes.y(point.mean):.1f}", "on", title)]
    if point.start is not None:
        start = metric_text(metric.with_mean(EstimateRecord(mean=point.start)))
        marks.append(CurveMark(x, f"{axes.y(point.start):.1f}", "ring", f"the start on the same rows: {start}"))
    return marks


def _confirmed(axes: Axes, mean: EstimateRecord, kind: str, record: TuneRecord) -> CurveMark:
    title = f"{kind} on the confirm rows: {metric_text(record.metric.with_mean(mean))}"
    low, high = ("" if end is None else f"{axes.y(end):.1f}" for end in (mean.low, mean.high))
    return CurveMark(f"{axes.x(record.calls):.1f}", f"{axes.y(mean.mean or 0.0):.1f}", kind, title, low, high, kind)


def _path(axes: Axes, points: Sequence[tuple[float, float]]) -> str:
    places = (f"{axes.x(calls):.1f},{axes.y(score):.1f}" for calls, score in points)
    return "M" + "L".join(places)
