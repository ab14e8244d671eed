"""Fenced blocks of a reply (``` or ~~~), as models write them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import Final

_FENCE: Final = re.compile(r"^(?P<indent>[ \t>]{0,12})(?P<marks>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$", re.MULTILINE)
_FENCE_IN_LINE: Final = re.compile(r"(?<=:)[ \t]{0,9}(?=```[\w+#.-]*[ \t]{0,9}$)", re.MULTILINE)
_LANGUAGE: Final = re.compile(r"\{?\.?([\w+#-]*)")


@dataclass(frozen=True, slots=True)
class FencedBlock:
    """A fenced block: the language after its first fence, in small letters, and its text. `start` and `end` are the
    offsets of the block with its fences.
    """

    language: str
    text: str
    start: int
    end: int


def fenced_blocks(text: str) -> list[FencedBlock]:
    """Return the fenced blocks of a reply that are not blank. A block without its second fence ends with the reply.

    A fence that names another language ends the block before it and begins one, as models forget the fence between.
    """
    if "```" not in text and "~~~" not in text:
        return []
    blocks: list[FencedBlock] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
            continue
        if fence["marks"][0] != opened["marks"][0] or len(fence["marks"]) < len(opened["marks"]):
            continue
        blocks.append(_block(text, opened, fence.start(), fence.end()))
        opened = fence if fence["info"].strip() else None
    if opened is not None:
        blocks.append(_block(text, opened, len(text), len(text)))
    return [block for block in blocks if block.text.strip()]


def fences_on_own_lines(text: str) -> str:
    """Return the text with fences that follow a colon (`Output: ```python`) moved to the next line."""
    return _FENCE_IN_LINE.sub("\n", text)


def outside_fences(text: str) -> str:
    """Return the text without its fenced blocks."""
    parts, at = [], 0
    for block in fenced_blocks(text):
        parts.append(text[at : block.start])
        at = max(at, block.end)
    return "".join([*parts, text[at:]])


def _block(text: str, opened: re.Match[str], end: int, after: int) -> FencedBlock:
    inner = text[opened.end() + 1 : end].removesuffix("\n")
    if opened["indent"]:
        inner = textwrap.dedent(inner)
    language = _LANGUAGE.match(opened["info"].strip().lower())
    return FencedBlock(language[1] if language else "", inner, opened.start(), after)
