"""Text folded to the width of a terminal: at words, under the indent or the tree's bars that a line begins with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptkit.reports.cells import broken_text, cell_width

HANG = "  "
LEAST = 16
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
        yield from _command(command, width)
        return
    found = _HEAD.match(line)
    head = found[0] if found is not None and cell_width(found[0]) <= width - LEAST else ""
    under = re.sub(r"[^ │]", " ", head.replace("├", "│")) + HANG
    first, *more = broken_text(line[len(head) :], max(width - cell_width(under), LEAST - len(HANG)), whole_paths=True)
    yield head + first
    yield from (under + each for each in more)


def _command(found: re.Match[str], width: int) -> Iterator[str]:
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
