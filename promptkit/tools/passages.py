"""Texts cut into passages of 60 to 100 words, at the ends of sentences where they can be."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LEAST = 60
_MOST = 100
# Chinese and Japanese write no spaces: each of their signs counts as a word.
_SIGN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SIGN}]|[^\W{_SIGN}]+")
_PARAGRAPH_END = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n(?=[-*#>|\d])")
_HEADING = re.compile(r"#{1,6}\s")


def words(text: str) -> list[str]:
    """Return the words of a text, without regard to case."""
    return _WORD.findall(text.casefold())


def cut_passages(text: str) -> list[str]:
    """Return a text's passages in order; one of at most 100 words stays whole. A heading begins a passage."""
    text = text.strip()
    if _size(text) <= _MOST:
        return [text] if words(text) else []
    passages: list[str] = []
    held, size = "", 0
    for joint, part in _parts(text):
        more = _size(part)
        new_section = _HEADING.match(part) and not _HEADING.match(held)
        full = size + more > _MOST or (size >= _LEAST and joint != " ")
        if held and (new_section or (full and not _is_heading(held))):
            passages.append(held)
            held, size = part, more
        else:
            held, size = f"{held}{joint}{part}" if held else part, size + more
    return [passage for passage in (*passages, held) if words(passage)]


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield sentences, and pieces of those that are too long, each with what joins it to the one before."""
    for paragraph in _PARAGRAPH_END.split(text):
        joint = "\n"
        for sentence in _SENTENCE_END.split(paragraph):
            for piece in _pieces(sentence.strip()):
                yield joint, piece
                joint = " "


def _pieces(sentence: str) -> Iterator[str]:
    """Yield a sentence in pieces of at most 100 words."""
    begin = 0
    for number, word in enumerate(_WORD.finditer(sentence)):
        if number and number % _MOST == 0:
            yield sentence[begin : word.start()].strip()
            begin = word.start()
    if rest := sentence[begin:].strip():
        yield rest


def _is_heading(text: str) -> bool:
    return "\n" not in text and _HEADING.match(text) is not None


def _size(text: str) -> int:
    return len(_WORD.findall(text))
