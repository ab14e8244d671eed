"""Rows of cells as aligned text, and text in lines of a bounded width: both read the same in a terminal and a pipe."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap

from promptkit.reports.cells import broken_text, cell_width
from promptkit.reports.text import visible

WIDTH = 100
GAP = "  "


def columns(rows: Iterable[tuple[str, ...]], *, right: Collection[int] = (), width: int | None = None) -> list[str]:
    """Return each row as one line, its cells under those of the others; the columns `right` are set to the right.

    Where rows are wider than `width`, cells are wrapped under themselves: the last column at words, if need be the
    first, and then the widest ones, within words too.
    """
    shown = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(cell_width, column)) for column in zip(*shown, strict=True)]
    if width is not None:
        room = width - len(GAP) * (len(widths) - 1)
        for at in (-1, 0):
            longest = max(cell_width(word) for row in shown for word in (*row[at].split(" "), ""))
            widths[at] -= max(0, min(sum(widths) - room, widths[at] - longest))
        widths = shared_widths(widths, room)
    return [line for row in shown for line in _row_lines(row, widths, right)]


def shared_widths(wanted: Sequence[int], room: int) -> list[int]:
    """Return how wide each column is: as it wants where there is room for all; else narrow ones are, and the others
    share what is left."""
    widths = [0] * len(wanted)
    left = max(room, len(wanted))
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    for done, at in enumerate(order):
        widths[at] = min(wanted[at], left // (len(order) - done))
        left -= widths[at]
    return widths


def _row_lines(row: tuple[str, ...], widths: list[int], right: Collection[int]) -> Iterator[str]:
    cells = [broken_text(cell, width) for cell, width in zip(row, widths, strict=True)]
    for parts in zip_longest(*cells, fillvalue=""):
        aligned = (_cell(part, widths[at], at in right) for at, part in enumerate(parts))
        yield GAP.join(aligned).rstrip()


def _cell(text: str, width: int, right: bool) -> str:
    blank = " " * (width - cell_width(text))
    return blank + text if right else text + blank


def paragraph(text: str, *, width: int = WIDTH, first: str = "", rest: str = "") -> list[str]:
    """Return text in lines of at most `width` characters, broken between words alone; `first` and `rest` begin them."""
    return wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def cut(line: str, width: int | None) -> str:
    """Return a line, with `…` at its end where it is longer than `width`."""
    return line if width is None or len(line) <= width else line[: width - 1] + "…"
