"""Axes of the page's figures: values as coordinates of a drawing, with round numbers along both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from promptkit.reports.evaluation.figures import is_percentage, number_text
from promptkit.reports.page.html import Ends
from promptkit.reports.ticks import round_ticks, tick_decimals
from promptkit.tuning.tune_record import ObjectiveRecord

WIDTH, HEIGHT = 820, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 26, 44
MOST_TICKS = 5


class Tick(NamedTuple):
    """A round number at its place along an axis, and where its text stands."""

    place: str
    text_place: str
    text: str


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a figure: costs from left to right, scores upwards."""

    x_ends: Ends
    y_ends: Ends
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    x_title: str
    y_title: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM

    def x(self, value: float) -> float:
        """Return the place of a cost."""
        return _x(value, self.x_ends)

    def y(self, value: float) -> float:
        """Return the place of a score."""
        return _y(value, self.y_ends)


def make_axes(costs: Sequence[float], scores: Sequence[float], metric: ObjectiveRecord, x_title: str) -> Axes:
    """Return axes around costs and scores, each from one round number to another, scores within their bounds."""
    xs = round_ticks(max(0.0, min(costs)), max(costs), MOST_TICKS)
    factor = 100.0 if is_percentage(metric.as_metric()) else 1.0
    ys = round_ticks(factor * min(scores), factor * max(scores), MOST_TICKS)
    low, high = ys[0], ys[-1]
    if metric.bounds:
        low, high = max(low, factor * float(metric.bounds[0])), min(high, factor * float(metric.bounds[1]))
        ys = [tick for tick in ys if low - 1e-9 <= tick <= high + 1e-9]
    x_ends, y_ends = (xs[0], xs[-1]), (low / factor, high / factor)
    unit = " %" if factor > 1 else ""
    y_places = [_y(tick / factor, y_ends) for tick in ys]
    return Axes(
        x_ends=x_ends,
        y_ends=y_ends,
        x_ticks=[Tick(f"{_x(tick, x_ends):.1f}", "", f"{tick:,.{tick_decimals(xs)}f}") for tick in xs],
        y_ticks=[
            Tick(f"{place:.1f}", f"{place + 4:.1f}", number_text(tick, tick_decimals(ys)) + unit)
            for tick, place in zip(ys, y_places, strict=True)
        ],
        x_title=x_title,
        y_title=metric.name,
    )


def _x(value: float, ends: Ends) -> float:
    return LEFT + (value - ends[0]) / (ends[1] - ends[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, ends: Ends) -> float:
    return HEIGHT - BOTTOM - (value - ends[0]) / (ends[1] - ends[0]) * (HEIGHT - TOP - BOTTOM)
