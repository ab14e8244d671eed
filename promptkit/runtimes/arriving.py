"""An answer as it arrives over HTTP, in OpenAI's protocol and in Ollama's: its pieces, and what they make up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from promptkit.errors import BadReply
from promptkit.runtimes.base import Alternative, Finish, Reply, Token
from promptkit.runtimes.thoughts import ThoughtSplitter


@contextmanager
def understood(complaint: str) -> Iterator[None]:
    """Raise BadReply with the complaint where a server's JSON is not of the shape that is read inside."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError):
        raise BadReply(complaint) from None


class Arriving:
    """What has arrived of one answer. Methods raise TypeError and the like for what is none (see `understood`)."""

    def __init__(self, *, begun: bool) -> None:
        """`begun`: the turn goes on, so that no thoughts come first."""
        self.tokens: list[Token] = []
        self.thought_parts = 0
        self._splitter = ThoughtSplitter(off=begun)
        self._thoughts: list[str] = []

    @property
    def has_logprobs(self) -> bool:
        """Whether log-probabilities came, or nothing yet that should have some."""
        return bool(self.tokens or self.thought_parts)

    def add(self, text: Any, thought: Any, logprobs: Any) -> str:
        """Keep a piece of the answer, of the thoughts, and the tokens listed for them; return what is to be shown."""
        shown = self._splitter.feed(_text(text))
        self._thoughts.append(_text(thought))
        if thought or self._splitter.thinking:
            self.thought_parts += 1
        else:
            self.tokens.extend(_token(each) for each in logprobs or ())
        return shown

    def finish(self) -> str:
        """Take the end of the answer, and return what was held back of it."""
        return self._splitter.finish()

    def reply(self, *, finish: Finish, tokens_in: Any, tokens_out: Any, tokens_thought: Any, seconds: float) -> Reply:
        """Return the whole answer. Without a count of the thoughts' tokens, their parts are counted."""
        out = _count(tokens_out)
        return Reply(
            text=self._splitter.text,
            finish=finish,
            thoughts="".join(self._thoughts).strip() or self._splitter.thoughts,
            tokens_in=_count(tokens_in),
            tokens_out=out,
            tokens_thought=min(_count(tokens_thought) or self.thought_parts, out or 0),
            tokens=tuple(self.tokens),
            seconds=seconds,
        )


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return value or ""


def _count(value: Any) -> int | None:
    if value is not None and type(value) is not int:  # True is no count.
        raise TypeError(value)
    return value


def _token(listed: Mapping[str, Any]) -> Token:
    """Return a generated token with its alternatives; both protocols list them alike."""
    alternatives = tuple(Alternative(_piece(each), float(each["logprob"])) for each in listed.get("top_logprobs") or ())
    return Token(_piece(listed), float(listed["logprob"]), alternatives)


def _piece(listed: Mapping[str, Any]) -> bytes:
    spelled = listed.get("bytes")
    return bytes(spelled) if spelled is not None else _text(listed["token"]).encode()
