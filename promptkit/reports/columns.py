"""Rows of cells as aligned text, which reads the same in a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from promptkit.reports.text import visible


def columns(rows: Iterable[tuple[str, ...]], *, right: Collection[int] = ()) -> list[str]:
    """Return each row as one line, its cells under those of the others; the columns `right` are set to the right."""
    shown = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(_cell(row[at], widths[at], at in right) for at in range(len(row))).rstrip() for row in shown]


def _cell(text: str, width: int, right: bool) -> str:
    return f"{text:>{width}}" if right else f"{text:<{width}}"
