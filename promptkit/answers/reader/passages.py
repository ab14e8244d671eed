"""Passages: the parts of a reply in which its answer may stand, and how a reply is split into sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BOLD: Final = re.compile(r"\*\*(?=\S)([^*\n]{1,300}?)\*\*|__(?=\S)([^_\n]{1,300}?)__")
"""Text in bold."""

MAX_PASSAGE: Final = 2_000
"""Number of characters of a passage that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A part of a reply that may hold its answer, and the name of the rule that chose it.

    The answer of a passage that `is_marked` stands first in it, else last. Where a passage that `is_binding` holds no
    answer, the reply has none. `opens` marks the beginning of the reply: only a verdict there is an answer. `paragraph`
    is what the passage stands in, `lead` the marker before it, `question` what was asked.
    """

    text: str
    rule: str
    is_marked: bool = False
    is_binding: bool = False
    is_weak: bool = False
    opens: bool = False
    paragraph: str = ""
    lead: str = ""
    question: str = ""


_ABBREVIATED: Final = "".join(
    rf"(?<!\b{word}\.)" for word in ("e\\.g", "i\\.e", "vs", "approx", "Dr", "Mr", "Mrs", "Ms", "St", "No")
)
_SENTENCE_END: Final = re.compile(
    rf"(?:(?<=[.!?])|(?<=[.!?][\"')\]*”])|(?<=[.!?]\*\*)){_ABBREVIATED}\s+(?=\S)|(?<=[。！？；])"
)
_BREAK: Final = re.compile(r"\n[ \t]*\n|\n(?=#{1,6} )|\n-{3,}")
_ITEM: Final = re.compile(r"^[ \t]*(?:step[ \t])?\(?[0-9]{1,2}[.):][ \t]+(?=\S)", re.MULTILINE | re.IGNORECASE)
_BULLET: Final = re.compile(r"^[ \t]*(?:[-*•–>][ \t]+|#{1,6}[ \t]+)(?=\S)")


def parts_of(text: str) -> list[str]:
    """Return the paragraphs of a text, without lines and rules that hold no words; a heading begins one."""
    parts = (part.strip() for part in _BREAK.split(text))
    return [part for part in parts if part.strip("-*_=# \n")]


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a paragraph, without bullets and the numbers of list items."""
    mark = _ITEM if len(_ITEM.findall(text)) > 1 else _BULLET
    for line in text.split("\n"):
        line = mark.sub("", line, count=1).strip()
        if line.strip("-*_=# "):
            yield from (part for part in _SENTENCE_END.split(line) if part.strip())


def is_question(sentence: str) -> bool:
    """Tell whether a sentence asks: `What are the 3 numbers?`, but not `42?`."""
    return sentence.rstrip('*_ "”').endswith(("?", "？")) and (len(sentence.split()) > 3 or not sentence.isascii())
