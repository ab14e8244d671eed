"""Reading documents as an agent does: find a text, then look up the next sentence in it that holds a word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from promptkit.techniques.task import Task

_HEADING: Final = re.compile(r"^#{1,6}\s.*$", re.MULTILINE)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=\S)|\n\s*\n")
SENTENCES: Final = 5
"""The number of sentences of a text that a search shows."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that contains a word: number `number` of `of` such sentences in its text."""

    text: str
    number: int
    of: int


class DocumentReader:
    """Searches a task's documents and looks up words in the text that was found last.

    Looking up the same word again returns its next sentence; another word or text starts from the beginning.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._text = ""
        self._word = ""
        self._number = 0

    async def search(self, words: str) -> str:
        """Return the beginning of the text that matches the words best, empty if none does."""
        found = await self._task.retrieve(words, 1)
        if not found:
            return ""
        self._text, self._word = found[0].text, ""
        return " ".join(sentences(self._text)[:SENTENCES])

    def look_up(self, word: str) -> Sentence | None:
        """Return the next sentence with the word in the text found last, None if there is no further one."""
        if word.casefold() != self._word:
            self._word, self._number = word.casefold(), 0
        holding = [sentence for sentence in sentences(self._text) if self._word and self._word in sentence.casefold()]
        if self._number >= len(holding):
            return None
        self._number += 1
        return Sentence(holding[self._number - 1], self._number, len(holding))


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each on one line. A blank line ends a sentence; headings are left out."""
    return [" ".join(part.split()) for part in _SENTENCE_END.split(_HEADING.sub("", text)) if part.strip()]
