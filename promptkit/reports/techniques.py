"""Techniques measured and prepared, as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.reports.columns import WIDTH, columns, paragraph
from promptkit.reports.numbers import counted, seconds_text
from promptkit.reports.text import one_line

if TYPE_CHECKING:
    from promptkit.engine import PreparedStep
    from promptkit.evaluation.choosing import Comparison, Measured

HEAD = ("technique", "right", "accuracy", "95 % interval", "calls", "requests", "tokens", "time", "")
NUMBERS = range(1, 8)
SAID_TWICE = ("accuracy", "calls", "")
"""Columns that a narrow table goes without: `right` and `requests` say nearly the same, and notes have lines."""
ABOUT = (
    "Calls, requests, tokens (in+out) and time (the model's own) are per row.",
    "Dominated: another was at least as often right for no more requests, and better in one of these.",
    "First come those that are not dominated, the most accurate at the top.",
    "Each interval is that technique's own (Wilson): whether two of them differ is not tested here.",
)


def comparison_text(comparison: Comparison, *, width: int = WIDTH) -> str:
    """Return a comparison as a table, a technique a line, with what its columns mean and what they do not."""
    width = min(width, WIDTH)
    about = [line for text in ABOUT for line in paragraph(text, width=width, rest="  ")]
    return "\n".join([*measured_lines(comparison.measured, width), "", *about])


def measured_lines(measured: Sequence[Measured], width: int = WIDTH) -> list[str]:
    """Return the table, and below it why a technique was not measured, or not on all rows.

    In a width of less than WIDTH two columns that others say too are left out, and notes stand below.
    """
    rows = [HEAD, *map(_row, measured)]
    told = [f"{each.name}: {one_line(each.reason)}" for each in measured if each.reason]
    if width < WIDTH:
        rows = [tuple(cell for name, cell in zip(HEAD, row, strict=True) if name not in SAID_TWICE) for row in rows]
        some = (each for each in measured if each.state != "unavailable")
        told = [*(f"{each.name}: {notes}" for each in some if (notes := _notes(each))), *told]
    lines = columns(rows, right=range(1, len(rows[0])) if width < WIDTH else NUMBERS, width=width)
    reasons = [line for text in told for line in paragraph(text, width=width, rest="  ")]
    return [*lines, "", *reasons] if reasons else lines


def _row(each: Measured) -> tuple[str, ...]:
    if not each.n or each.state == "unavailable":
        return (each.name, *["-"] * len(NUMBERS), _notes(each))
    low, high = each.interval
    return (
        each.name,
        f"{each.right}/{each.n}",
        f"{each.accuracy:.1%}".replace("%", " %"),
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{each.per_row('calls'):.3g}",
        f"{each.per_row('requests'):.3g}",
        f"{each.per_row('tokens_in'):.0f}+{each.per_row('tokens_out'):.0f}",
        seconds_text(each.per_row("seconds")),
        _notes(each),
    )


def _notes(each: Measured) -> str:
    """Return what a person must know of a line to read it rightly."""
    if each.state == "unavailable":
        return "not measured, see below"
    notes = [
        f"{each.n} of {each.rows} rows" if each.missing else "",
        f"{each.unparsed} unparsed" if each.unparsed else "",
        f"{each.truncated} cut off" if each.truncated else "",
        f"{counted(each.seen, 'row')} seen when it was prepared" if each.seen else "",
        f"dominated by {each.dominated_by}" if each.dominated_by else "",
    ]
    return " · ".join(filter(None, notes))


def measured_text(each: Measured) -> str:
    """Return in one line that a technique has been measured, while others are at work."""
    if each.state == "unavailable":
        return f"- {each.name}: {one_line(each.reason)}"
    return f"✓ {each.name}: {each.right} of {each.n} right" + (f", {each.missing} missing" if each.missing else "")


def prepared_text(prepared: PreparedStep) -> str:
    """Return in one line what a preparation found."""
    artifact = prepared.artifact
    parts = [f"{counted(len(artifact.items), 'item')} from {counted(len(artifact.rows), 'row')}"]
    if artifact.uncertain:
        parts.append(f"{counted(len(artifact.uncertain), 'uncertain one')} to look at")
    if prepared.unfilled:
        parts.append(f"{prepared.unfilled} to fill in")
    return " · ".join(parts)
