"""The runtime of a model on an Ollama server.

It speaks plain HTTP: the official client cannot send `truncate` and `shift`, without which Ollama silently cuts a
prompt that is too long, and it trusts every reply.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from math import ceil
from time import perf_counter
from typing import Any

from promptkit.errors import BadReply, ContextOverflow, ModelMissing, Unsupported
from promptkit.runtimes.answer_end import AnswerEnd
from promptkit.runtimes.base import (
    Capability,
    Message,
    Model,
    OnText,
    Reply,
    Request,
    Runtime,
    resuming_listeners,
    sample_seed,
)
from promptkit.runtimes.http import VECTOR_LIMIT, Server
from promptkit.runtimes.ollama_server import (
    RunnerStopped,
    describe_model,
    listed_models,
    open_server,
    server_version,
    stream_error,
    tagged_name,
    version_at_least,
)
from promptkit.runtimes.probes import continues_turns_cached
from promptkit.runtimes.reply_reader import ReplyReader, ThoughtSplitter, finite_number, number_between, protocol_errors

MOST_ALTERNATIVES = 20
OF_THOUGHTS: frozenset[Capability] = frozenset({"thinks", "after_thoughts"})
"""Capabilities that follow from others, and so are not in a digest."""
REFUSES_OVERFLOW = (0, 12, 4)
NANOSECONDS = 10**9
EFFORTS: Mapping[str, str] = {"minimal": "low", "xhigh": "max"}
"""Efforts in Ollama's words where these differ."""
MOST_LOADING = 10**16
"""The largest loading time that is believed, in nanoseconds: 116 days."""


