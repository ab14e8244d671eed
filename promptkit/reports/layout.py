"""Text laid out in the columns of a terminal: aligned tables, wrapped paragraphs, folded lines.

Loads rich only where text is not ASCII or has colours.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from promptkit.reports.text import one_line, visible

if TYPE_CHECKING:
    from rich.text import Text


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def broken_text(text: str, width: int, *, whole_paths: bool = False) -> list[str]:
    """Return a text in lines of at most so many columns, broken at blanks, and within words that are longer.

    With `whole_paths` a word with a slash in it is never broken, so that it can be copied.
    """
    if cell_width(text) <= width:
        return [text]
    from rich.cells import chop_cells

    lines: list[str] = []
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and cell_width(joined) <= width:
            lines[-1] = joined
        elif whole_paths and "/" in word:
            lines.append(word)
        else:
            lines += chop_cells(word, max(width, 1)) or [""]
    return lines


PARAGRAPH_WIDTH = 100
COLUMN_GAP = "  "


def columns(rows: Iterable[tuple[str, ...]], *, right: Collection[int] = (), width: int | None = None) -> list[str]:
    """Return each row as one line, its cells under those of the others; the columns `right` are set to the right.

    Where rows are wider than `width`, cells are wrapped under themselves: the last column at words, if need be the
    first, and then the widest ones, within words too.
    """
    shown = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(cell_width, column)) for column in zip(*shown, strict=True)]
    if width is not None:
        room = width - len(COLUMN_GAP) * (len(widths) - 1)
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
        aligned = (_aligned(part, widths[at], at in right) for at, part in enumerate(parts))
        yield COLUMN_GAP.join(aligned).rstrip()


def _aligned(text: str, width: int, right: bool) -> str:
    blank = " " * (width - cell_width(text))
    return blank + text if right else text + blank


def paragraph(text: str, *, width: int = PARAGRAPH_WIDTH, first: str = "", rest: str = "") -> list[str]:
    """Return text in lines of at most `width` characters, broken between words alone; `first` and `rest` begin them."""
    return wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def cut(line: str, width: int | None) -> str:
    """Return a line, with `…` at its end where it is longer than `width`."""
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


HANG = "  "
LEAST_WIDTH = 16
"""Columns that a folded line has at least, however deep its indent is."""
_HEAD = re.compile(r"[ │]*(?:[├└]─ )?(?:[·!] |\d+\. )?")
_COMMAND = re.compile(r"(?P<indent> +)(?P<command>promptkit .*?)(?P<about> +# .*)?")
_WORD = re.compile(r"(?:[^\s']|'[^']*')+")


def fold(text: str, width: int) -> str:
    """Return text whose lines take at most `width` columns; further lines hang under the first.

    A word with a slash in it stays whole, and a command that is proposed can still be copied.
    """
    return "\n".join(part for line in text.split("\n") for part in _folded(line, width))


def _folded(line: str, width: int) -> Iterator[str]:
    if cell_width(line) <= width:
        yield line
        return
    command = _COMMAND.fullmatch(line)
    if command is not None:
        yield from _folded_command(command, width)
        return
    found = _HEAD.match(line)
    head = found[0] if found is not None and cell_width(found[0]) <= width - LEAST_WIDTH else ""
    under = re.sub(r"[^ │]", " ", head.replace("├", "│")) + HANG
    first, *more = broken_text(
        line[len(head) :], max(width - cell_width(under), LEAST_WIDTH - len(HANG)), whole_paths=True
    )
    yield head + first
    yield from (under + each for each in more)


def _folded_command(found: re.Match[str], width: int) -> Iterator[str]:
    """Yield what a command is for, then the command, its lines joined as a shell reads them."""
    indent = found["indent"]
    if found["about"]:
        yield f"{indent}{found['about'].strip()}"
    lines = [indent.removesuffix(" ")]
    for word in _WORD.findall(found["command"]):
        if cell_width(f"{lines[-1]} {word} \\") > width:
            lines.append(f"{indent}   ")
        lines[-1] += f" {word}"
    *joined, last = lines
    yield from (f"{line} \\" for line in joined)
    yield last


TableCell = str | tuple[str, str]
"""A text, or a text with how it looks (`bold`, `red`)."""

GAP = 2
FIRST_COLUMN_SHARE = 0.4
"""The share of the width above which the first column's texts are broken into lines."""


def grid(
    rows: Iterable[Sequence[TableCell]], *, right: Collection[int] = (), width: int | None = None, indent: int = 0
) -> list[Text]:
    """Return each row as a line, the columns `right` set to the right; what is not `visible` in a cell is escaped.

    A row of one cell is a heading over all columns. With a `width` the first column is broken into lines where it
    takes more than its share, and lines are cut there.
    """
    cells = [[_styled(each) for each in row] for row in rows]
    first = max((cell_width(row[0][0]) for row in cells if len(row) > 1), default=0)
    if width is not None:
        others = [
            max((cell_width(row[at][0]) for row in cells if at < len(row)), default=0) for at in _later_columns(cells)
        ]
        room = width - indent - sum(others) - GAP * len(others)
        first = min(first, max(room, int(FIRST_COLUMN_SHARE * width)))
    broken = [line for row in cells for line in ([row] if len(row) == 1 else _wrapped_row(row, first))]
    whole = [row for row in broken if len(row) > 1]
    widths = [max(cell_width(text) for text, _ in column) for column in zip_longest(*whole, fillvalue=("", ""))]
    return [_line(row, widths, right, width, indent) for row in broken]


def column_width(cells: Iterable[TableCell]) -> int:
    """Return how many columns of a terminal the widest of some cells takes."""
    return max((cell_width(_styled(each)[0]) for each in cells), default=0)


def shortened(text: str, width: int) -> str:
    """Return a text in at most so many columns, with `…` where it was cut."""
    if cell_width(text) <= width:
        return text
    from rich.cells import chop_cells

    return (chop_cells(text, max(1, width - 1)) or [""])[0].rstrip() + "…"


def _styled(cell: TableCell) -> tuple[str, str]:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return visible(text).replace("\n", " ").replace("\t", " "), style


def _later_columns(cells: Sequence[Sequence[tuple[str, str]]]) -> range:
    return range(1, max(map(len, cells), default=1))


def _wrapped_row(row: Sequence[tuple[str, str]], width: int) -> list[list[tuple[str, str]]]:
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


CONTEXT_SHARE = 3
"""The part of a column (a third) that shows what stands before the first difference."""
REST_SHARE = 5
"""The part of the width (a fifth) that is left to what is not compared, where values are long."""


def fitted(rows: Sequence[Sequence[str]], room: int, *, alike: int) -> list[list[str]]:
    """Return rows of texts cut so that their columns, with gaps between them, take at most so many columns.

    The first `alike` texts of a row are values of one kind, cut around the first place where they differ.
    """
    wanted = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    room -= GAP * (len(wanted) - 1)
    others = min(sum(wanted[alike:]), room // REST_SHARE) if alike else room
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
    return [_cut_around(text, width, same) for text, width in zip(texts, widths, strict=True)]


def _cut_around(text: str, width: int, same: int) -> str:
    """Return a text in at most so many columns that shows the characters after the first `same`."""
    start = same - width // CONTEXT_SHARE
    if cell_width(text) <= width or start <= 0 or same < width - width // CONTEXT_SHARE:
        return shortened(text, width)
    return shortened(f"…{text[start:]}", width)
