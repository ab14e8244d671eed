"""HTML made by Jinja templates, which escape every value; and the numbers and drawings in them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from promptkit.reports.text import seconds_text, visible

NONE = "–"
BAR_WIDTH = 120
Ends = tuple[float, float]


@cache
def templates() -> Environment:
    """Return the templates of the pages, named by their place in this package: `page/page.html`."""
    environment = Environment(
        loader=PackageLoader("promptkit.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_text,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"figure": figure, "thousands": thousands, "p_value": p_value, "seconds": seconds_text}
    environment.globals |= {"NONE": NONE, "bar_places": bar_places}
    return environment


def _text(value: Any) -> Any:
    """Return a value as text in which control characters are visible; Jinja escapes it."""
    if isinstance(value, Markup):
        return value
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def asset(*name: str) -> str:
    """Return the text of a file of this package: `asset("page", "page.css")`."""
    return files("promptkit.reports").joinpath(*name).read_text(encoding="utf-8")


def policy(style: str, script: str = "") -> str:
    """Return a content security policy under which nothing but the page's own script and style has any effect."""
    scripts = f"script-src {_hash(script)}; " if script else ""
    return f"default-src 'none'; {scripts}style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def figure(value: Any) -> Any:
    """Return a number in few digits: three decimals up to 10, none from 100. What is not a number stays as it is."""
    if value is None:
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.3f}"


def thousands(value: float | None) -> str:
    """Return a count with separators between thousands."""
    return NONE if value is None else f"{value:,.0f}"


def p_value(p: float | None) -> str:
    """Return a p value: three decimals, `< 0.001` below."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


class BarPlaces(NamedTuple):
    """Where a bar shows a mean, the ends of its interval, 0 and further marks, as coordinates; empty: not shown."""

    mean: str
    low: str = ""
    high: str = ""
    zero: str = ""
    width: int = BAR_WIDTH
    marks: tuple[str, ...] = ()


def bar_places(
    mean: float | None, low: float | None, high: float | None, ends: Ends, *, marks: Sequence[float] = ()
) -> BarPlaces | None:
    """Return the drawing of an interval between `ends`, with 0 where it lies inside, and marks; None without a mean."""
    if mean is None:
        return None
    start, span = ends[0], (ends[1] - ends[0]) or 1.0

    def at(value: float) -> str:
        return f"{min(max((value - start) / span, 0.0), 1.0) * (BAR_WIDTH - 8) + 4:.1f}"

    zero = at(0) if start < 0 < ends[1] else ""
    places = BarPlaces(at(mean), zero=zero, marks=tuple(map(at, marks)))
    return places if low is None or high is None else places._replace(low=at(low), high=at(high))


def scale(values: Iterable[float | None], *, around: float | None = None) -> Ends:
    """Return the ends of an axis for values: some room on both sides, or the same reach on both sides of `around`."""
    known = [value for value in values if value is not None] or [0.0, 1.0]
    if around is not None:
        reach = max(abs(value - around) for value in known) * 1.05 or 1.0
        return around - reach, around + reach
    room = (max(known) - min(known)) * 0.06 or 0.02
    return min(known) - room, max(known) + room
