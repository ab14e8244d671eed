"""A run against an earlier one, or against a baseline's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptkit.reports.columns import paragraph
from promptkit.reports.evaluation.comparisons import comparison_grid
from promptkit.reports.text import one_line, visible

if TYPE_CHECKING:
    from rich.text import Text

MOST_ROWS = 12


def reference_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield the differences to what the run was compared with, and the rows that are right no longer."""
    from rich.text import Text

    for found in _references(record):
        both = found["rows"]["both"]
        of = f"{found['variant']} against " if len(record["variants"]) > 1 else "against "
        yield Text(one_line(f"{of}{found['reference']} on the {both:,} rows of both", width), style="bold")
        metrics = record["variants"][0]["metrics"]
        yield from comparison_grid([{**each, "a": ""} for each in found["comparisons"]], metrics, width)
        for each in found["comparisons"]:
            if each["regressions"]:
                told = f"{each['metric']}: right there, wrong here: {_rows(each['regressions'])}"
                yield from _wrapped(told, width, "red")
        for line in found["notes"]:
            yield from _wrapped(line, width, "dim")


def _references(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = record.get("against") or ()
    yield from (found,) if isinstance(found, Mapping) else found


def _rows(numbers: list[int]) -> str:
    more = f" and {len(numbers) - MOST_ROWS:,} more" if len(numbers) > MOST_ROWS else ""
    return f"row{'s'[: len(numbers) != 1]} {', '.join(map(str, numbers[:MOST_ROWS]))}{more}"


def _wrapped(told: str, width: int, style: str) -> Iterator[Text]:
    from rich.text import Text

    for line in paragraph(visible(told), width=width - 2, first="  ", rest="  "):
        yield Text(line, style=style)
