"""The end of an answer that follows thoughts: stop strings and a limit of tokens that hold for the answer alone.

A server applies both to all that it generates. So a request that leaves room for thoughts sends neither, and the stream
of its reply is closed where the answer ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.runtimes.api_keys import partial_match_start
from promptkit.runtimes.base import Finish, Request


class AnswerEnd:
    """Passes on an answer's text up to its end. `finish` is None until then."""

    def __init__(self, stop: Sequence[str], most_tokens: int) -> None:
        """`most_tokens` bounds the answer by its pieces, of which a server sends at most one a token."""
        self.finish: Finish | None = None
        self.pieces = 0
        self._stop = stop
        self._most_tokens = most_tokens
        self._characters = 0
        self._held = ""  # may begin a stop string

    @classmethod
    def of(cls, request: Request) -> AnswerEnd | None:
        """Return the end of a request's answer; None where no thoughts come before it, and the server applies it."""
        return cls(request.stop, request.max_tokens) if request.thought_tokens else None

    def feed(self, piece: str, joined: int = 1) -> str:
        """Take a piece of the answer and return the text that is certain. Blanks before the answer are left out.

        `joined` is the number of pieces of the server in it.
        """
        if not self._characters:
            piece = piece.lstrip()
        if not piece or self.finish:
            return ""
        # A proxy may send single characters, so as many characters must have come as tokens are allowed.
        if self.pieces >= self._most_tokens and self._characters >= self._most_tokens:
            self.finish = "length"
            return self.end()
        self.pieces += max(1, joined)
        self._characters += len(piece)
        text = self._held + piece
        places = [text.index(stop) for stop in self._stop if stop in text]
        if places:
            self.finish, self._held = "stop", ""
            return text[: min(places)]
        start = min((partial_match_start(text, stop) for stop in self._stop), default=len(text))
        self._held = text[start:]
        return text[:start]

    def end(self) -> str:
        """Return the text that was held back."""
        held, self._held = self._held, ""
        return held
