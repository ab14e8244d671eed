"""Reading documents as an agent does: find a text, then look up the next sentence in it that holds a word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from promptkit.techniques.task import Task

_HEADING: Final = re.compile(r"^#{1,6}\s.*$", re.MULTILINE)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=\S)|\n\s*\n")
SENTENCES: Final = 5
"""How many sentences of a text a search shows."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that holds a word: the `number`th of `of` in its text."""

    text: str
    number: int
    of: int


class DocumentReader:
    """Searches a task's documents, and looks words up in the text that was found last.

    A word that is looked up again goes on to its next sentence; another word, or another text, begins anew.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._text = ""
        self._word = ""
        self._number = 0

    async def search(self, words: str) -> str:
        """Return how the text begins that fits the words best; empty where none does."""
        found = await self._task.retrieve(words, 1)
        if not found:
            return ""
        self._text, self._word = found[0].text, ""
        return " ".join(sentences(self._text)[:SENTENCES])

    def look_up(self, word: str) -> Sentence | None:
        """Return the next sentence with the word in the text found last, None where there is none, or no further."""
        if word.casefold() != self._word:
            self._word, self._number = word.casefold(), 0
        holding = [sentence for sentence in sentences(self._text) if self._word and self._word in sentence.casefold()]
        if self._number >= len(holding):
            return None
        self._number += 1
        return Sentence(holding[self._number - 1], self._number, len(holding))


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each on one line; a blank line ends one too. Headings are none."""
    return [" ".join(part.split()) for part in _SENTENCE_END.split(_HEADING.sub("", text)) if part.strip()]
