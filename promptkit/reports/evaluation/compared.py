"""Values side by side in few columns: each column as wide as it needs, long values cut around where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptkit.reports.cells import cell_width
from promptkit.reports.columns import shared_widths
from promptkit.reports.evaluation.grid import GAP, shortened
from promptkit.reports.text import one_line

BEFORE = 3
"""The part of a column (a third) that shows what stands before the first difference."""
OTHERS = 5
"""The part of the width (a fifth) that is left to what is not compared, where values are long."""


def fitted(rows: Sequence[Sequence[str]], room: int, *, alike: int) -> list[list[str]]:
    """Return rows of texts cut so that their columns, with gaps between them, take at most so many columns.

    The first `alike` texts of a row are values of one kind, cut around the first place where they differ.
    """
    wanted = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    room -= GAP * (len(wanted) - 1)
    others = min(sum(wanted[alike:]), room // OTHERS) if alike else room
    widths = shared_widths(wanted[:alike], room - others)
    widths += shared_widths(wanted[alike:], room - sum(widths))
    return [
        [
            *around_difference(row[:alike], widths[:alike]),
            *(shortened(text, width) for text, width in zip(row[alike:], widths[alike:], strict=True)),
        ]
        for row in rows
    ]


def value_line(value: Any) -> str:
    """Return a value in one line: a list of texts as `a, b`, nothing for None, all else as `one_line`."""
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return one_line(", ".join(value))
    return "" if value is None else one_line(value)


def around_difference(texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return texts in so many columns each; those that are longer are cut around the first place where they differ."""
    least = min(map(len, texts), default=0)
    same = next((at for at, some in enumerate(zip(*texts, strict=False)) if len(set(some)) > 1), least)
    return [_cut(text, width, same) for text, width in zip(texts, widths, strict=True)]


def _cut(text: str, width: int, same: int) -> str:
    """Return a text in at most so many columns that shows the characters after the first `same`."""
    start = same - width // BEFORE
    if cell_width(text) <= width or start <= 0 or same < width - width // BEFORE:
        return shortened(text, width)
    return shortened(f"…{text[start:]}", width)
