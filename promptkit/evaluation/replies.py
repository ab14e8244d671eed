"""The cache of replies that an evaluation asks through: kept in groups, apart where they were made one at a time."""

from __future__ import annotations

import asyncio
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from promptkit.storage import Store


class Replies:
    """A cache of replies for `runtimes.Models`.

    A reply is on disk when `keep` returns; where nobody waits for it any more, it is at the end of the block. Replies
    that come while a group is written are the next group. Those of an `exact` run are never those that were made
    several at once. Every method raises StoreFailed.
    """

    def __init__(self, store: Store, *, exact: bool = False) -> None:
        self._store = store
        self._prefix = "exact:" if exact else ""
        self._waiting: dict[str, str] = {}
        self._kept: asyncio.Future[None] | None = None
        self._is_writing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            self._store.keep_all(waiting)

    def cached(self, key: str) -> str | None:
        """Return what was kept under `key`."""
        return self._store.cached(self._prefix + key)

    async def keep(self, key: str, value: str) -> None:
        """Keep `value` under `key`; returns once it is on disk."""
        self._waiting[self._prefix + key] = value
        if self._kept is None:
            self._kept = asyncio.get_running_loop().create_future()
        kept = self._kept
        if not self._is_writing:
            self._write()
        await asyncio.shield(kept)

    def _write(self) -> None:
        """Begin to write what waits."""
        waiting, self._waiting = self._waiting, {}
        kept, self._kept = self._kept, None
        assert kept is not None, "who keeps a reply waits for its group"
        writing = asyncio.wrap_future(self._store.keep_all(waiting))
        self._is_writing = True
        writing.add_done_callback(partial(self._written, kept))

    def _written(self, kept: asyncio.Future[None], writing: asyncio.Future[None]) -> None:
        """Tell those who wait for a group, and begin to write the next."""
        self._is_writing = False
        if (error := writing.exception()) is None:
            kept.set_result(None)
        else:
            kept.set_exception(error)
            kept.exception()  # Perhaps nobody waits any more.
        if self._waiting:
            self._write()
