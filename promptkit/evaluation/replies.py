"""Replies as an evaluation keeps them: without waiting, and apart where they were made one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptkit.storage import Store


class Replies:
    """A cache of replies for `runtimes.Models`.

    A reply is on its way to the disk before the cell that it belongs to, which is what is waited for: so keeping one
    waits for nothing. Replies of an `exact` run are never those that were made several at once.
    """

    def __init__(self, store: Store, *, exact: bool = False) -> None:
        self._store = store
        self._prefix = "exact:" if exact else ""

    def cached(self, key: str) -> str | None:
        """Return what was kept under `key`."""
        return self._store.cached(self._prefix + key)

    async def keep(self, key: str, value: str) -> None:
        """Keep `value` under `key`; a failure of the store is told by the cell that is saved next."""
        self._store.keep_soon(self._prefix + key, value)
