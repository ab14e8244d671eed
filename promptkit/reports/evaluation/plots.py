"""Figures in a terminal: values with intervals on an axis, bars of variants, and a forest plot of differences.

Each is lines of text that need no colour. Numbers stand in the tables, so a figure has an axis and no values. Where a
line is too narrow for a figure there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text

from promptkit.evaluation.record import EvalRecord, MetricDifference, MetricRecord
from promptkit.evaluation.verdicts import margin_ends
from promptkit.reports.evaluation.comparisons import VERDICT_STYLES, notable_comparisons, pair_names
from promptkit.reports.evaluation.figures import (
    difference_unit,
    is_percentage,
    number_text,
    verdict_of,
)
from promptkit.reports.evaluation.variants import variant_tags
from promptkit.reports.layout import GAP, cell_width, shortened
from promptkit.reports.text import visible
from promptkit.reports.ticks import round_ticks, tick_decimals

LEAST_COLUMNS = 20
"""The fewest columns of an axis."""
MOST_LINES = 24
"""The most variants or differences that a figure shows."""
NAME_SHARE = 0.4
"""The share of the width that names may take."""
TICK_COLUMNS = 10
"""Columns for each tick of an axis, its number included."""

LINE, LEFT, RIGHT, POINT, NULL, CROSSED, MARGIN = "─", "├", "┤", "●", "│", "┼", "┊"
RING = "○"


class PlotRow(NamedTuple):
    """A line of a figure: what stands before the axis, a value with the ends of its interval, and its style.

    `reference` is a further value on the same line, drawn as a ring.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    style: str = ""
    point: str = POINT
    reference: float | None = None


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis of so many columns from one number to another, with its ticks."""

    start: float
    end: float
    columns: int
    ticks: tuple[float, ...]

    def place(self, value: float) -> int:
        """Return the column of a number; numbers beyond an end are at the end."""
        share = (value - self.start) / (self.end - self.start)
        return round(min(max(share, 0.0), 1.0) * (self.columns - 1))

    def numbers(self) -> str:
        """Return the line with the ticks' numbers, each centred on its column where it fits."""
        decimals = tick_decimals(self.ticks)
        line = ""
        for tick in self.ticks:
            text = number_text(tick, decimals)
            at = min(max(self.place(tick) - len(text) // 2, 0), self.columns - len(text))
            if at >= len(line) + (1 if line else 0):
                line = line.ljust(at) + text
        return line


def _axis(values: Sequence[float], columns: int, bounds: Sequence[float] | None = None) -> _Axis:
    """Return an axis around values that begins and ends at ticks, within bounds where these are given."""
    ticks = round_ticks(min(values), max(values), columns // TICK_COLUMNS)
    start, end = ticks[0], ticks[-1]
    if bounds is not None:
        start, end = max(start, bounds[0]), min(end, bounds[1])
    return _Axis(start, end, columns, tuple(tick for tick in ticks if start - 1e-9 <= tick <= end + 1e-9))


def bar_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the interval of each variant by the primary metric on one axis; nothing for a single variant."""
    if len(record.variants) < 2:
        return
    name = next(iter(record.variants[0].metrics))
    factor, unit = _unit(record.variants[0].metrics[name])
    tags = variant_tags(record.variants, width)
    rows = [
        PlotRow(tags[variant.name], *_scaled(variant.metrics[name], factor)) for variant in record.variants[:MOST_LINES]
    ]
    bounds = record.variants[0].metrics[name].bounds
    scaled = None if bounds is None else [factor * end for end in bounds]
    yield from figure_lines(f"{name}{unit}", rows, width, bounds=scaled)
    yield from _left_out(len(record.variants) - MOST_LINES, "variants")


def _unit(metric: MetricRecord) -> tuple[float, str]:
    if is_percentage(metric):
        return 100.0, ", %"
    unit = difference_unit(metric)
    return 1.0, f", {unit}" if unit else ""


def _scaled(found: MetricRecord | MetricDifference, factor: float) -> tuple[float | None, float | None, float | None]:
    value = found.mean if isinstance(found, MetricRecord) else found.difference
    value, low, high = (None if number is None else factor * number for number in (value, found.low, found.high))
    return value, low, high


def forest_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the differences by the primary metric with a line at no difference and marks at the margin."""
    if not record.comparisons:
        return
    metrics = record.variants[0].metrics
    primary = next(iter(metrics))
    found = [one for one in notable_comparisons(record.comparisons, metrics) if one.metric == primary]
    names = pair_names(record.comparisons, variant_tags(record.variants, width))
    named = [(names[comparison.a, comparison.b], comparison) for comparison in found]
    yield from difference_lines(primary, named, metrics, width)


def shared_unit_lines(
    comparisons: Sequence[MetricDifference], metrics: Mapping[str, MetricRecord], width: int
) -> Iterator[Text]:
    """Yield the differences of two runs by all metrics in percent on one axis."""
    found = [(one.metric, one) for one in comparisons if is_percentage(metrics[one.metric]) and not one.is_ratio]
    yield from difference_lines("", found, metrics, width)


def difference_lines(
    title: str, named: Sequence[tuple[str, MetricDifference]], metrics: Mapping[str, MetricRecord], width: int
) -> Iterator[Text]:
    """Yield named differences of one unit as a forest plot, those that have an interval."""
    known = [(name, one) for name, one in named if one.low is not None and one.high is not None]
    if not known:
        return
    first = known[0][1]
    metric = metrics[first.metric]
    factor = 100.0 if is_percentage(metric) and not first.is_ratio else 1.0
    rows = [
        PlotRow(name, *_scaled(one, factor), VERDICT_STYLES.get(verdict_of(metrics[one.metric], one) or "", ""))
        for name, one in known[:MOST_LINES]
    ]
    null = 1.0 if first.is_ratio else 0.0
    margins = {one.margin for _, one in known if one.margin is not None}
    ends = margin_ends(float(margins.pop()), is_ratio=first.is_ratio) if len(margins) == 1 else ()
    unit = difference_unit(metric, first)
    heading = f"{title}: difference" if title else "difference"
    heading += f" in {unit}" if unit == "points" else f", {unit}" if unit else ""
    yield from figure_lines(heading, rows, width, null=null, margins=[factor * end for end in ends])
    yield from _left_out(len(known) - MOST_LINES, "differences")


def figure_lines(
    title: str,
    rows: Sequence[PlotRow],
    width: int,
    *,
    bounds: Sequence[float] | None = None,
    null: float | None = None,
    margins: Sequence[float] = (),
    least: float | None = None,
) -> Iterator[Text]:
    """Yield the title, rows on an axis, and the axis; nothing where it is too narrow or nothing has a value.

    The axis includes `null`, where a line is drawn, `margins`, which are marked, and `least`.
    """
    names = [shortened(visible(row.name), int(NAME_SHARE * width)) for row in rows]
    before = max(map(cell_width, names), default=0) + GAP
    columns = width - before - GAP
    ends = [end for row in rows for end in (row.value, row.low, row.high, row.reference) if end is not None]
    if columns < LEAST_COLUMNS or not ends:
        return
    axis = _axis([*ends, *margins, *(end for end in (null, least) if end is not None)], columns, bounds)
    yield Text(shortened(visible(title), width), style="bold")
    for name, row in zip(names, rows, strict=True):
        head = f"{name}{' ' * (before - cell_width(name))}"
        yield _row_line(head, row, axis, null, margins)
    yield Text(" " * before + axis.numbers(), style="dim")


def _row_line(head: str, row: PlotRow, axis: _Axis, null: float | None, margins: Sequence[float]) -> Text:
    line = [" "] * axis.columns
    for margin in margins:
        line[axis.place(margin)] = MARGIN
    if null is not None:
        line[axis.place(null)] = NULL
    low, high = (None if end is None else axis.place(end) for end in (row.low, row.high))
    if low is not None and high is not None:
        for at in range(low, high + 1):
            line[at] = CROSSED if line[at] == NULL else LINE
        line[low], line[high] = LEFT, RIGHT
    if row.reference is not None:
        line[axis.place(row.reference)] = RING
    if row.value is not None:
        line[axis.place(row.value)] = row.point
    text = Text(head + "".join(line).rstrip(), no_wrap=True)
    if row.style:
        text.stylize(row.style, len(head))
    return text


def _left_out(count: int, what: str) -> Iterator[Text]:
    if count > 0:
        yield Text(f"  and {count} {what} more", style="dim")
