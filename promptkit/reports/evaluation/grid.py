"""Rows of cells set under each other by the width that a terminal gives their characters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from promptkit.reports.cells import broken_text, cell_width
from promptkit.reports.text import visible

if TYPE_CHECKING:
    from rich.text import Text

Cell = str | tuple[str, str]
"""A text, or a text with how it looks (`bold`, `red`)."""

GAP = 2
MOST_OF_FIRST = 0.4
"""The share of the width above which the first column's texts are broken into lines."""


def grid(
    rows: Iterable[Sequence[Cell]], *, right: Collection[int] = (), width: int | None = None, indent: int = 0
) -> list[Text]:
    """Return each row as a line, the columns `right` set to the right; what is not `visible` in a cell is escaped.

    A row of one cell is a heading over all columns. With a `width` the first column is broken into lines where it
    takes more than its share, and lines are cut there.
    """
    cells = [[_cell(each) for each in row] for row in rows]
    first = max((cell_width(row[0][0]) for row in cells if len(row) > 1), default=0)
    if width is not None:
        others = [max((cell_width(row[at][0]) for row in cells if at < len(row)), default=0) for at in _rest(cells)]
        room = width - indent - sum(others) - GAP * len(others)
        first = min(first, max(room, int(MOST_OF_FIRST * width)))
    broken = [line for row in cells for line in ([row] if len(row) == 1 else _broken(row, first))]
    whole = [row for row in broken if len(row) > 1]
    widths = [max(cell_width(text) for text, _ in column) for column in zip_longest(*whole, fillvalue=("", ""))]
    return [_line(row, widths, right, width, indent) for row in broken]


def column_width(cells: Iterable[Cell]) -> int:
    """Return how many columns of a terminal the widest of some cells takes."""
    return max((cell_width(_cell(each)[0]) for each in cells), default=0)


def shortened(text: str, width: int) -> str:
    """Return a text in at most so many columns, with `…` where it was cut."""
    if cell_width(text) <= width:
        return text
    from rich.cells import chop_cells

    return (chop_cells(text, max(1, width - 1)) or [""])[0].rstrip() + "…"


def _cell(cell: Cell) -> tuple[str, str]:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return visible(text).replace("\n", " ").replace("\t", " "), style


def _rest(cells: Sequence[Sequence[tuple[str, str]]]) -> range:
    return range(1, max(map(len, cells), default=1))


def _broken(row: Sequence[tuple[str, str]], width: int) -> list[list[tuple[str, str]]]:
    text, style = row[0]
    first, *more = broken_text(text, width)
    return [[(first, style), *row[1:]], *([(line, style), *[("", "")] * (len(row) - 1)] for line in more)]


def _line(
    row: Sequence[tuple[str, str]], widths: Sequence[int], right: Collection[int], width: int | None, indent: int
) -> Text:
    from rich.text import Text

    line = Text(" " * indent, no_wrap=True)
    for at, (text, style) in enumerate(row):
        blank = " " * (widths[at] - cell_width(text)) if len(row) > 1 else ""
        line.append(" " * GAP if at else "")
        line.append(blank if at in right else "")
        line.append(text, style)
        line.append("" if at in right or at == len(row) - 1 else blank)
    line.rstrip()
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line
