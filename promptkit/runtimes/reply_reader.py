"""Checked replies: every value is checked, whether it comes from a server, the store or a recording.

Servers are not trusted: counts are in range, numbers finite, finish reasons known, and nothing follows the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from math import inf
from sys import float_info
from time import perf_counter
from typing import Any

from promptkit.errors import BadReply, PromptkitError, RequestRefused, ServerFailed
from promptkit.runtimes.answer_end import AnswerEnd
from promptkit.runtimes.api_keys import Redactor
from promptkit.runtimes.base import Alternative, Finish, FunctionCall, OnText, Reply, Thought, Token
from promptkit.runtimes.function_calls import CallReader
from promptkit.runtimes.server_timings import Timings
from promptkit.runtimes.thoughts import ThoughtSplitter

MOST_TOKENS = 10**9
MOST_SECONDS = 10**7
MOST_FLOAT = float_info.max
MOST_LOGPROB = 0.01
"""A probability is at most 1, so its logarithm is at most 0, but for rounding in half precision."""
CHARACTERS_PER_TOKEN = 128
"""The length of the longest tokens of known vocabularies, such as 128 blanks."""
PIECES_PER_TOKEN = 4
SPARE_PIECES = 64
"""Proxies may send pieces smaller than tokens. More pieces than this mean that a server ignores the limit."""
MOST_THOUGHTS = 2**16
"""The most pieces of thoughts in a field of their own, which some servers do not count as tokens of the answer."""
CHARACTERS_PER_THOUGHT = 16
ASCII_GRAMMAR = r"root ::= [\x00-\x7F]*"
"""Keeps to whole characters: llama.cpp reports no log-probabilities where the only token ends within one."""
GRACE_SECONDS = 2.0
"""Seconds that a connection may stay open after the answer's end."""

FINISH_REASONS: Mapping[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
}
"""Finish reasons in the words of OpenAI, Ollama, Together, Text Generation Inference and Mistral."""
FAILED_FINISH_REASONS: Mapping[str, tuple[type[RequestRefused | ServerFailed | BadReply], str]] = {
    "content_filter": (RequestRefused, "a filter of the server withheld the answer or a part of it"),
    "refusal": (RequestRefused, "the model refused to answer"),
    "tool_calls": (BadReply, "the model called a tool instead of answering, and none was offered"),
    "function_call": (BadReply, "the model called a function instead of answering, and none was offered"),
    "error": (ServerFailed, "the server ended the answer with an error of its own"),
    "load": (ServerFailed, "the server loaded the model and gave no answer"),
    "unload": (ServerFailed, "the server unloaded the model and gave no answer"),
}
"""Finish reasons that leave no answer. A refusal is due to the request, any other to the server."""
CALLED: frozenset[str] = frozenset({"tool_calls", "function_call"})
"""Finish reasons of a reply with calls, where tools were offered."""


