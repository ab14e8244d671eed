"""How many requests had to wait for each other: what a technique sends at once has one level in the trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_level: ContextVar[int] = ContextVar("level", default=0)


def begin_levels() -> None:
    """Begin at the first level: a step asks anew."""
    _level.set(0)


def level() -> int:
    """Return the level of the last request that the sender has waited for, 0 before the first."""
    return _level.get()


def next_level() -> int:
    """Return the level of a request that was answered: one above all that its sender had waited for."""
    level = _level.get() + 1
    _level.set(level)
    return level


async def at_once(function: Callable[[Item], Awaitable[Outcome]], items: Iterable[Item]) -> list[Outcome]:
    """Apply an async function to all items at once; the results are in the items' order.

    Where one raises, the others are cancelled. What comes after has waited for the longest of them.
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
