"""Splitting a reasoning model's thoughts (`<think>…</think>`) from its answer while the text arrives."""

from __future__ import annotations

from typing import Literal

from promptkit.runtimes.partial import held_from

OPEN = "<think>"
CLOSE = "</think>"

_State = Literal["before", "thinking", "after", "answering"]


class ThoughtSplitter:
    """Takes the pieces of a reply; `text` and `thoughts` hold what came so far. Thoughts stand at the start only.

    Each character is looked at a fixed number of times, however small the pieces are.
    """

    def __init__(self, *, opened: bool = False, off: bool = False) -> None:
        """`opened`: the prompt's own end opens the thoughts already. `off`: take everything as the answer."""
        self.held = ""  # what may begin a mark: always shorter than one
        self._blanks: list[str] = []
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._state: _State = "answering" if off else "thinking" if opened else "before"

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self._text)

    @property
    def thoughts(self) -> str:
        """The thoughts, without blanks around them."""
        return "".join(self._thoughts).strip()

    @property
    def thinking(self) -> bool:
        """Whether what comes now is part of the thoughts."""
        return self._state in ("thinking", "after")

    def feed(self, piece: str) -> str:
        """Take a piece and return what of it is answer, to be shown at once."""
        if self._state == "before":
            return self._before(piece)
        if self._state == "thinking":
            return self._think(piece)
        if self._state == "after":
            return self._answer(piece.lstrip())
        self._text.append(piece)
        return piece

    def finish(self) -> str:
        """Take the end of the reply and return what was held back of the answer. Thoughts cut off stay thoughts."""
        held, self.held = self.held, ""
        if self._state == "before":
            return self._answer("".join([*self._blanks, held]))
        if self._state == "thinking":
            self._thoughts.append(held)
        return ""

    def _before(self, piece: str) -> str:
        start = self.held + piece
        if not self.held:
            start = piece.lstrip()
            self._blanks.append(piece[: len(piece) - len(start)])
        if len(start) < len(OPEN) and OPEN.startswith(start):
            self.held = start
            return ""
        self.held = ""
        if not start.startswith(OPEN):
            return self._answer("".join([*self._blanks, start]))
        self._state = "thinking"
        return self._think(start.removeprefix(OPEN))

    def _think(self, piece: str) -> str:
        thought, mark, rest = (self.held + piece).partition(CLOSE)
        if mark:
            self._thoughts.append(thought)
            self.held, self._state = "", "after"
            return self._answer(rest.lstrip())
        start = held_from(thought, CLOSE)
        self._thoughts.append(thought[:start])
        self.held = thought[start:]
        return ""

    def _answer(self, text: str) -> str:
        if text:
            self._state = "answering"
            self._text.append(text)
        return text