@contextmanager
def protocol_errors(complaint: str, *, hint: str | None = None) -> Iterator[None]:
    """Raise BadReply with the complaint where the block reads a shape that the server's JSON does not have."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        raise BadReply(complaint, hint=hint) from None


class ReplyReader:
    """Reads one streamed answer. Methods raise TypeError, ValueError or OverflowError where a value is wrong.

    Call them within `protocol_errors`, which turns these into BadReply.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int | None = None,
        redactor: Redactor | None = None,
        splitter: ThoughtSplitter | None = None,
        answer_end: AnswerEnd | None = None,
        calls: CallReader | None = None,
    ) -> None:
        """`name` is the model's name in messages, `limit` the most tokens of the reply, thoughts included.

        `answer_end` ends an answer that follows thoughts. `calls` reads the calls where tools were offered.
        """
        redactor = redactor or Redactor()
        self.tokens: list[Token] = []
        self.thought_parts = 0
        self.finish: Finish | None = None
        self.closed = False
        """True once the stream's own end was read: nothing may follow."""
        self.past_limit = False
        """True once more arrived than `limit` tokens."""
        self._name = name
        self._limit = limit
        self._most_tokens = inf if limit is None else limit
        self._most_pieces = PIECES_PER_TOKEN * self._most_tokens + SPARE_PIECES
        self._most_characters = CHARACTERS_PER_TOKEN * self._most_tokens
        self._redactor = redactor
        self._splitter = splitter or ThoughtSplitter()
        self._answer_end = answer_end
        self._calls = calls
        self._ended_by_calls = False
        self._joined = 0  # pieces of the answer that are held back, without blanks before it
        self._answer: list[str] = []
        self._text = redactor.stream()
        self._thought = redactor.stream()
        self._thoughts: list[str] = []
        self._listed = self._pieces = self._characters = self._thought_characters = 0
        self._first: float | None = None  # when the first piece arrived
        self._thoughts_shown = 0

    @property
    def has_logprobs(self) -> bool:
        """False where text arrived without log-probabilities."""
        return bool(self.tokens or self.thought_parts)

    @property
    def ended_early(self) -> bool:
        """True once the answer after thoughts is at its end: the caller closes the stream."""
        return self._answer_end is not None and self._answer_end.finish is not None

    async def collect(
        self, lines: AsyncIterator[bytes], take: Callable[[bytes], str], on_text: OnText | None = None
    ) -> None:
        """Pass each line to `take`, which adds it here and returns the text in it, until the answer's end.

        Stops early at the answer's own end, and once more than `limit` tokens arrived; the caller closes the
        connection. Raises as `take` does, and BadReply where the answer breaks off.
        """
        try:
            async with asyncio.timeout(None) as clock:
                async for line in lines:
                    shown = take(line)
                    if on_text is not None:
                        for piece in filter(None, (self.new_thoughts(), shown)):
                            on_text(piece)
                    if self.past_limit:
                        self.finish = "length"
                        break
                    if self.ended_early:
                        break
                    if self.closed and clock.when() is None:
                        clock.reschedule(asyncio.get_running_loop().time() + GRACE_SECONDS)
        except TimeoutError:
            if not clock.expired():
                raise
        if self.finish is None:
            raise BadReply(f"`{self._name}` broke off before the answer's end", retry=True)
        held = self.end_text()
        if held and on_text is not None:
            on_text(held)

    def add(self, text: Any, thought: Any, logprobs: Any) -> str:
        """Keep a piece of the answer, a piece of the thoughts, and their tokens. Returns the text to show."""
        text, thought, listed = _text(text), _text(thought), _list(logprobs)
        if not (text or thought or listed):
            return ""
        if self.finish:
            raise self._more()
        if self._first is None:
            self._first = perf_counter()
        self._count(len(text), len(thought), len(listed))
        shown = self._feed(self._text.feed(text)) if text else ""
        if thought:
            self._thoughts.append(self._thought.feed(thought))
        if thought or self._splitter.thinking:
            self.thought_parts += 1
        elif listed:
            self.add_tokens(listed)
        return shown

    def _feed(self, text: str) -> str:
        """Split a piece, keep what of it is answer, and return that. Pieces that turn out to be thoughts are counted
        as these.
        """
        if self._joined or text.strip():
            self._joined += 1
        unopened = self._splitter.unopened
        shown = self._splitter.feed(text)
        if self._splitter.thinking:
            self._joined = 0
        if self._splitter.unopened and not unopened:
            self.thought_parts += self._pieces - 1  # This piece is counted by itself.
            self.tokens.clear()
            self._answer.clear()
            if self._calls is not None:
                self._calls.forget_text()
        return self._keep(shown)

    def _keep(self, shown: str) -> str:
        """Keep a piece of the answer, and return the part of it before the answer's end."""
        end, joined = self._answer_end, self._joined
        self._joined = 0 if shown.strip() else joined
        if end is not None:
            shown = end.feed(shown, joined)
            self.finish = end.finish or self.finish
        self._answer.append(shown)
        return shown if self._calls is None else self._calls.shown(shown)

    def add_calls(self, parts: Any) -> None:
        """Keep calls of tools, or pieces of these. Raises the error of a call where no tool was offered."""
        listed = _list(parts)
        if not listed:
            return
        if self._calls is None:
            raise self.failed("tool_calls")
        if self.finish:
            raise self._more()
        if self._first is None:
            self._first = perf_counter()
        for part in listed:
            self._count(self._calls.feed(part), 0, 0)

    def new_thoughts(self) -> Thought:
        """Return the thoughts that have arrived since the last call."""
        new, self._thoughts_shown = self._thoughts[self._thoughts_shown :], len(self._thoughts)
        return Thought("".join([*new, self._splitter.new_thoughts()]))

    def _count(self, text: int, thought: int, listed: int) -> None:
        """Count a piece, and note whether the pieces exceed the limit."""
        if thought:
            self._thought_characters += thought
            most = MOST_THOUGHTS + self._most_tokens
            if self.thought_parts > most or self._thought_characters > CHARACTERS_PER_THOUGHT * most:
                self.past_limit = True
        if text or not thought:
            self._pieces += 1
            self._characters += text
            self._listed += listed
            many = self._pieces > self._most_pieces or self._characters > self._most_characters
            if many or self._listed > self._most_tokens:
                self.past_limit = True

    def add_tokens(self, logprobs: Any) -> None:
        """Keep tokens whose text is already known."""
        self.tokens.extend(map(_token, _list(logprobs)))

    def check_open(self) -> None:
        """Raise BadReply where the stream's own end was read."""
        if self.closed:
            raise self._more()

    def _more(self) -> BadReply:
        return BadReply(f"`{self._name}` sent more after the answer's end")

    def end(self, reason: Any) -> None:
        """Take the finish reason. Raises the error for an answer that was withheld, and for an unknown reason."""
        if not isinstance(reason, str):
            raise TypeError(reason)
        if self._calls is not None and reason in CALLED:
            self._ended_by_calls, reason = True, "stop"
        if reason in FAILED_FINISH_REASONS:
            raise self.failed(reason)
        if reason not in FINISH_REASONS:
            raise BadReply(f"`{self._name}` ended for a reason that is not known: {self._redactor.quote(reason)}")
        if self.finish not in (None, FINISH_REASONS[reason]):
            raise BadReply(f"`{self._name}` ended twice, for different reasons")
        self.finish = FINISH_REASONS[reason]

    def failed(self, reason: str) -> PromptkitError:
        """Return the error for one of FAILED_FINISH_REASONS."""
        kind, text = FAILED_FINISH_REASONS[reason]
        return kind(f"`{self._name}`: {text} ({reason})")

    def end_text(self) -> str:
        """End the text and return the part that was held back."""
        self._thoughts.append(self._thought.end())
        shown = self._feed(self._text.end()) + self._keep(self._splitter.finish())
        held = self._answer_end.end() if self._answer_end else ""
        self._answer.append(held)
        return shown + held if self._calls is None else shown + self._calls.shown(held) + self._calls.end()

    def reply(
        self,
        *,
        tokens_in: Any,
        tokens_out: Any,
        tokens_thought: Any,
        seconds: float,
        window: int | None = None,
        timings: Timings | None = None,
    ) -> Reply:
        """Return the whole answer. Without a count of the thoughts' tokens, their pieces are counted.

        An answer that was cut at the limit counts `limit` tokens. `window` is the model's window, where it is known,
        and `timings` are the runtime's own.
        The time until the first token is that part of `seconds` which had passed when it arrived, so call this as soon
        as the answer is whole.
        """
        later = 0.0 if self._first is None else perf_counter() - self._first
        cut_at = self._limit if self.past_limit else None
        most = self._most_pieces + MOST_THOUGHTS
        is_empty = not (self._characters or self._thought_characters)
        out = possible_count(tokens_out, most=most, window=window, is_empty=is_empty) if cut_at is None else cut_at
        if out is None and self._answer_end is not None and self.ended_early:
            out = self.thought_parts + self._answer_end.pieces
        kept = [] if self._redactor.has_secret and self._tokens_show_key() else self.tokens
        calls, text = self._called(), "".join(self._answer)
        is_written = self._calls is not None and self._calls.were_written
        return checked_reply(
            text="" if is_written or (calls and not text.strip()) else text,
            calls=calls,
            finish=self.finish,
            thoughts="".join(self._thoughts).strip() or self._splitter.thoughts,
            tokens_in=possible_count(tokens_in, window=window),
            tokens_out=out,
            tokens_thought=min(token_count(tokens_thought) or self.thought_parts, out or 0),
            tokens=kept[:cut_at],
            seconds=seconds,
            first_token=None if self._first is None else max(0.0, seconds - later),
            **(timings or {}),
        )

    def _called(self) -> list[FunctionCall]:
        """Return the calls, without the server's key in any text of theirs."""
        found = [] if self._calls is None else self._calls.calls()
        if self._ended_by_calls and not found:
            raise BadReply(f"`{self._name}` ended for a call of a tool, and no call came")
        clean = self._redactor.clean
        return [
            FunctionCall(id=clean(call.id), name=clean(call.name), arguments=clean(call.arguments)) for call in found
        ]

    def _tokens_show_key(self) -> bool:
        text = b"".join(token.piece for token in self.tokens)
        others = b"\0".join(other.piece for token in self.tokens for other in token.alternatives)
        return any(self._redactor.finds(part.decode(errors="replace")) for part in (text, others))


