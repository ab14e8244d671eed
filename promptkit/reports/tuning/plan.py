"""What a tuning is about to do, before its first call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from promptkit.reports.columns import columns, paragraph
from promptkit.reports.numbers import counted
from promptkit.reports.output import emit, note
from promptkit.reports.text import one_line

if TYPE_CHECKING:
    from promptkit.tuning import Axis, Plan

WIDTH = 100
MOST_LEVELS = 60
"""How many characters of an axis' levels are told."""


def print_plan(plan: Plan, *, stderr: bool = True) -> None:
    """Print a plan: to stderr before a tuning, as the result of a dry run."""
    (note if stderr else emit)(plan_text(plan))


def plan_text(plan: Plan) -> str:
    """Return a plan in lines: rows, what would be tried, calls and minutes, and the smallest gain it could show."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{one_line(plan.target)} on {one_line(plan.suite)}, by {one_line(plan.metric)}, optimizer {plan.optimizer}"
    pool = f" and {plan.pool} for examples" if plan.pool else ""
    yield f"  {counted(plan.search, 'row')} to search on{pool}, {plan.confirm} that the search never sees to confirm"
    yield f"  {_cost(plan)}"
    if plan.axes:
        axes_text = "1 axis" if len(plan.axes) == 1 else f"{len(plan.axes)} axes"
        yield f"  at most {counted(plan.candidates, 'candidate')} over {axes_text}:"
    for _, axes in groupby(plan.axes, key=lambda axis: axis.step):
        rows = [(f"    {axis.name}", str(len(axis.levels)), _levels(axis)) for axis in axes]
        yield from columns(rows, right=(1,))
    yield f"  {smallest_text(plan)}"
    for told in plan.notes:
        yield from paragraph(told, width=WIDTH, first="  · ", rest="    ")


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
