"""Finding a mark in a text that arrives in pieces."""

from __future__ import annotations


def held_from(text: str, mark: str) -> int:
    """Return where the longest end of a text begins that may be the start of the mark; the text's length if none is.

    Looks at no more than the mark's length. A text that holds the whole mark is not expected.
    """
    at = text.find(mark[0], max(0, len(text) - len(mark) + 1))
    while at >= 0 and not mark.startswith(text[at:]):
        at = text.find(mark[0], at + 1)
    return len(text) if at < 0 else at
