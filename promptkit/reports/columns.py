"""Rows of cells as aligned text, and text in lines of a bounded width: both read the same in a terminal and a pipe."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import zip_longest
from textwrap import wrap

from promptkit.reports.text import visible

WIDTH = 100
GAP = "  "


def columns(rows: Iterable[tuple[str, ...]], *, right: Collection[int] = (), width: int | None = None) -> list[str]:
    """Return each row as one line, its cells under those of the others; the columns `right` are set to the right.

    Where rows are wider than `width`, the last column is wrapped at words under itself, and if need be the first.
    """
    shown = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    if width is not None:
        for at in (-1, 0):
            over = sum(widths) + len(GAP) * (len(widths) - 1) - width
            longest = max(len(word) for row in shown for word in (*row[at].split(" "), ""))
            widths[at] -= max(0, min(over, widths[at] - longest))
    return [line for row in shown for line in _row_lines(row, widths, right)]


def _row_lines(row: tuple[str, ...], widths: list[int], right: Collection[int]) -> Iterator[str]:
    cells = [
        paragraph(cell, width=width) if len(cell) > width else [cell] for cell, width in zip(row, widths, strict=True)
    ]
    for parts in zip_longest(*cells, fillvalue=""):
        aligned = (_cell(part, widths[at], at in right) for at, part in enumerate(parts))
        yield GAP.join(aligned).rstrip()


def _cell(text: str, width: int, right: bool) -> str:
    return f"{text:>{width}}" if right else f"{text:<{width}}"


def paragraph(text: str, *, width: int = WIDTH, first: str = "", rest: str = "") -> list[str]:
    """Return text in lines of at most `width` characters, broken between words alone; `first` and `rest` begin them."""
    return wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def cut(line: str, width: int | None) -> str:
    """Return a line, with `…` at its end where it is longer than `width`."""
    return line if width is None or len(line) <= width else line[: width - 1] + "…"