class Ollama(Runtime):
    """A model of an Ollama server at `host`, which is written as OLLAMA_HOST and overrides it.

    `context` fixes the window; without it the window follows the prompts' length. `keep_alive` is in seconds, or a
    duration with its unit.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str | None = None,
        context: int | None = None,
        keep_alive: str | float | None = None,
    ) -> None:
        self._name = name
        self._context = context
        self._keep_alive = _duration(keep_alive)
        self._server: Server = open_server(host)
        self._describing = asyncio.Lock()
        self._model: Model | None = None
        self._version = ""
        self._window = ContextWindow(None)
        self._stopped_runner: set[str] = set()

    async def model(self) -> Model:
        """Describe the model, after a probe whether it continues a begun turn."""
        async with self._describing:
            if self._model is None:
                self._model = await self._describe()
            return self._model

    async def _describe(self) -> Model:
        full_name = tagged_name(self._name)
        listed = next((model for model in await listed_models(self._server) if model.name == full_name), None)
        if listed is None:
            raise ModelMissing(f"Ollama has no model `{self._name}`", hint=f"ollama pull {self._name}")
        self._version = await server_version(self._server)
        model = await describe_model(self._server, listed, self._version)
        self._window = ContextWindow(model.context)
        capabilities = model.capabilities
        served = f"{model.digest} {self._version}"
        if "chat" in capabilities and await continues_turns_cached(served, self._count):
            capabilities |= {"continue"}
        return Model(
            reference=f"ollama/{self._name}",
            digest=f"{model.digest} ollama {self._version} {' '.join(sorted(capabilities - OF_THOUGHTS))}",
            capabilities=capabilities,
            context=model.context,
            size=model.size,
            parallel=2,
            obeys_control_tokens=True,
        )

    async def _count(self, messages: Sequence[Message]) -> int | None:
        """Return how many tokens the messages become."""
        request = Request(messages=tuple(messages), max_tokens=1)
        body = self._body(request, frozenset())
        body["options"]["num_ctx"] = self._context or self._window.tokens
        return (await self._collect("/api/chat", body, request, None)).tokens_in

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer a request. A prompt that does not fit the window is sent again with a larger one."""
        model = await self.model()
        if request.grammar is not None:
            raise Unsupported("Ollama enforces a JSON Schema, but not a grammar")
        body = self._body(request, model.capabilities)
        size = _prompt_bytes(request)
        listen = resuming_listeners(on_text)
        fixed = request.context or self._context
        while True:
            window = fixed or self._window.fit(size, request.most_tokens)
            body["options"]["num_ctx"] = window
            try:
                if not version_at_least(self._version, REFUSES_OVERFLOW) and self._window.outgrown(size, window):
                    raise ContextOverflow("the prompt is longer, and this old Ollama would cut it silently")
                reply = await self._collect(_endpoint(request), body, request, listen())
                self._check_whole(reply, request, size, window, fixed=bool(fixed))
            except ContextOverflow as overflow:
                if fixed or not self._window.grow():
                    raise _overflow_error(overflow, self._name, window, fixed=bool(fixed)) from None
            except RunnerStopped as error:
                # A request that stops the runner twice would stop it every time.
                error.retry = repr(body) not in self._stopped_runner
                self._stopped_runner.add(repr(body))
                raise
            else:
                return reply

    def _body(self, request: Request, capabilities: frozenset[Capability]) -> dict[str, Any]:
        options = {
            "temperature": request.temperature,
            "num_predict": request.most_tokens,
            "stop": None if request.thought_tokens else list(request.stop) or None,
            "seed": sample_seed(request),
            "top_p": request.top_p,
        }
        body: dict[str, Any] = {
            "model": self._name,
            "stream": True,
            "truncate": False,
            "shift": False,
            "options": {name: value for name, value in options.items() if value is not None},
        }
        if request.prompt is not None:
            body |= {"prompt": request.prompt + request.begun, "raw": True}
        else:
            begun = (Message("assistant", request.begun),) if request.begun else ()
            turns = (*request.messages, *begun)
            body["messages"] = [{"role": turn.role, "content": turn.content} for turn in turns]
        if request.schema is not None:
            body["format"] = dict(request.schema)
        if request.alternatives:
            body |= {"logprobs": True, "top_logprobs": min(request.alternatives, MOST_ALTERNATIVES)}
        if "think" in capabilities or request.think:
            # A reasoning model thinks where nothing is said.
            body["think"] = _think(request)
        if self._keep_alive is not None:
            body["keep_alive"] = self._keep_alive
        return body

    async def _collect(self, path: str, body: Mapping[str, Any], request: Request, on_text: OnText | None) -> Reply:
        reader = ReplyReader(
            self._name,
            limit=request.most_tokens,
            redactor=self._server.redactor,
            splitter=ThoughtSplitter(off=bool(request.begun)),
            answer_end=AnswerEnd.of(request),
        )
        last: Mapping[str, Any] = {}

        def take(line: bytes) -> str:
            nonlocal last
            with self._understood():
                last = self._part(line)
                reader.check_open()
                return _add_part(last, reader)

        started = perf_counter()
        async with aclosing(self._server.lines(path, body)) as lines:
            try:
                await reader.collect(lines, take, on_text)
            except BadReply as error:
                if error.retry:
                    error.hint, error.retry = "it may repeat one token for ever", False
                raise
        if request.alternatives and last.get("eval_count") and not reader.has_logprobs:
            raise Unsupported("this Ollama gives no log-probabilities", hint="Ollama 0.12.11 and later do")
        with self._understood():
            loading = number_between(last.get("load_duration") or 0, 0, MOST_LOADING) / NANOSECONDS
            return reader.reply(
                tokens_in=last.get("prompt_eval_count"),
                tokens_out=last.get("eval_count"),
                # Ollama does not count thoughts; it sends a part for each token, or for a few.
                tokens_thought=None,
                seconds=max(0.0, perf_counter() - started - loading),
            )

    def _part(self, line: bytes) -> Mapping[str, Any]:
        part: Mapping[str, Any] = self._server.parse(line)
        if part.get("error") is not None:
            raise stream_error(self._server, part["error"])
        return part

    def _understood(self) -> AbstractContextManager[None]:
        return protocol_errors(f"what answers at {self._server.place} is not an Ollama server")

    def _check_whole(self, reply: Reply, request: Request, size: int, window: int, *, fixed: bool) -> None:
        """Raise ContextOverflow where the prompt was cut, or the window ended the answer before `max_tokens`.

        Thoughts that fill the largest window are a reply that was cut.
        """
        count = reply.tokens_in
        if not count:
            return
        if self._window.was_cut(size, count, window):
            raise ContextOverflow(f"Ollama cut the prompt to {count} tokens silently")
        out = reply.tokens_out or 0
        is_full = reply.finish == "length" and out < request.most_tokens and count + out >= window - 1
        if is_full and not (request.thought_tokens and (fixed or self._window.is_largest)):
            raise ContextOverflow(f"the window ended the answer after {out} of {request.most_tokens} tokens")
        self._window.learn(size, count)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a unit vector for each text. Raises ContextOverflow for one that is too long."""
        if "embeddings" not in (await self.model()).capabilities:
            raise Unsupported(f"`{self._name}` gives no embeddings", hint="use an embedding model")
        body = {"model": self._name, "input": list(texts), "truncate": False}
        answer = await self._server.post("/api/embed", body, limit=VECTOR_LIMIT * (len(texts) + 1))
        with protocol_errors(f"`{self._name}` gave no vectors of numbers"):
            vectors = [[finite_number(number) for number in vector] for vector in answer["embeddings"]]
        if len(vectors) != len(texts):
            raise BadReply(f"`{self._name}` gave {len(vectors)} vectors for {len(texts)} texts")
        return vectors

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._server.close()


SMALLEST_WINDOW = 4096
LARGEST_WINDOW = 2**24
"""The largest window to ask for where the model's own is not known: more than any model has."""
TEMPLATE_TOKENS = 100
"""Tokens that a chat template may add: gpt-oss adds about 70, SmolLM2 a system message of 20."""
CAUTIOUS_BYTES = 3.0
USUAL_BYTES = 4.0
"""Bytes in a token before a count is known: English has 4 to 5, other scripts and code 2.5 to 4."""
FEWEST_TOKENS_LEARNT_FROM = 400
"""A shorter prompt says little about bytes in a token, because the template outweighs it."""


