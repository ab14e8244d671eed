"""Requests whose serving is measured: sent uncached, once each, and timed where the caller waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

from promptkit.runtimes.base import Memory, Message, Model, OnText, Reply, Request, Runtime
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models


class ServedRequest(NamedTuple):
    """A request that was answered, in seconds and tokens as its caller sees them; None where that is not known.

    `seconds` and `first_token` count from when it was sent, so they include a wait in the server's queue. The speeds
    are those of `Reply`.
    """

    seconds: float
    first_token: float | None
    tokens_per_second: float | None
    prompt_tokens_per_second: float | None
    tokens_in: int | None
    tokens_out: int | None
    tokens_reused: int | None


def served_request(reply: Reply, waited: float) -> ServedRequest:
    """Return the measurement of a reply that its caller waited for so many seconds.

    A runtime leaves its queue out of its own times, so what the caller waited beyond these comes before the first
    token. A script may report times that did not pass.
    """
    queued = max(0.0, waited - reply.seconds)
    return ServedRequest(
        seconds=max(waited, reply.seconds),
        first_token=None if reply.first_token is None else queued + reply.first_token,
        tokens_per_second=reply.tokens_a_second,
        prompt_tokens_per_second=reply.prompt_tokens_a_second,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        tokens_reused=reply.tokens_reused,
    )


class TimedRuntime(Runtime):
    """A runtime whose answers are timed; it is asked to read each prompt whole."""

    def __init__(self, runtime: Runtime, on_served: Callable[[ServedRequest], None]) -> None:
        self._runtime = runtime
        self._on_served = on_served

    async def model(self) -> Model:
        return await self._runtime.model()

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        began = perf_counter()
        reply = await self._runtime.answer(replace(request, reuse_prefix=False), on_text)
        self._on_served(served_request(reply, perf_counter() - began))
        return reply

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self._runtime.embed(texts)

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        return await self._runtime.tokenize(text)

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        return await self._runtime.template(messages, begun)

    async def count(self, messages: Sequence[Message], begun: str = "") -> int | None:
        return await self._runtime.count(messages, begun)

    async def memory(self) -> Memory | None:
        return await self._runtime.memory()


class ServingClients:
    """Clients of a run's models that keep nothing, try once, and have up to `concurrency` requests in flight."""

    def __init__(self, models: Models, concurrency: int, on_served: Callable[[ServedRequest], None]) -> None:
        self._models = models
        self._concurrency = concurrency
        self._on_served = on_served
        self._clients: dict[str | None, Client] = {}

    async def get(self, reference: str | None = None) -> Client:
        """Return the client of a model (None: the run's default), always the same one."""
        if reference not in self._clients:
            client = await self._models.get(reference)
            runtime = TimedRuntime(client.runtime, self._on_served)
            self._clients[reference] = client.unretried(runtime, concurrency=self._concurrency)
        return self._clients[reference]
