"""Readers of replies: lists, sentences, the label that is named last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_MARK: Final = re.compile(r"^\s*(?:[-*•]+|\(?\d+[.):]|#\d+[.:]?)\s+")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=\S)")


def read_list(text: str, *, most: int | None = None) -> list[str]:
    """Return the lines of a reply without their numbers and bullets, blank and repeated ones left out."""
    lines = map(bare_line, text.splitlines())
    return list(dict.fromkeys(line for line in lines if line))[:most]


def read_items(text: str, *, most: int | None = None) -> list[str]:
    """Return the items of a list as `read_list` does, without the text around them where items have marks."""
    lines = text.splitlines()
    marked = [line for line in lines if _MARK.match(line)]
    return read_list("\n".join(marked or lines), most=most)


def bare_line(line: str) -> str:
    """Return a line without its number or bullet."""
    return _MARK.sub("", line).strip()


def one_line(text: str) -> str:
    """Return a text with single spaces for all white space."""
    return " ".join(text.split())


def read_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without the numbers and bullets of its lines, repeated ones left out."""
    sentences = (part.strip() for line in read_list(text) for part in _SENTENCE_END.split(line))
    return list(dict.fromkeys(sentence for sentence in sentences if sentence))


def last_named(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that is named last in the text, whole words in any case; the longest of those that overlap."""
    best: tuple[int, int, str] | None = None
    for label in labels:
        for found in re.finditer(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE):
            if best is None or (found.end(), len(label)) > best[:2]:
                best = (found.end(), len(label), label)
    return best[2] if best else None


def filled_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def before_cue(text: str, cue: str) -> str:
    """Return the thoughts in a reply: the text before the last cue in any case, or all of it without a cue."""
    found = list(re.finditer(re.escape(cue), text, re.IGNORECASE)) if cue else []
    return (text[: found[-1].start()] if found else text).strip()
