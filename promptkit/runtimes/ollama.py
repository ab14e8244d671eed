"""A model that an Ollama server runs.

The official client lists, shows, fetches and embeds. Chat and generate go over plain HTTP, because the client cannot
send `truncate` and `shift`, without which Ollama cuts a prompt that is too long, silently.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from math import isfinite
from time import perf_counter
from typing import Any

from promptkit.errors import BadReply, ContextOverflow, ModelMissing, Unsupported
from promptkit.runtimes.arriving import Arriving, understood
from promptkit.runtimes.base import Capability, Message, Model, OnText, Reply, Request, Runtime
from promptkit.runtimes.http import parse
from promptkit.runtimes.listeners import listeners
from promptkit.runtimes.ollama_server import (
    Connection,
    Installed,
    RunnerStopped,
    at_least,
    control_tokens,
    installed,
    normal_host,
    probe,
    pull,
    server_version,
    shown_details,
)
from promptkit.runtimes.seeds import sample_seed
from promptkit.runtimes.turns import continues_once
from promptkit.runtimes.window import Window

__all__ = ["Installed", "Ollama", "normal_host", "probe", "pull"]

MOST_ALTERNATIVES = 20
REFUSES_OVERFLOW = (0, 12, 4)


class Ollama(Runtime):
    """A `Runtime` over one model of an Ollama server (`host`: as OLLAMA_HOST, which it overrides).

    `context` fixes the window; without it, it follows the prompts' length. `keep_alive` is what Ollama takes:
    seconds, or a duration with its unit.
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
        self._connection = Connection(host)
        self._describing = asyncio.Lock()
        self._model: Model | None = None
        self._version = ""
        self._window = Window(None)
        self._stopped_runner: set[str] = set()

    async def model(self) -> Model:
        """Describe the model: ask the server for it, and the model once whether it goes on from a begun turn."""
        async with self._describing:
            if self._model is None:
                self._model = await self._describe()
            return self._model

    async def _describe(self) -> Model:
        async with self._connection.client() as client:
            listed = (await client.list()).models
        full_name = self._name if ":" in self._name.rpartition("/")[2] else f"{self._name}:latest"
        found = [model for model in listed if model.model == full_name]
        if not found:
            raise ModelMissing(f"Ollama has no model `{self._name}`", hint=f"ollama pull {self._name}")
        self._version = await server_version(self._connection)
        shown = await shown_details(self._connection, self._name)
        described = installed(found[0], shown, self._version, loaded=False)
        self._window = Window(described.context)
        capabilities = described.capabilities
        served = f"{described.digest} {self._version}"
        if "chat" in capabilities and await continues_once(served, self._count):
            capabilities |= {"continue"}
        return Model(
            reference=f"ollama/{self._name}",
            digest=f"{described.digest} ollama {self._version} {' '.join(sorted(capabilities))}",
            capabilities=capabilities,
            context=described.context,
            size=described.size,
            parallel=2,
            obeys_control_tokens=True,
            control_tokens=control_tokens(shown),
        )

    async def _count(self, messages: Sequence[Message]) -> int | None:
        """Return how many tokens the messages become."""
        body = self._body(Request(messages=tuple(messages), max_tokens=1), frozenset())
        body["options"]["num_ctx"] = self._context or self._window.tokens
        return (await self._collect("/api/chat", body, Request(begun="A"), None)).tokens_in

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer a request. A prompt that outgrows the window is asked again with a larger one, up to the model's."""
        model = await self.model()
        if request.grammar is not None:
            raise Unsupported("Ollama enforces a JSON Schema, but no grammar")
        body = self._body(request, model.capabilities)
        size = _size(request)
        listen = listeners(on_text)
        fixed = request.context or self._context
        while True:
            window = fixed or self._window.fit(size, request.max_tokens)
            body["options"]["num_ctx"] = window
            try:
                if not at_least(self._version, REFUSES_OVERFLOW) and self._window.outgrown(size, window):
                    raise ContextOverflow("the prompt is longer, and this old Ollama would cut it without a word")
                reply = await self._collect(_path(request), body, request, listen())
                self._check_whole(reply, request, size, window)
            except ContextOverflow as overflow:
                if fixed or not self._window.grow():
                    raise _named(overflow, self._name, window, fixed=bool(fixed)) from None
            except RunnerStopped as error:
                # A request that brings the runner down twice would bring it down for ever.
                error.retry = repr(body) not in self._stopped_runner
                self._stopped_runner.add(repr(body))
                raise
            else:
                return reply

    def _body(self, request: Request, capabilities: frozenset[Capability]) -> dict[str, Any]:
        options = {
            "temperature": request.temperature,
            "num_predict": request.max_tokens,
            "stop": list(request.stop) or None,
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
            # Left out, a reasoning model thinks, and its thoughts use up the few tokens that an answer type allows.
            body["think"] = request.think or False
        if self._keep_alive is not None:
            body["keep_alive"] = self._keep_alive
        return body

    async def _collect(self, path: str, body: Mapping[str, Any], request: Request, on_text: OnText | None) -> Reply:
        arriving = Arriving(begun=bool(request.begun))
        last: Mapping[str, Any] = {}
        started = perf_counter()
        async with aclosing(self._connection.server.lines(path, body)) as lines:
            async for line in lines:
                with self._understood():
                    last = self._part(line)
                    said = last.get("message", last)
                    text = said.get("content" if "message" in last else "response")
                    shown = arriving.add(text, said.get("thinking"), last.get("logprobs"))
                if shown and on_text:
                    on_text(shown)
        if last.get("done") is not True:
            raise BadReply(f"`{self._name}` broke off before the answer's end", hint="it may repeat one token for ever")
        if (held := arriving.finish()) and on_text:
            on_text(held)
        if request.alternatives and last.get("eval_count") and not arriving.has_logprobs:
            raise Unsupported("this Ollama gives no log-probabilities", hint="Ollama 0.12.11 and later do")
        with self._understood():
            return arriving.reply(
                finish="length" if last.get("done_reason") == "length" else "stop",
                tokens_in=last.get("prompt_eval_count"),
                tokens_out=last.get("eval_count"),
                # Ollama does not count thoughts; it sends a part for each token, or for a few.
                tokens_thought=None,
                seconds=max(0.0, perf_counter() - started - (last.get("load_duration") or 0) / 1e9),
            )

    def _part(self, line: bytes) -> Mapping[str, Any]:
        part: Mapping[str, Any] = parse(line, self._connection.place)
        if "error" in part:
            text = str(part["error"])
            raise self._connection.server.refusal(400 if "context" in text else 200, {}, text)
        return part

    def _understood(self) -> AbstractContextManager[None]:
        return understood(f"what answers at {self._connection.place} is no Ollama")

    def _check_whole(self, reply: Reply, request: Request, size: int, window: int) -> None:
        """Raise ContextOverflow where the prompt was cut, or the window ended the answer before `max_tokens`."""
        count = reply.tokens_in
        if not count:
            return
        if self._window.was_cut(size, count, window):
            raise ContextOverflow(f"Ollama cut the prompt to {count} tokens without a word")
        out = reply.tokens_out or 0
        if reply.finish == "length" and out < request.max_tokens and count + out >= window - 1:
            raise ContextOverflow(f"the window ended the answer after {out} of {request.max_tokens} tokens")
        self._window.learn(size, count)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a unit vector for each text. Raises ContextOverflow for one that is too long."""
        if "embeddings" not in (await self.model()).capabilities:
            raise Unsupported(f"`{self._name}` gives no embeddings", hint="use an embedding model")
        async with self._connection.client() as client:
            answer = await client.embed(self._name, list(texts), truncate=False)
        vectors = [[float(number) for number in vector] for vector in answer.embeddings]
        if len(vectors) != len(texts) or not all(isfinite(number) for vector in vectors for number in vector):
            raise BadReply(f"`{self._name}` gave {len(vectors)} vectors for {len(texts)} texts, or no numbers")
        return vectors

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return None: Ollama shows no tokenizer."""
        return None

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        """Return None: Ollama does not show what messages become."""
        return None

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._connection.close()


def _duration(keep_alive: str | float | None) -> str | float | None:
    """Return `keep_alive` as Ollama takes it: a number in a text would be refused for want of a unit."""
    if isinstance(keep_alive, str) and re.fullmatch(r"-?\d+(\.\d+)?", keep_alive.strip()):
        return float(keep_alive)
    return keep_alive


def _path(request: Request) -> str:
    return "/api/chat" if request.prompt is None else "/api/generate"


def _size(request: Request) -> int:
    """Return the bytes of a prompt's text."""
    texts = [turn.content for turn in request.messages] if request.prompt is None else [request.prompt]
    return sum(len(text.encode(errors="replace")) for text in (*texts, request.begun))


def _named(overflow: ContextOverflow, name: str, window: int, *, fixed: bool) -> ContextOverflow:
    hint = "raise `context`, or leave it out" if fixed else "shorten the prompt, or take a model with a larger window"
    return ContextOverflow(f"`{name}` with a window of {window} tokens: {overflow.message}", hint=hint)
