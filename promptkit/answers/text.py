"""Free text."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from promptkit.answers.base import WHOLE_REPLY, AnswerType, Reading, Refusal, Unparsed, paragraphs, quoted, shown
from promptkit.answers.reader.conclusion import last_box
from promptkit.answers.reader.markers import text_after_marker
from promptkit.answers.reader.numerals import plain_math
from promptkit.answers.reader.refusals import refuses


class Text(AnswerType):
    """Any text that is not blank, stripped. Nothing constrains it."""

    name = "text"

    def format(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{shown(value)} is not a text")
        return value

    def read(self, text: str) -> str:
        text = text.strip()
        if not text:
            raise Unparsed("the reply is empty")
        return text

    def conclude(self, text: str, cue: str, *, thinks: bool = False, cut: bool = False, question: str = "") -> Reading:
        if refuses(text):
            raise Refusal(f"the reply declines to answer: {quoted(text)}")
        boxed = last_box(text)
        if boxed is not None and (thinks or undressed(text).endswith("}")):
            return Reading(self.read(undressed(plain_math(boxed))), "boxed")
        rest = text_after_marker(text, cue, anywhere=thinks)
        if rest is not None:
            return Reading(self.read(undressed(rest)), "marker")
        if thinks:
            return Reading(self.read(undressed((paragraphs(text) or [""])[-1])), "last paragraph", is_weak=True)
        return Reading(self.read(undressed(text)), WHOLE_REPLY)

    def vote_key(self, value: Any) -> Hashable:
        return " ".join(str(value).casefold().split()).rstrip(".!")

    def description(self) -> Mapping[str, Any]:
        return {}


_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.*\S)\1", re.DOTALL)
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“", "「": "」", "'": "'", "‘": "’"}


def undressed(text: str) -> str:
    """Return a text without emphasis and quotes around the whole of it, or all but its full stop."""
    text = text.strip()
    while True:
        body, end = (text[:-1], text[-1:]) if text.endswith((".", "!", "?")) else (text, "")
        emphasis = _EMPHASIS.fullmatch(body)
        if emphasis and emphasis[1] not in emphasis[2]:
            text = emphasis[2].strip() + end
        elif len(body) > 2 and _QUOTES.get(body[0]) == body[-1] and not {body[0], body[-1]} & set(body[1:-1]):
            text = body[1:-1].strip() + end
        else:
            return text
