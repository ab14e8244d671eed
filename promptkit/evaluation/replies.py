"""Replies as an evaluation keeps them: in groups, without waiting, and apart where they were made one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from promptkit.storage import Store

GROUP_SECONDS = 0.1
"""How long replies wait for others at most; they go along with the cells that are saved before."""


class Replies:
    """A cache of replies for `runtimes.Models`; what it holds is written at the end of its block.

    Nobody waits for a reply to be kept: what is waited for is the cell that it belongs to. So a process that is killed
    loses replies of cells that were not finished, and no cell. Replies of an `exact` run are never those that were made
    several at once. Reading raises StoreFailed; that a reply could not be kept shows when its cell is saved.
    """

    def __init__(self, store: Store, *, exact: bool = False) -> None:
        self._store = store
        self._prefix = "exact:" if exact else ""
        self._waiting: dict[str, str] = {}
        self._writing: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.write()

    def cached(self, key: str) -> str | None:
        """Return what was kept under `key`."""
        key = self._prefix + key
        return self._waiting.get(key) or self._writing.get(key) or self._store.cached(key)

    async def keep(self, key: str, value: str) -> None:
        """Keep `value` under `key`, with the next group."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GROUP_SECONDS, self.write)
        self._waiting[self._prefix + key] = value

    def write(self) -> None:
        """Bring on its way what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            self._writing |= waiting
            self._store.keep_all(waiting).add_done_callback(lambda _: self._written(waiting))

    def _written(self, written: Mapping[str, str]) -> None:
        """Let go of what can be found in the store. Called by the store's own thread."""
        for key in written:
            self._writing.pop(key, None)
