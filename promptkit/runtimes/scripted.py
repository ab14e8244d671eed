"""Answers from a list or a function, with the requests that were seen: the one fake, open to anyone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from inspect import isawaitable
from typing import TypeAlias, get_args

from promptkit.errors import RequestRefused, Unsupported
from promptkit.runtimes.base import Alternative, Capability, Message, Model, OnText, Reply, Request, Runtime, Token

Answered: TypeAlias = str | Reply | Exception
Script: TypeAlias = Callable[[Request], Answered | Awaitable[Answered]]
Tokenizer: TypeAlias = Callable[[str], Sequence[bytes]]
Embedder: TypeAlias = Callable[[str], list[float]]

CAPABILITIES: frozenset[Capability] = frozenset(get_args(Capability)) - {"embeddings", "think"}
"""What a scripted runtime claims unless told otherwise."""

QUOTED = 80
"""How many characters of a request an error shows."""

_PIECE = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")


def pieces(text: str) -> tuple[bytes, ...]:
    """Split a text into tokens as a small tokenizer would: words with the blanks before, single signs."""
    return tuple(piece.encode("utf-8", "surrogatepass") for piece in _PIECE.findall(text))


def whole_text(request: Request) -> str:
    """Return all that a request says: the messages' contents or the prompt, then the begun turn."""
    parts = [request.prompt] if request.prompt is not None else [each.content for each in request.messages]
    return "\n".join([*parts, request.begun] if request.begun else parts)


def quoted(request: Request) -> str:
    """Return the end of what a request says, where its input stands, in one line of at most QUOTED characters."""
    line = " ".join(whole_text(request).split())
    if len(line) <= QUOTED:
        return line
    end = line[1 - QUOTED :]
    word = "" if line[-QUOTED] == " " else end.partition(" ")[2]
    return f"…{word or end}"


class Scripted(Runtime):
    """A runtime whose answers are given: by a function of the request, or one after the other.

    A text is cut at a stop sequence and at `max_tokens` and gets log-probabilities where they are asked for, as
    a model's would; a `Reply` is handed over as it is; an exception is raised. `requests` holds what was asked
    (nothing without `keep_requests`), `peak` the most that were in flight at once.
    """

    def __init__(
        self,
        answers: Script | Iterable[Answered],
        *,
        capabilities: Iterable[Capability] = CAPABILITIES,
        digest: str = "scripted",
        reference: str = "scripted",
        context: int | None = None,
        parallel: int = 8,
        delay: float = 0.0,
        tokenizer: Tokenizer = pieces,
        embedder: Embedder | None = None,
        keep_requests: bool = True,
    ) -> None:
        self.requests: list[Request] = []
        self.peak = 0
        self._in_flight = 0
        self.script = answers if callable(answers) else _in_order(answers, reference)
        self._delay = delay
        self._tokenizer = tokenizer
        self._embedder = embedder
        self._keep_requests = keep_requests
        can: set[Capability] = {*capabilities, "embeddings"} if embedder else {*capabilities}
        self._model = Model(
            reference=reference,
            digest=digest,
            capabilities=frozenset(can),
            context=context,
            parallel=parallel,
        )

    async def model(self) -> Model:
        """Describe the model as the script does."""
        return self._model

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Return the script's next answer to the request; RequestRefused where it has none."""
        if self._keep_requests:
            self.requests.append(request)
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        started = time.monotonic()
        try:
            answered = self.script(request)
            if isawaitable(answered):
                answered = await answered
            if isinstance(answered, Exception):
                raise answered
            reply = self._obey(request, answered) if isinstance(answered, str) else answered
            await self._tell(reply.text, on_text)
        finally:
            self._in_flight -= 1
        return reply if reply.seconds else replace(reply, seconds=time.monotonic() - started)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text by the given function; Unsupported without one."""
        if self._embedder is None:
            raise Unsupported(f"{self._model.reference} has no embeddings")
        return [self._embedder(text) for text in texts]

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return the text's pieces, or None without the capability `tokenize`."""
        return tuple(self._tokenizer(text)) if "tokenize" in self._model.capabilities else None

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        """Return the messages in a plain template, or None without the capability `template`."""
        return _templated(messages, begun) if "template" in self._model.capabilities else None

    async def close(self) -> None:
        """Nothing to release."""

    def _obey(self, request: Request, text: str) -> Reply:
        """Make a reply of a text, cut as the request says."""
        for stop in filter(None, request.stop):
            text = text.split(stop, 1)[0]
        given = tuple(self._tokenizer(text))
        kept = given[: request.max_tokens]
        asked = _templated(request.messages, request.begun) if request.prompt is None else request.prompt
        return Reply(
            text=b"".join(kept).decode("utf-8", "surrogatepass") if len(kept) < len(given) else text,
            finish="length" if len(kept) < len(given) else "stop",
            tokens_in=len(self._tokenizer(asked)),
            tokens_out=len(kept),
            tokens=tuple(_certain(piece) for piece in kept) if request.alternatives else (),
        )

    async def _tell(self, text: str, on_text: OnText | None) -> None:
        """Take the script's time, handing over each piece as it arrives."""
        if on_text is None:
            await asyncio.sleep(self._delay)
            return
        parts = _PIECE.findall(text)
        for part in parts:
            await asyncio.sleep(self._delay / len(parts))
            on_text(part)


def _certain(piece: bytes) -> Token:
    return Token(piece, 0.0, (Alternative(piece, 0.0),))


def _templated(messages: Sequence[Message], begun: str) -> str:
    turns = "".join(f"<|{message.role}|>\n{message.content}\n" for message in messages)
    return f"{turns}<|assistant|>\n{begun}"


def _in_order(answers: Iterable[Answered], reference: str) -> Script:
    left: Iterator[Answered] = iter(answers)
    given = 0

    def script(request: Request) -> Answered:
        nonlocal given
        for answered in left:
            given += 1
            return answered
        asked = quoted(request)
        raise RequestRefused(f"{reference} has no reply left: all {given} are given, and it was asked: {asked}")

    return script
