"""What a tuning is about to do, before its first call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from promptkit.reports.columns import columns, cut, paragraph
from promptkit.reports.numbers import counted
from promptkit.reports.output import emit, note
from promptkit.reports.screen import report_console
from promptkit.reports.text import one_line

if TYPE_CHECKING:
    from promptkit.tuning import Axis, Plan

WIDTH = 100
MOST_LEVELS = 60
"""How many characters of an axis' levels are told."""


def print_plan(plan: Plan, *, stderr: bool = True) -> None:
    """Print a plan: to stderr before a tuning, as the result of a dry run."""
    console = report_console(stderr=stderr)
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    (note if stderr else emit)(plan_text(plan, width=width))


def plan_text(plan: Plan, *, width: int = WIDTH) -> str:
    """Return a plan in lines: rows, what would be tried, calls and minutes, and the smallest gain it could show."""
    return "\n".join(_lines(plan, width))


def _lines(plan: Plan, width: int) -> Iterator[str]:
    yield f"{one_line(plan.target)} on {one_line(plan.suite)}, by {one_line(plan.metric)}, optimizer {plan.optimizer}"
    pool = f" and {plan.pool} for examples" if plan.pool else ""
    rows = f"{counted(plan.search, 'row')} to search on{pool}, {plan.confirm} that the search never sees to confirm"
    yield from _told(rows, width)
    yield from _told(_cost(plan), width)
    if plan.axes:
        axes_text = "1 axis" if len(plan.axes) == 1 else f"{len(plan.axes)} axes"
        yield from _told(f"at most {counted(plan.candidates, 'candidate')} over {axes_text}:", width)
    for _, axes in groupby(plan.axes, key=lambda axis: axis.step):
        cells = [(f"    {axis.name}", str(len(axis.levels)), _levels(axis)) for axis in axes]
        yield from (cut(line, width) for line in columns(cells, right=(1,)))
    yield from _told(smallest_text(plan), width)
    for told in plan.notes:
        yield from paragraph(told, width=width, first="  · ", rest="    ")


def _told(text: str, width: int) -> list[str]:
    return paragraph(text, width=width, first="  ", rest="    ")


def _cost(plan: Plan) -> str:
    limits = [f"{plan.calls:,} calls at most, {plan.confirm_calls:,} of them set aside to confirm"]
    if plan.limits.tokens is not None:
        limits.append(f"{plan.limits.tokens:,} tokens at most")
    if plan.limits.minutes is not None:
        limits.append(f"{plan.limits.minutes:g} minutes at most")
    if plan.minutes is not None:
        limits.append(f"about {plan.minutes:.0f} min" if plan.minutes >= 1 else "under a minute")
    return "; ".join(limits)


def smallest_text(plan: Plan) -> str:
    """Return what gain the confirmation could show."""
    rows = counted(plan.confirm, "row")
    if plan.clusters is not None:
        rows = f"{counted(plan.clusters, 'cluster')} of rows"
    if plan.smallest is None:
        return f"{rows} to confirm can show no gain: the verdict will be `not shown`"
    told = f"{rows} to confirm show a gain of {100 * plan.smallest:.0f} points four times in five"
    return f"{told}, a smaller one less often"


def _levels(axis: Axis) -> str:
    return one_line(" · ".join(each.name for each in axis.levels), MOST_LEVELS)
