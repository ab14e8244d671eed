"""The plan of a tuning, before its first call: rows, search space, cost, and the smallest gain that it could show."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from promptkit.reports.layout import PARAGRAPH_WIDTH, columns, cut, paragraph
from promptkit.reports.output import emit, note, report_console
from promptkit.reports.text import counted, one_line

if TYPE_CHECKING:
    from promptkit.tuning.budget import Plan
    from promptkit.tuning.search_space.candidate import Parameter

MOST_CHOICES = 60
"""Characters of a parameter's choices that the plan shows."""


def print_plan(plan: Plan, *, stderr: bool = True) -> None:
    """Print a plan: to stderr before a run, as the result of a dry run."""
    console = report_console(stderr=stderr)
    width = min(console.width, PARAGRAPH_WIDTH) if console.is_terminal else PARAGRAPH_WIDTH
    (note if stderr else emit)(plan_text(plan, width=width))


def plan_text(plan: Plan, *, width: int = PARAGRAPH_WIDTH) -> str:
    """Return a plan in lines: rows, search space, calls and minutes, and the smallest gain that it could show."""
    return "\n".join(_plan_lines(plan, width))


def _plan_lines(plan: Plan, width: int) -> Iterator[str]:
    yield f"{one_line(plan.target)} on {one_line(plan.suite)}, by {one_line(plan.metric)}, optimizer {plan.optimizer}"
    pool = f", {plan.demo_pool} for examples" if plan.demo_pool else ""
    rows = f"{counted(plan.search, 'row')} to search on{pool}, {plan.holdout} held out to confirm the result"
    yield from _plan_paragraph(rows, width)
    yield from _plan_paragraph(_cost(plan), width)
    if plan.parameters:
        sizes = f"{counted(plan.candidates, 'candidate')} over {counted(len(plan.parameters), 'parameter')}"
        yield from _plan_paragraph(f"at most {sizes}:", width)
    for _, group in groupby(plan.parameters, key=lambda parameter: parameter.step):
        rows_of_step = [
            (f"    {parameter.name}", str(len(parameter.choices)), _choices_text(parameter)) for parameter in group
        ]
        yield from (cut(line, width) for line in columns(rows_of_step, right=(1,)))
    yield from _plan_paragraph(detectable_gain_text(plan), width)
    for text in plan.notes:
        yield from paragraph(text, width=width, first="  · ", rest="    ")


def _plan_paragraph(text: str, width: int) -> list[str]:
    return paragraph(text, width=width, first="  ", rest="    ")


def _cost(plan: Plan) -> str:
    shares = f"{plan.search_calls:,} to search, {plan.confirm_calls:,} set aside to confirm the dearest candidate"
    limits = [f"{plan.calls:,} calls at most: {shares}"]
    if plan.limits.tokens is not None:
        limits.append(f"{plan.limits.tokens:,} tokens at most")
    if plan.limits.minutes is not None:
        limits.append(f"{plan.limits.minutes:g} minutes at most")
    if plan.minutes is not None:
        limits.append(f"about {plan.minutes:.0f} min" if plan.minutes >= 1 else "under a minute")
    return "; ".join(limits)


def detectable_gain_text(plan: Plan) -> str:
    """Return the gain that the confirmation could show."""
    rows = counted(plan.holdout, "confirm row")
    if plan.clusters is not None:
        rows = f"{counted(plan.clusters, 'cluster')} of confirm rows"
    if plan.smallest_gain is None:
        return f"{rows} cannot detect a gain: the verdict will be `not shown`"
    gain = f"{rows} can detect a gain of {100 * plan.smallest_gain:.0f} points four times in five"
    return f"{gain}, a smaller one less often"


def _choices_text(parameter: Parameter) -> str:
    return one_line(" · ".join(choice.name for choice in parameter.choices), MOST_CHOICES)
