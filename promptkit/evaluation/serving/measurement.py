"""Measures serving: each variant at each concurrency, in rounds, so that drift of the machine affects all alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter
from typing import Any, NamedTuple

from promptkit.engine.results import Result
from promptkit.engine.run import Runner
from promptkit.engine.session import RunSettings
from promptkit.errors import InputError, RuntimeFailure, UnexpectedError
from promptkit.evaluation.serving.requests import ServedRequest, ServingClients
from promptkit.evaluation.serving.spec import ServingSpec
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.suite import Suite, Variant
from promptkit.runtimes.base import Memory, Model
from promptkit.runtimes.models import Models

ROUNDS = 5
"""Each round is a measurement of its own, and the intervals are those of so many."""

FEWEST_WAVES = 2
"""The rows of a block are at least this many times its concurrency, so that so many requests are in flight."""


class ServedRow(NamedTuple):
    """A row that was asked: the seconds until its output was there, and why it failed (empty: it did not)."""

    seconds: float
    failure: str = ""


@dataclass(slots=True)
class Block:
    """The rows of one variant at one concurrency in one round, and the requests that they sent.

    `elapsed` is the time of the worker that was busy longest.
    """

    rows: list[ServedRow] = field(default_factory=list)
    requests: list[ServedRequest] = field(default_factory=list)
    elapsed: float = 0.0


@dataclass(slots=True, kw_only=True)
class Served:
    """A variant at one concurrency. `blocks` has one for each round that was measured."""

    variant: Variant
    place: int
    concurrency: int
    blocks: list[Block] = field(default_factory=list)
    runner: Runner | None = None
    current: Block = field(default_factory=Block)

    @property
    def failed(self) -> bool:
        """True once every row of a round failed: further rounds would only wait for the same failure."""
        return bool(self.blocks) and all(row.failure for row in self.blocks[-1].rows)


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
    """Raise InputError where serving cannot be measured: nothing serves a recording. `names` are the models used."""
    if suite.serving is None:
        return
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
        spec, variants = self._spec, self._suite.variants
        served = [
            Served(variant=variant, place=place, concurrency=concurrency)
            for concurrency in spec.concurrency
            for place, variant in enumerate(variants)
        ]
        self._on_progress(0, ROUNDS * len(served))
        sizes = {count: self._block_rows(count) for count in spec.concurrency}
        needed = ROUNDS * sum(sizes.values())
        rows = self._rows(needed + spec.warmup)
        for one in served:
            one.runner = await self._runner(one)
        at, done = spec.warmup, 0
        for number in range(ROUNDS):
            for concurrency in spec.concurrency:
                asked = [rows[(at + step) % len(rows)] for step in range(sizes[concurrency])]
                at += len(asked)
                level = [one for one in served if one.concurrency == concurrency]
                # Another variant is the first in each round.
                for one in (*level[number % len(level) :], *level[: number % len(level)]):
                    if not one.failed:
                        await self._block(one, rows[: spec.warmup])
                        one.blocks.append(await self._block(one, asked))
                    done += 1
                    self._on_progress(done, ROUNDS * len(served))
        models = {one.variant.name: _models_of(one) for one in served}
        return ServingResult(
            spec=spec,
            served=served,
            models=models,
            memory={name: await self._memory(found) for name, found in self._references(served).items()},
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

    async def _runner(self, served: Served) -> Runner:
        clients = ServingClients(
            self._models, served.concurrency, lambda request: served.current.requests.append(request)
        )
        variant = served.variant
        runner = Runner(variant.pipeline, models=clients, settings=self._settings, model=variant.model)
        await runner.open()
        return runner

    async def _block(self, served: Served, rows: Sequence[BoundRow]) -> Block:
        """Ask rows, as many concurrently as the concurrency says, and return their measurements."""
        block = served.current = Block()
        waiting = iter(rows)
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work(served, waiting, block)) for _ in range(served.concurrency)]
        block.elapsed = max(worker.result() for worker in workers)
        return block

    async def _work(self, served: Served, waiting: Iterator[BoundRow], block: Block) -> float:
        """Ask one row after the other and return the time that this took."""
        busy = 0.0
        for row in waiting:
            assert served.runner is not None, "runners are made before the first round"
            began = perf_counter()
            result = await served.runner.run(row.inputs[served.place])
            seconds = max(perf_counter() - began, _longest_request(result))
            block.rows.append(ServedRow(seconds, _failure(result)))
            busy += seconds
        return busy

    def _references(self, served: Sequence[Served]) -> dict[str, list[str | None]]:
        """Return the names of each variant's models, as they are opened."""
        return {one.variant.name: list(one.runner.session.answered if one.runner is not None else ()) for one in served}

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


def _models_of(served: Served) -> list[Model]:
    return [] if served.runner is None else list(served.runner.session.answered.values())


def _longest_request(result: Result) -> float:
    """Return the seconds of the longest request of a row: a script may report times that did not pass."""
    return max((call.reply.seconds for node in result.trace.nodes() for call in node.calls), default=0.0)


def _failure(result: Result) -> str:
    """Return why a row failed: a model or the code did. An answer that does not parse was served all the same."""
    errors: list[Any] = [result.error, *(node.failure for node in result.trace.nodes())]
    failure = next((error for error in errors if isinstance(error, RuntimeFailure | UnexpectedError)), None)
    return "" if failure is None else str(failure.message)