def checked_reply(
    *,
    text: Any,
    finish: Any = "stop",
    thoughts: Any = "",
    calls: Iterable[FunctionCall] = (),
    tokens_in: Any = None,
    tokens_out: Any = None,
    tokens_thought: Any = 0,
    tokens: Iterable[Token] = (),
    seconds: Any = 0.0,
    first_token: Any = None,
    cached: bool = False,
    context: Any = None,
    tokens_reused: Any = None,
    prompt_seconds: Any = None,
    output_seconds: Any = None,
    vector: Iterable[Any] = (),
) -> Reply:
    """Return a reply of unchecked values. Raises TypeError or ValueError where one is wrong."""
    if finish not in ("stop", "length"):
        raise ValueError(finish)
    if not (isinstance(text, str) and isinstance(thoughts, str)):
        raise TypeError("a text is needed")
    return Reply(
        text=text,
        finish=finish,
        thoughts=thoughts,
        calls=tuple(map(_checked_call, calls)),
        tokens_in=token_count(tokens_in),
        tokens_out=token_count(tokens_out),
        tokens_thought=token_count(tokens_thought) or 0,
        tokens=tuple(tokens),
        seconds=number_between(seconds, 0, MOST_SECONDS),
        first_token=_duration(first_token),
        cached=cached,
        context=token_count(context),
        tokens_reused=token_count(tokens_reused),
        prompt_seconds=_duration(prompt_seconds),
        output_seconds=_duration(output_seconds),
        vector=tuple(map(finite_number, vector)),
    )