class ContextWindow:
    """The context window of a run. It only grows, in powers of two, because every change reloads the model."""

    def __init__(self, limit: int | None) -> None:
        """`limit` is the model's own window, where known."""
        self.limit = limit
        self.tokens = self._capped(SMALLEST_WINDOW)
        self._least_bytes: float | None = None
        self._most_bytes: float | None = None

    def fit(self, size: int, max_tokens: int) -> int:
        """Return a window for a prompt of `size` bytes and its answer."""
        needed = ceil(size / (self._least_bytes or CAUTIOUS_BYTES)) + TEMPLATE_TOKENS + max_tokens
        while self.tokens < needed and self.grow():
            pass
        return self.tokens

    def grow(self) -> bool:
        """Double the window; return whether it is larger now."""
        before, self.tokens = self.tokens, self._capped(2 * self.tokens)
        return self.tokens > before

    @property
    def is_largest(self) -> bool:
        """True if the window cannot grow."""
        return self._capped(2 * self.tokens) == self.tokens

    def learn(self, size: int, count: int) -> None:
        """Learn from an uncut prompt of `size` bytes that was counted as `count` tokens."""
        if count < FEWEST_TOKENS_LEARNT_FROM:
            return
        ratio = size / (count - TEMPLATE_TOKENS)
        self._least_bytes = min(self._least_bytes or ratio, ratio)
        self._most_bytes = max(self._most_bytes or ratio, ratio)

    def was_cut(self, size: int, count: int, window: int) -> bool:
        """Tell whether a prompt of `size` bytes, counted as `count` tokens, was silently cut to the window.

        A cut prompt is counted after the cut, at about half the window, so that its bytes do not fit the count.
        """
        usual = self._most_bytes or USUAL_BYTES
        return abs(count - (window // 2 + 2)) <= 16 and size / count > 1.5 * usual

    def outgrown(self, size: int, window: int) -> bool:
        """Tell whether a prompt of `size` bytes exceeds the window, by the usual bytes in a token."""
        return size / (self._most_bytes or USUAL_BYTES) > window

    def _capped(self, tokens: int) -> int:
        return min(tokens, self.limit or LARGEST_WINDOW)


def _add_part(part: Mapping[str, Any], reader: ReplyReader) -> str:
    """Add a part of an answer to its reader and return the text in it. Raises as `ReplyReader` does."""
    message = part.get("message", part)
    if message.get("tool_calls"):
        raise reader.failed("tool_calls")
    text = message.get("content" if "message" in part else "response")
    shown = reader.add(text, message.get("thinking"), part.get("logprobs"))
    done = part.get("done", False)
    if type(done) is not bool:
        raise TypeError(done)
    if done:
        reason = part.get("done_reason")
        reader.end("stop" if reason is None else reason)  # servers before 0.1.40 give none
        reader.closed = True
    return shown


def _duration(keep_alive: str | float | None) -> str | float | None:
    """Return `keep_alive` for Ollama, which refuses a number in a text because it has no unit."""
    if isinstance(keep_alive, str) and re.fullmatch(r"-?\d+(\.\d+)?", keep_alive.strip()):
        return float(keep_alive)
    return keep_alive


def _think(request: Request) -> bool | str:
    if isinstance(request.think, str):
        return EFFORTS.get(request.think, request.think)
    return request.thought_tokens > 0 if request.think is None else request.think


def _endpoint(request: Request) -> str:
    return "/api/chat" if request.prompt is None else "/api/generate"


def _prompt_bytes(request: Request) -> int:
    """Return the bytes of a prompt's text."""
    texts = [turn.content for turn in request.messages] if request.prompt is None else [request.prompt]
    return sum(len(text.encode(errors="replace")) for text in (*texts, request.begun))


def _overflow_error(overflow: ContextOverflow, name: str, window: int, *, fixed: bool) -> ContextOverflow:
    hint = "raise `context`, or leave it out" if fixed else "shorten the prompt, or take a model with a larger window"
    return ContextOverflow(f"`{name}` with a window of {window} tokens: {overflow.message}", hint=hint)
