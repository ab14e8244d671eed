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

TableCell = str | tuple[str, str]
"""A text, or a text with its style (`bold`, `red`)."""

_Styled = tuple[str, str]

GAP = 2
"""Blanks between two columns."""

FIRST_COLUMN_SHARE = 0.4
"""The share of the width above which the first column of a grid is broken into lines."""

PARAGRAPH_WIDTH = 100


def grid(
    rows: Iterable[Sequence[TableCell]], *, right: Collection[int] = (), width: int | None = None, indent: int = 0
) -> list[Text]:
    """Return rows as lines with aligned columns; those in `right` are right-aligned.

    A row of one cell is a heading over all columns. With a `width`, the first column is broken into lines where it
    takes more than its share, and lines are cut there.
    """
    cells = [[_styled(cell) for cell in row] for row in rows]
    whole = [row for row in cells if len(row) > 1]
    widths = [max(cell_width(text) for text, _ in column) for column in zip_longest(*whole, fillvalue=("", ""))]
    if widths and width is not None:
        room = width - indent - sum(widths[1:]) - GAP * (len(widths) - 1)
        most = min(widths[0], max(room, int(FIRST_COLUMN_SHARE * width)))
        widths[0] = max(cell_width(line) for (first, _), *_ in whole for line in broken_text(first, most))
    lines = (line for row in cells for line in ([row] if len(row) == 1 else _row_lines(row, widths, right)))
    return [_rich_line(line, width, indent) for line in lines]


def columns(rows: Iterable[tuple[str, ...]], *, right: Collection[int] = (), width: int | None = None) -> list[str]:
    """Return rows as lines of plain text with aligned columns; those in `right` are right-aligned.

    Where rows are wider than `width`, cells are wrapped: those of the last column at words, if need be those of the
    first and of the others, and then those of the widest columns, also within words.
    """
    cells = [[(visible(cell), "") for cell in row] for row in rows]
    widths = [max(cell_width(text) for text, _ in column) for column in zip(*cells, strict=True)]
    if width is not None:
        room = width - GAP * (len(widths) - 1)
        for at in (-1, 0, *range(1, len(widths) - 1)):
            longest = max(cell_width(word) for row in cells for word in (*row[at][0].split(" "), ""))
            widths[at] -= max(0, min(sum(widths) - room, widths[at] - longest))
        widths = shared_widths(widths, room)
    lines = (line for row in cells for line in _row_lines(row, widths, right))
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def _styled(cell: TableCell) -> _Styled:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return visible(text).replace("\n", " ").replace("\t", " "), style


def _row_lines(row: Sequence[_Styled], widths: Sequence[int], right: Collection[int]) -> Iterator[list[_Styled]]:
    """Yield the lines of a row, each as texts with their styles and the blanks between them."""
    broken = [broken_text(text, width) for (text, _), width in zip(row, widths, strict=False)]
    for texts in zip_longest(*broken, fillvalue=""):
        line: list[_Styled] = []
        for at, (text, (_, style)) in enumerate(zip(texts, row, strict=True)):
            blanks = " " * (widths[at] - cell_width(text))
            line += [(" " * GAP if at else "", "")]
            line += [(blanks, ""), (text, style)] if at in right else [(text, style), (blanks, "")]
        yield line


def _rich_line(line: Sequence[_Styled], width: int | None, indent: int) -> Text:
    from rich.text import Text

    text = Text.assemble(" " * indent, *line, no_wrap=True)
    text.rstrip()
    if width is not None:
        text.truncate(width, overflow="ellipsis")
    return text