def _checked_call(call: FunctionCall) -> FunctionCall:
    if not all(isinstance(text, str) for text in (call.id, call.name, call.arguments)):
        raise TypeError("a call's fields are texts")
    return call


def _duration(value: Any) -> float | None:
    return None if value is None else number_between(value, 0, MOST_SECONDS)


def checked_foreign_reply(reply: Reply, reference: str) -> Reply:
    """Return a reply that code other than promptkit's made. Raises BadReply where a value in it cannot be true."""
    with protocol_errors(f"{reference} returned a Reply whose values cannot be true"):
        values = {field.name: getattr(reply, field.name) for field in fields(Reply) if field.name != "reads"}
        return checked_reply(**values)


def token_count(value: Any) -> int | None:
    """Return a count of tokens, or None. Raises TypeError or ValueError."""
    if value is None:
        return None
    if type(value) is not int:  # True is not a count.
        raise TypeError(value)
    if not 0 <= value <= MOST_TOKENS:
        raise ValueError("a count out of range")
    return value


def possible_count(
    value: Any, *, most: float = MOST_TOKENS, window: int | None = None, is_empty: bool = False
) -> int | None:
    """Return a count of tokens, or None where it is not given or cannot be true. Raises TypeError or ValueError.

    A text that is not empty has tokens, and neither a prompt nor an answer is longer than the window.
    """
    count = token_count(value)
    if count is None or count > most or (window is not None and count > window):
        return None
    return count if count or is_empty else None


def number_between(value: Any, least: float, most: float) -> float:
    """Return a number within bounds. Raises TypeError or ValueError."""
    if type(value) not in (int, float):
        raise TypeError(value)
    if not least <= value <= most:  # NaN is not.
        raise ValueError("a number out of range")
    return float(value)


def finite_number(value: Any) -> float:
    """Return a finite number. Raises TypeError or ValueError."""
    return number_between(value, -MOST_FLOAT, MOST_FLOAT)


def logprob(value: Any) -> float:
    """Return a log-probability, minus infinity included. Raises TypeError or ValueError."""
    # One comparison for most of them: a reply has thousands. NaN is not below the bound.
    return value if type(value) is float and value <= MOST_LOGPROB else number_between(value, -MOST_FLOAT, MOST_LOGPROB)


def _token(listed: Mapping[str, Any]) -> Token:
    """Return a generated token with its alternatives, as both protocols list it."""
    alternatives = tuple(
        Alternative(_piece(other), logprob(other["logprob"])) for other in _list(listed.get("top_logprobs"))
    )
    return Token(_piece(listed), logprob(listed["logprob"]), alternatives)


def _piece(listed: Mapping[str, Any]) -> bytes:
    spelled = listed.get("bytes")
    if spelled is None:
        return _text(listed["token"]).encode()
    if type(spelled) is not list:
        raise TypeError(spelled)
    return bytes(spelled)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if value is not None:
        raise TypeError(value)
    return ""


def _list(value: Any) -> list[Any]:
    if type(value) is list:
        return value
    if value is not None:
        raise TypeError(value)
    return []
