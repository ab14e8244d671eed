"""Texts by the columns of a terminal that they take, broken at blanks."""

from __future__ import annotations


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