def shared_widths(wanted: Sequence[int], room: int) -> list[int]:
    """Return the width of each column: what it wants where there is room for all, otherwise at most an equal share.

    Narrow columns get what they want, and the others share the rest.
    """
    widths = [0] * len(wanted)
    left = max(room, len(wanted))
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    for done, at in enumerate(order):
        widths[at] = min(wanted[at], left // (len(order) - done))
        left -= widths[at]
    return widths


def column_width(cells: Iterable[TableCell]) -> int:
    """Return the width of the widest cell."""
    return max((cell_width(_styled(cell)[0]) for cell in cells), default=0)


def cell_width(text: str) -> int:
    """Return the number of a terminal's columns that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shortened(text: str, width: int) -> str:
    """Return a text of at most `width` columns, with `…` where it was cut."""
    if cell_width(text) <= width:
        return text
    from rich.cells import chop_cells

    return (chop_cells(text, max(1, width - 1)) or [""])[0].rstrip() + "…"


def cut(line: str, width: int | None) -> str:
    """Return a line of at most `width` characters, with `…` where it was cut."""
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def broken_text(text: str, width: int, *, whole_paths: bool = False) -> list[str]:
    """Return a text in lines of at most `width` columns, broken at blanks, and within words that are longer.

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


def paragraph(text: str, *, width: int = PARAGRAPH_WIDTH, first: str = "", rest: str = "") -> list[str]:
    """Return a text in lines of at most `width` characters, broken between words; `first` and `rest` begin them."""
    return wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


# Lines of messages, folded where they are wider than the terminal.

HANG = "  "
LEAST_WIDTH = 16
"""Columns that a folded line has at least, however deep its indent is."""

_HEAD = re.compile(r"[ │]*(?:[├└]─ )?(?:[·!] |\d+\. )?")
_COMMAND = re.compile(r"(?P<indent> +)(?P<command>promptkit .*?)(?P<about> +# .*)?")
_WORD = re.compile(r"(?:[^\s']|'[^']*')+")


def fold(text: str, width: int) -> str:
    """Return a text whose lines take at most `width` columns; the rest of a line hangs under its indent or tree bars.

    A word with a slash in it stays whole, and a proposed command can still be copied.
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
    match = _HEAD.match(line)
    head = match[0] if match is not None and cell_width(match[0]) <= width - LEAST_WIDTH else ""
    under = re.sub(r"[^ │]", " ", head.replace("├", "│")) + HANG
    room = max(width - cell_width(under), LEAST_WIDTH - len(HANG))
    first, *rest = broken_text(line[len(head) :], room, whole_paths=True)
    yield head + first
    yield from (under + part for part in rest)


def _folded_command(match: re.Match[str], width: int) -> Iterator[str]:
    """Yield the purpose of a command, then the command, its lines joined as a shell reads them."""
    indent = match["indent"]
    if match["about"]:
        yield f"{indent}{match['about'].strip()}"
    lines = [indent.removesuffix(" ")]
    for word in _WORD.findall(match["command"]):
        if cell_width(f"{lines[-1]} {word} \\") > width:
            lines.append(f"{indent}   ")
        lines[-1] += f" {word}"
    *joined, last = lines
    yield from (f"{line} \\" for line in joined)
    yield last


# Values side by side, long ones cut around the place where they differ.

CONTEXT_SHARE = 3
"""A third of a column shows the text before the first difference."""

REST_SHARE = 5
"""A fifth of the width is left to texts that are not compared, where the compared ones are long."""


def fitted(rows: Sequence[Sequence[str]], room: int, *, alike: int) -> list[list[str]]:
    """Return rows of texts cut so that their columns, with gaps between them, take at most `room` columns.

    The first `alike` texts of a row are values of one kind, cut around the first place where they differ.
    """
    wanted = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    room -= GAP * (len(wanted) - 1)
    rest = min(sum(wanted[alike:]), room // REST_SHARE) if alike else room
    widths = shared_widths(wanted[:alike], room - rest)
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
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return one_line(", ".join(value))
    return "" if value is None else one_line(value)


def around_difference(texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return texts of at most `widths` columns; longer ones are cut around the first place where they differ."""
    least = min(map(len, texts), default=0)
    same = next((at for at, some in enumerate(zip(*texts, strict=False)) if len(set(some)) > 1), least)
    return [_cut_around(text, width, same) for text, width in zip(texts, widths, strict=True)]


def _cut_around(text: str, width: int, same: int) -> str:
    """Return a text of at most `width` columns that shows the characters after the first `same`."""
    start = same - width // CONTEXT_SHARE
    if cell_width(text) <= width or start <= 0 or same < width - width // CONTEXT_SHARE:
        return shortened(text, width)
    return shortened(f"…{text[start:]}", width)
