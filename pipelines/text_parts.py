"""A tool of `summarize.yaml`: a long text in parts."""

import re


def split(text: str, characters: int = 2000) -> list[str]:
    """Return the text in parts of at most so many characters, cut between paragraphs, else sentences, else words."""
    parts: list[str] = []
    for piece in _pieces(text, characters):
        if parts and len(parts[-1]) + len(piece) < characters:
            parts[-1] = f"{parts[-1]}{piece}"
        else:
            parts.append(piece)
    return [part.strip() for part in parts if part.strip()]


def _pieces(text: str, characters: int) -> list[str]:
    for pattern in (r"(?<=\n)(?=\n)", r"(?<=[.!?])(?=\s)", r"(?<=\S)(?=\s)"):
        pieces = re.split(pattern, text)
        if all(len(piece) <= characters for piece in pieces):
            return pieces
    return [text[start : start + characters] for start in range(0, len(text), characters)]
