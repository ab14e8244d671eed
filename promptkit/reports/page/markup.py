"""HTML from values: everything that comes from a run is escaped here, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from promptkit.reports.text import visible

NONE = "–"


def text(value: Any) -> str:
    """Return any value as text that is safe in HTML and in its quoted attributes; control characters show as such."""
    plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return escape(visible(plain), quote=True)


def figure(value: float | None) -> str:
    """Return a number in as few digits as tell: three decimals up to 10, none from 100."""
    if value is None:
        return NONE
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.3f}"


def count(value: float | None) -> str:
    """Return a count with separators between thousands."""
    return NONE if value is None else f"{value:,.0f}"


def chance(p: float | None) -> str:
    """Return a p value: three decimals, `< 0.001` below."""
    if p is None:
        return NONE
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with what stands for each as a description list; the values are HTML."""
    return "<dl>" + "".join(f"<div><dt>{text(name)}</dt><dd>{value}</dd></div>" for name, value in pairs) + "</dl>"


def notes(lines: Iterable[str]) -> str:
    """Return lines of text as a list, nothing where there are none."""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """Return a table that scrolls by itself. `name` is its caption; cells are HTML, a row's first is its header."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{text(name)}" tabindex="0"><table class="{kind}">'
        f"<caption>{text(name)}</caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bar(mean: float | None, low: float | None, high: float | None, ends: tuple[float, float], *, kind: str = "") -> str:
    """Return an interval as a small drawing between `ends`, a line at 0 where it lies inside; empty without a mean.

    `kind` is a class that colours it. It stands beside its numbers, so screen readers pass over it.
    """
    if mean is None:
        return ""
    width = 120
    start, span = ends[0], (ends[1] - ends[0]) or 1.0

    def at(value: float) -> str:
        return f"{min(max((value - start) / span, 0.0), 1.0) * (width - 8) + 4:.1f}"

    zero = f'<line class="zero" x1="{at(0)}" x2="{at(0)}" y1="1" y2="15"/>' if start < 0 < ends[1] else ""
    whisker = ""
    if low is not None and high is not None:
        whisker = f'<line class="range" x1="{at(low)}" x2="{at(high)}" y1="8" y2="8"/>'
        whisker += "".join(f'<line class="range" x1="{at(end)}" x2="{at(end)}" y1="5" y2="11"/>' for end in (low, high))
    return (
        f'<svg class="bar {kind}" viewBox="0 0 {width} 16" width="{width}" height="16" aria-hidden="true">'
        f'<line class="axis" x1="4" x2="{width - 4}" y1="8" y2="8"/>{zero}{whisker}'
        f'<circle cx="{at(mean)}" cy="8" r="3.5"/></svg>'
    )


def ends(values: Iterable[float | None], *, around: float | None = None) -> tuple[float, float]:
    """Return the least and the greatest value with some room, both at the same distance of `around` where given."""
    known = [value for value in values if value is not None] or [0.0, 1.0]
    if around is not None:
        reach = max(abs(value - around) for value in known) * 1.05 or 1.0
        return around - reach, around + reach
    room = (max(known) - min(known)) * 0.06 or 0.02
    return min(known) - room, max(known) + room
