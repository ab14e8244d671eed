"""Between the threads of an optimizer and the event loop on which models are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Stopped(BaseException):
    """The optimizer is to end. DSPy takes an Exception for a wrong answer, counts it as 0 and goes on."""


class Bridge:
    """Runs on the event loop what threads ask for. Make it where the event loop runs.

    The first error ends it, and each thread that asks from then on: `ended` is that error.
    """

    def __init__(self) -> None:
        self.ended: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        # A thread has a context of its own, in which no files are held.
        self._context = copy_context()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: copies of a program ask through one bridge."""
        return self

    def wait(self, ask: Callable[[], Awaitable[T]], *, passing: tuple[type[Exception], ...] = ()) -> T:
        """Return what `ask` gives on the event loop; call it in a thread. Raises Stopped, and errors of `passing`."""
        if self.ended is not None:
            raise Stopped
        future = asyncio.run_coroutine_threadsafe(self._run(ask), self._loop)
        try:
            return future.result()
        except passing:
            raise
        except BaseException as error:
            self.ended = self.ended or error
            raise Stopped from error

    async def end(self, error: BaseException) -> None:
        """End it, cancel what is under way and wait until that is over."""
        self.ended = self.ended or error
        for task in self._tasks:
            task.cancel()
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await ask()

        task = self._loop.create_task(run(), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await task
