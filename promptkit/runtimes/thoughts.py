"""Splitting a reasoning model's thoughts (`<think>…</think>`) from its answer while the text arrives."""

from __future__ import annotations

OPEN = "<think>"
CLOSE = "</think>"


class ThoughtSplitter:
    """Takes the pieces of a reply; `text` and `thoughts` hold what came so far. Thoughts stand at the start only."""

    def __init__(self, *, opened: bool = False, off: bool = False) -> None:
        """`opened`: the prompt's own end opens the thoughts already. `off`: take everything as the answer."""
        self.text = ""
        self.thoughts = ""
        self._opened = opened
        self._answering = off
        self._held = ""

    @property
    def thinking(self) -> bool:
        """Whether what comes now is part of the thoughts."""
        return self._opened and not self._answering

    def feed(self, piece: str) -> str:
        """Take a piece and return what of it is answer, to be shown at once."""
        if self._answering:
            self.text += piece
            return piece
        self._held += piece
        if not self._opened:
            start = self._held.lstrip()
            if len(start) < len(OPEN) and OPEN.startswith(start):
                return ""
            if not start.startswith(OPEN):
                return self._answer(self._held)
            self._opened, self._held = True, start.removeprefix(OPEN)
        thoughts, _, rest = self._held.partition(CLOSE)
        if not rest.strip():
            return ""
        self.thoughts = thoughts.strip()
        return self._answer(rest.lstrip())

    def finish(self) -> str:
        """Take the end of the reply and return what was held back of the answer. Thoughts cut off stay thoughts."""
        if self._answering:
            return ""
        if not self._opened:
            return self._answer(self._held)
        self.thoughts = self._held.partition(CLOSE)[0].strip()
        return ""

    def _answer(self, text: str) -> str:
        self._answering, self.text = True, text
        return text
