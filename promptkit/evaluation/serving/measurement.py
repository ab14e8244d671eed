"""Measures serving: each variant at each concurrency, in rounds, so that drift of the machine affects all alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from time import perf_counter
from typing import Any, NamedTuple

from promptkit.engine.results import Result
from promptkit.engine.run import Runner
from promptkit.engine.session import RunSettings
from promptkit.errors import InputError, RuntimeFailure, UnexpectedError
from promptkit.evaluation.serving.spec import SERVE_ALONE, SERVED_CONVERSATION, ServingSpec
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.suite import Suite, Variant
from promptkit.runtimes.base import Memory, Message, Model, OnText, Reply, Request, Runtime, ToolDefinition
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

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        return await self._runtime.template(messages, begun, tools)

    async def count(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> int | None:
        return await self._runtime.count(messages, begun, tools)

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


ROUNDS = 5
"""Each round is a measurement of its own, and the intervals are those of so many."""

FEWEST_WAVES = 2
"""The rows of a block are at least this many times its concurrency, so that so many requests are in flight."""


class ServedRow(NamedTuple):
    """A row that was asked: the seconds until its output was there, and why it failed (empty: it did not)."""

    seconds: float
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The rows of one variant at one concurrency in one round, and the requests that they sent.

    `elapsed` is the time of the worker that was busy longest.
    """

    rows: Sequence[ServedRow]
    requests: Sequence[ServedRequest]
    elapsed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A variant at one concurrency; `blocks` has one for each round that was measured."""

    variant: str
    concurrency: int
    blocks: list[Block] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """True once every row of a round failed: further rounds would only wait for the same failure."""
        return bool(self.blocks) and all(row.failure for row in self.blocks[-1].rows)


class _Client(NamedTuple):
    """A client that asks the rows of a variant, the one at `place`. Each answered request is put into `requests`."""

    served: Served
    place: int
    runner: Runner
    requests: list[ServedRequest]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingResult:
    """The measurements of a run, in the order of concurrencies, then variants.

    `models` and `memory` are by variant; `distinct` is False where rows were asked more than once.
    """

    spec: ServingSpec
    served: Sequence[Served]
    models: Mapping[str, Sequence[Model]]
    memory: Mapping[str, Memory | None]
    distinct: bool


def check_serving(suite: Suite, models: Models, names: Sequence[str | None]) -> None:
    """Raise InputError where serving cannot be measured. `names` are the models used."""
    if suite.serving is None:
        return
    if suite.conversation is not None:
        raise InputError(SERVED_CONVERSATION, hint=SERVE_ALONE)
    if recording := next(filter(None, map(models.replayed, names)), None):
        raise InputError(
            f"serving cannot be measured on {recording}: a recording is read, not served",
            hint="name a model with --model, or leave the measurement out with --serving none",
        )
    if any(variant.counted for variant in suite.variants):
        raise InputError(
            "serving cannot be measured with `feed: recorded`, which takes the steps before from kept answers",
            hint="let `feed: data` take the step's inputs from the rows, or measure the whole target",
        )


class ServingMeasurement:
    """Measures the serving of a suite's variants. `on_progress` gets the blocks that are done and their number."""

    def __init__(
        self,
        suite: Suite,
        spec: ServingSpec,
        *,
        models: Models,
        settings: RunSettings,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._suite = suite
        self._spec = spec
        self._models = models
        self._settings = settings
        self._on_progress = on_progress

    async def run(self) -> ServingResult:
        """Ask the rows and return what was measured. Raises InputError where no row can be used."""
        spec = self._spec
        clients = [
            await self._opened(variant, place, concurrency)
            for concurrency in spec.concurrency
            for place, variant in enumerate(self._suite.variants)
        ]
        sizes = {count: self._block_rows(count) for count in spec.concurrency}
        needed = ROUNDS * sum(sizes.values())
        rows = self._rows(needed + spec.warmup)
        at, done = spec.warmup, 0
        for number in range(ROUNDS):
            for concurrency, size in sizes.items():
                asked = [rows[(at + step) % len(rows)] for step in range(size)]
                at += size
                level = [client for client in clients if client.served.concurrency == concurrency]
                # Another variant is the first in each round.
                for client in (*level[number % len(level) :], *level[: number % len(level)]):
                    self._on_progress(done, ROUNDS * len(clients))
                    if not client.served.failed:
                        await _ask(client, rows[: spec.warmup])
                        client.served.blocks.append(await _ask(client, asked))
                    done += 1
        answered = {client.served.variant: client.runner.session.answered for client in clients}
        return ServingResult(
            spec=spec,
            served=[client.served for client in clients],
            models={name: list(found.values()) for name, found in answered.items()},
            memory={name: await self._memory(list(found)) for name, found in answered.items()},
            distinct=needed + spec.warmup <= len(rows),
        )

    def _block_rows(self, concurrency: int) -> int:
        return max(ceil(self._spec.rows / ROUNDS), FEWEST_WAVES * concurrency)

    def _rows(self, most: int) -> list[BoundRow]:
        """Return up to so many rows that can be asked."""
        binder, found = Binder(self._suite), []
        for index, row in enumerate(self._suite.data.rows()):
            bound = binder.bind(row, index)
            if not bound.problems:
                found.append(bound)
            if len(found) == most:
                break
        if not found:
            raise InputError("serving cannot be measured: no row can be asked")
        return found

    async def _opened(self, variant: Variant, place: int, concurrency: int) -> _Client:
        requests: list[ServedRequest] = []
        clients = ServingClients(self._models, concurrency, requests.append)
        runner = Runner(variant.pipeline, models=clients, settings=self._settings, model=variant.model)
        await runner.open()
        return _Client(Served(variant=variant.name, concurrency=concurrency), place, runner, requests)

    async def _memory(self, names: Sequence[str | None]) -> Memory | None:
        """Return the memory of models together, None where that of one is not known."""
        found = [await (await self._models.get(name)).runtime.memory() for name in names]
        known = [memory for memory in found if memory is not None]
        if not known or len(known) < len(found):
            return None
        gpu = [memory.gpu for memory in known if memory.gpu is not None]
        return Memory(
            sum(memory.size for memory in known),
            "; ".join(dict.fromkeys(memory.source for memory in known)),
            sum(gpu) if len(gpu) == len(known) else None,
        )


async def _ask(client: _Client, rows: Sequence[BoundRow]) -> Block:
    """Ask rows, as many concurrently as the concurrency says, and return their measurements."""
    client.requests.clear()
    waiting = iter(rows)
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(_ask_in_turn(client, waiting)) for _ in range(client.served.concurrency)]
    asked = [worker.result() for worker in workers]
    return Block(
        rows=[row for of_worker in asked for row in of_worker],
        requests=list(client.requests),
        elapsed=max(sum(row.seconds for row in of_worker) for of_worker in asked),
    )


async def _ask_in_turn(client: _Client, waiting: Iterator[BoundRow]) -> list[ServedRow]:
    asked = []
    for row in waiting:
        began = perf_counter()
        result = await client.runner.run(row.inputs[client.place])
        asked.append(ServedRow(max(perf_counter() - began, _longest_request(result)), _failure(result)))
    return asked


def _longest_request(result: Result) -> float:
    """Return the seconds of the longest request of a row: a script may report times that did not pass."""
    return max((call.reply.seconds for node in result.trace.nodes() for call in node.calls), default=0.0)


def _failure(result: Result) -> str:
    """Return the reason why a row failed: a model or the code did. An answer that does not parse was served all the
    same.
    """
    errors: list[Any] = [result.error, *(node.failure for node in result.trace.nodes())]
    failure = next((error for error in errors if isinstance(error, RuntimeFailure | UnexpectedError)), None)
    return "" if failure is None else str(failure.message)
