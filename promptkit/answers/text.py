"""Free text."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from promptkit.answers.base import AnswerType, Unparsed, paragraphs


class Text(AnswerType):
    """Any text that is not blank, without the blanks around it. Nothing constrains it."""

    name = "text"

    def format(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no text")
        return value

    def read(self, text: str) -> str:
        text = text.strip()
        if not text:
            raise Unparsed("the reply is empty")
        return text

    def first(self, text: str) -> str:
        return self.read(text)

    def last(self, text: str) -> str:
        return self.read((paragraphs(text) or [""])[-1])

    def vote_key(self, value: Any) -> Hashable:
        return " ".join(str(value).casefold().split()).rstrip(".!")

    def description(self) -> Mapping[str, Any]:
        return {}
