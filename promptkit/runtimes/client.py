"""The client of a runtime, with concurrency limit, retry, deadline, cache and coalescing of equal requests."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import groupby
from time import monotonic
from typing import Protocol, TypeVar

from promptkit.errors import DeadlinePassed, RuntimeFailure, ServerBusy, Unsupported
from promptkit.project_code.file_reads import note_reads
from promptkit.runtimes.base import (
    Adapter,
    Capability,
    HiddenState,
    Message,
    Model,
    OnText,
    Reply,
    Request,
    Runtime,
    ToolDefinition,
    resuming_listeners,
    vector_reply,
    with_implied,
)
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.control_tokens import without_control_tokens
from promptkit.runtimes.replay import Recorder
from promptkit.runtimes.serialization import reply_from, reply_record, request_key
from promptkit.storage.strict_json import compact

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
DEADLINE = 600.0
"""Default seconds for one request, and for describing the model."""

EMBEDDED_AT_ONCE = 32
"""The texts of one request for embeddings: each has its own deadline, and what is embedded is kept."""

# A retry is counted in the statistics; stamina would also log it, on the terminal where nobody set up logging.
logging.getLogger("stamina").addHandler(logging.NullHandler())

_CAPABILITY_TEXTS: dict[Capability, str] = {
    "chat": "take messages",
    "complete": "complete a raw text",
    "continue": "go on from a begun answer",
    "system": "take a system message",
    "grammar": "enforce a grammar",
    "guidance": "enforce a grammar of llguidance",
    "choice": "enforce one of several texts",
    "regex": "enforce a regular expression",
    "schema": "enforce a JSON Schema",
    "object_schema": "enforce a JSON Schema of an object",
    "json_object": "enforce that the reply is a JSON object",
    "logprobs": "give log-probabilities",
    "sampling": "sample at a temperature above 0",
    "stop": "stop at a text",
    "seed": "take a seed",
    "embeddings": "embed texts",
    "hidden_states": "give the vectors of its layers",
    "think": "think",
    "function_calls": "call functions",
    "adapters": "answer with an adapter",
}


class Cache(Protocol):
    """The store as a `Client` uses it: replies by key."""

    def cached(self, key: str) -> str | None: ...

    async def keep(self, key: str, value: str) -> None: ...


@dataclass(slots=True)
class ClientStatistics:
    """Counts of one `Client`: requests, those answered from the cache or by an equal request, and retries."""

    requests: int = 0
    cached: int = 0
    retries: int = 0


def required_capabilities(request: Request) -> list[Capability]:
    """Return the capabilities that a runtime needs to answer the request."""
    if request.hidden_state is not None:
        return ["embeddings" if request.hidden_state.layer is None else "hidden_states"]
    is_guided = request.grammar is not None and request.grammar.startswith("%llguidance")
    is_object = request.schema is not None and request.schema.get("type") == "object"
    needed: dict[Capability, bool] = {
        "chat": request.prompt is None,
        "complete": request.prompt is not None,
        "continue": bool(request.begun),
        "system": any(message.role == "system" for message in request.messages),
        "grammar": request.grammar is not None and not is_guided,
        "guidance": is_guided,
        "choice": bool(request.choice),
        "regex": request.regex is not None,
        "schema": request.schema is not None and not is_object,
        "object_schema": is_object,
        "json_object": request.json_object,
        "logprobs": request.alternatives > 0,
        "sampling": request.temperature > 0,
        "stop": bool(request.stop),
        "seed": request.seed is not None,
        "think": bool(request.think),
        "function_calls": bool(request.tools) or any(turn.calls or turn.role == "tool" for turn in request.messages),
        "adapters": request.adapter is not None,
    }
    return [capability for capability, is_needed in needed.items() if is_needed]


class Client:
    """Sends requests to one runtime: within a concurrency limit, with retries, and never twice for a kept reply.

    `concurrency` limits the requests in flight (default: the model's `parallel`). `deadline` is the seconds for one
    request with all its `attempts` and for describing the model, without the wait for its turn; a `firm` one cannot be
    changed by a step. `store` keeps replies: a request is in flight until its reply is kept. `recorder` records every
    request and reply under `name`, the model's name in the run (None: its default).
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        store: Cache | None = None,
        concurrency: int | None = None,
        deadline: float = DEADLINE,
        firm: bool = False,
        attempts: int = 4,
        recorder: Recorder | None = None,
        name: str | None = None,
    ) -> None:
        self.statistics = ClientStatistics()
        self.runtime = runtime
        self._store = store
        self._concurrency = concurrency
        self._deadline = deadline
        self._firm = firm
        self._attempts = attempts
        self._recorder = recorder
        self._name = name
        self._budget: Budget | None = None
        self._model: Model | None = None
        self._describing = asyncio.Lock()
        self._flights = SingleFlight()
        self._limiter = asyncio.Semaphore()

    async def model(self) -> Model:
        """Describe the model, loading or probing it once. Raises RuntimeFailure where it is not there."""
        if self._model is None:
            async with self._describing:
                if self._model is None:
                    model = await self._in_time(self.runtime.model)
                    self._limiter = asyncio.Semaphore(self._concurrency or model.parallel)
                    if self._recorder:
                        self._recorder.model(self._name, model)
                    self._model = model
        return self._model

    async def ask(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Return the reply to a request; `on_text` gets its text as it arrives; a cached one whole.

        Raises Unsupported before anything is sent where the model lacks a capability, RuntimeFailure where every
        attempt failed, StoreFailed where the reply cannot be kept, and BudgetSpent.
        """
        if self._budget is None:
            return await self._ask(request, on_text)
        async with self._budget.request() as counted:
            reply = await self._ask(request, on_text)
            counted.note(reply)
            return reply

    async def _ask(self, request: Request, on_text: OnText | None) -> Reply:
        started = monotonic()
        model = await self.model()
        left = self._deadline - (monotonic() - started)  # describing the model counts
        _refuse_missing(model, required_capabilities(request))
        request = self.sent(request)
        self.statistics.requests += 1
        if self._store is None:
            async with self._limiter:
                reply = await self._send(request, on_text, left)
        else:
            reply = await self._cached_or_sent(self._store, request, model.digest, on_text, left)
        note_reads(reply.reads)
        if self._recorder:
            self._recorder.answer(self._name, request, reply)
        return reply

    def sent(self, request: Request) -> Request:
        """Return a request as the runtime gets it: without control tokens that it would obey. Call `model` first."""
        obeys = self._model is not None and self._model.obeys_control_tokens
        return without_control_tokens(request) if obeys else request

    async def add_adapter(self, adapter: Adapter) -> None:
        """Get the runtime ready for requests with an adapter. Raises InputError, Unsupported or RuntimeFailure."""
        await self._in_time(lambda: self.runtime.add_adapter(adapter))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text, from the store where it has them. Raises Unsupported or RuntimeFailure."""
        model = await self.model()
        _refuse_missing(model, ["embeddings"])
        known = {text: vector for text in texts if (vector := self._kept_vector(text, model)) is not None}
        lacking = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(lacking), EMBEDDED_AT_ONCE):
            some = lacking[start : start + EMBEDDED_AT_ONCE]
            known |= zip(some, await self._embedded(some), strict=True)
            if self._store is not None:
                await asyncio.gather(
                    *(self._store.keep(_vector_key(text, model), compact(known[text])) for text in some)
                )
        vectors = [known[text] for text in texts]
        if self._recorder:
            self._recorder.vectors(self._name, texts, vectors)
        return vectors

    async def _embedded(self, texts: Sequence[str]) -> list[list[float]]:
        async with self._limiter:
            return await self._in_time(lambda: self._retried(lambda: self.runtime.embed(texts)))

    def _kept_vector(self, text: str, model: Model) -> list[float] | None:
        """Return the vector of a text that the store has, None where there is none or it cannot be read."""
        value = None if self._store is None else self._store.cached(_vector_key(text, model))
        try:
            vector = None if value is None else json.loads(value)
        except ValueError:
            return None
        return vector if isinstance(vector, list) else None

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return the text's tokens as byte pieces, or None where no tokenizer is at hand."""
        await self.model()
        pieces = await self.runtime.tokenize(text)
        if self._recorder:
            self._recorder.pieces(self._name, text, pieces)
        return pieces

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        """Return the text that messages and tools become, or None where the runtime does not show it."""
        await self.model()
        text = await self.runtime.template(messages, begun, tools)
        if self._recorder:
            self._recorder.template(self._name, messages, begun, tools, text)
        return text

    async def count(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> int | None:
        """Return the number of tokens that messages and tools become, or None where that is not known."""
        await self.model()
        return await self.runtime.count(messages, begun, tools)

    def uncached(self) -> Client:
        """Return this client without its store: same runtime, limits and counts. Call `model` first."""
        other = copy(self)
        other._store = None
        return other

    def timed(self, seconds: float) -> Client:
        """Return this client with another deadline, unless its own is firm. Call `model` first."""
        if self._firm:
            return self
        other = copy(self)
        other._deadline = seconds
        return other

    def within(self, budget: Budget) -> Client:
        """Return this client with its requests counted against a budget. Call `model` first."""
        other = copy(self)
        other._budget = budget
        return other

    def unretried(self, runtime: Runtime, *, concurrency: int) -> Client:
        """Return a client of `runtime` with this one's deadline that keeps no reply and sends each request once."""
        return Client(runtime, concurrency=concurrency, deadline=self._deadline, firm=self._firm, attempts=1)

    async def close(self) -> None:
        """Release the runtime. Safe to call twice."""
        await self.runtime.close()

    async def _cached_or_sent(
        self, store: Cache, request: Request, digest: str, on_text: OnText | None, seconds: float
    ) -> Reply:
        key = request_key(request, digest)
        cached = _read_cached(store.cached(key))
        if cached is not None:
            self.statistics.cached += 1
            if on_text is not None:
                on_text(cached.text)
            return cached

        async def send(listener: OnText | None) -> Reply:
            async with self._limiter:
                reply = await self._send(request, listener, seconds)
                # Kept while it counts as in flight: a killed process never has to repeat more requests than the limit.
                if not reply.reads:  # The key does not tell the files that it was made of.
                    await store.keep(key, compact(reply_record(reply)))
            return reply

        reply, shared = await self._flights.join(key, send, on_text)
        if not shared:
            return reply
        self.statistics.cached += 1
        return replace(reply, cached=True)

    async def _send(self, request: Request, on_text: OnText | None, seconds: float) -> Reply:
        listen = resuming_listeners(on_text)

        async def attempt() -> Reply:
            if request.hidden_state == HiddenState():
                return await _embedded(self.runtime, request)
            return await self.runtime.answer(request, listen())

        return await self._in_time(lambda: self._retried(attempt), seconds)

    async def _in_time(self, action: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
        try:
            async with asyncio.timeout(self._deadline if seconds is None else seconds) as clock:
                return await action()
        except TimeoutError:
            if not clock.expired():
                raise
            who = self._model.reference if self._model else "the model"
            hint = "--timeout SECONDS, or `timeout` in promptkit.yaml or a step's `options`, changes that"
            raise DeadlinePassed(f"{who} did not answer within {self._deadline:g} seconds", hint=hint) from None

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt once, and again where the failure may pass. The first attempt does not load the retry library."""
        try:
            return await attempt()
        except RuntimeFailure as failure:
            if self._pause(failure) is False:
                raise
            return await self._retry(attempt, failure)

    async def _retry(self, attempt: Callable[[], Awaitable[T]], failure: RuntimeFailure) -> T:
        from stamina import retry_context

        async for attempt_context in retry_context(
            on=self._pause,
            attempts=self._attempts,
            timeout=None,
            wait_initial=FIRST_PAUSE,
            wait_max=LONGEST_PAUSE,
        ):
            with attempt_context:
                if attempt_context.num == 1:
                    raise failure
                self.statistics.retries += 1
                return await attempt()
        raise failure

    def _pause(self, failure: Exception) -> bool | float:
        """Tell whether to retry; return the seconds to wait where the server gave them."""
        if not (isinstance(failure, RuntimeFailure) and failure.retry):
            return False
        if isinstance(failure, ServerBusy) and failure.retry_after is not None:
            return failure.retry_after if failure.retry_after < self._deadline else False
        return True


def _refuse_missing(model: Model, needed: list[Capability]) -> None:
    able = with_implied(model.capabilities)
    if "thinks" in able:
        able |= {"think"}  # a model that always thinks meets a wish for thoughts
    missing = [_CAPABILITY_TEXTS[capability] for capability in needed if capability not in able]
    if missing:
        known = ", ".join(sorted(model.capabilities)) or "nothing"
        raise Unsupported(f"{model.reference} cannot {' or '.join(missing)}", hint=f"it can: {known}")


async def _embedded(runtime: Runtime, request: Request) -> Reply:
    """Return the vector that a server gives for embeddings of a request's texts, joined."""
    started = monotonic()
    texts = (*(message.content for message in request.messages), request.prompt or "", request.begun)
    (vector,) = await runtime.embed(["\n\n".join(filter(None, texts))])
    return vector_reply(vector, seconds=monotonic() - started)


def _vector_key(text: str, model: Model) -> str:
    return f"embed\0{model.digest}\0{text}"


def _read_cached(value: str | None) -> Reply | None:
    """Return a kept reply, or None where it cannot be read."""
    if value is None:
        return None
    try:
        return reply_from(json.loads(value), cached=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


Send = Callable[[OnText | None], Awaitable[Reply]]


class SingleFlight:
    """Coalesces equal requests in flight. A request is cancelled only when every caller that waits for it has left."""

    def __init__(self) -> None:
        self._flights: dict[str, _InFlight] = {}

    async def join(self, key: str, send: Send, on_text: OnText | None) -> tuple[Reply, bool]:
        """Return the reply under this key, and whether another caller had sent the request. Raises as `send` does."""
        flight = self._flights.get(key)
        joined = flight is not None
        if flight is None:
            flight = self._flights[key] = _InFlight(send, streams=on_text is not None)
            flight.task.add_done_callback(lambda _: self._forget(key, flight))
        try:
            return await flight.wait(on_text), joined
        except asyncio.CancelledError:
            if not flight.waiting:
                self._forget(key, flight)
                await flight.end()
            raise

    def _forget(self, key: str, flight: _InFlight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class _InFlight:
    def __init__(self, send: Send, *, streams: bool) -> None:
        self.waiting = 0
        self._streams = streams
        self._pieces: list[str] = []
        self._listeners: list[OnText] = []
        self.task = asyncio.ensure_future(send(self._publish if streams else None))

    async def wait(self, on_text: OnText | None) -> Reply:
        """Wait for the reply. A caller that is cancelled leaves the request running for the others."""
        if on_text is not None and self._streams:
            for kind, pieces in groupby(self._pieces, type):
                on_text(kind("".join(pieces)))
            self._listeners.append(on_text)
        self.waiting += 1
        try:
            reply = await asyncio.shield(self.task)
        finally:
            self.waiting -= 1
            if on_text in self._listeners:
                self._listeners.remove(on_text)
        if on_text is not None and not self._streams:
            on_text(reply.text)
        return reply

    async def end(self) -> None:
        """Cancel the request and wait until it has ended, whatever it raises."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def _publish(self, piece: str) -> None:
        self._pieces.append(piece)
        for listener in self._listeners:
            listener(piece)
