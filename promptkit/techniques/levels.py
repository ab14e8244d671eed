"""Levels of requests: the order of those that had to wait for each other, without a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_level: ContextVar[int] = ContextVar("level", default=0)


def reset_level() -> None:
    """Set the level to 0 for a new execution of a step."""
    _level.set(0)


def level() -> int:
    """Return the level of the last request that the current task has waited for, 0 before the first."""
    return _level.get()


def next_level() -> int:
    """Return the level of a request that was answered: one above all that the current task had waited for."""
    current = _level.get() + 1
    _level.set(current)
    return current


async def run_concurrently(function: Callable[[Item], Awaitable[Outcome]], items: Iterable[Item]) -> list[Outcome]:
    """Apply an async function to all items concurrently; the results are in the items' order.

    If one raises, the others are cancelled. Requests that follow are a level above the longest of them.
    """

    async def apply(item: Item) -> tuple[Outcome, int]:
        try:
            return await function(item), _level.get()
        except SystemExit as error:  # raised in a task it would end the event loop, whatever catches it outside
            raise RuntimeError(f"SystemExit: {error}") from error

    tasks = [asyncio.ensure_future(apply(item)) for item in items]
    try:
        done = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    _level.set(max([_level.get(), *(level for _, level in done)]))
    return [outcome for outcome, _ in done]
