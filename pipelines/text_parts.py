"""The tools of `summarize.yaml`: a long text in parts, and how long it is.

Lengths are bytes of UTF-8: a model's tokenizer makes at most one token of a byte, whatever the language, so that a
part of 2000 bytes fits a window of 4096 tokens with the prompt and the answer.
"""

import re

BREAKS = (r"(?<=\n)(?=\n)", r"(?<=\n)", r"(?<=[.!?])(?=\s)|(?<=[。！？])", r"(?<=\S)(?=\s)", r"")


def split(text: str, size: int = 2000) -> list[str]:
    """Return the text in parts of at most so many bytes, cut between paragraphs, else lines, sentences, words."""
    parts: list[str] = []
    room = 0
    for piece in _pieces(text, size, BREAKS):
        length = len(piece.encode())
        if parts and length <= room:
            parts[-1] += piece
        else:
            parts.append(piece)
            room = size
        room -= length
    return [part.strip() for part in parts if part.strip()]


def size(text: str) -> int:
    """Return the text's length in bytes."""
    return len(text.encode())


def _pieces(text: str, size: int, breaks: tuple[str, ...]) -> list[str]:
    """Return the text cut at the first kind of break, and a piece that is still too long at the next kind."""
    if len(text.encode()) <= size:
        return [text]
    return [
        inner for piece in re.split(breaks[0], text) if piece for inner in _pieces(piece, size, breaks[1:] or breaks)
    ]
