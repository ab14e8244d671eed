"""Saves finished cells and replies in groups; nothing is counted before it is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from promptkit.evaluation.cells.cell import Cell, cell_record
from promptkit.storage.store import Store

GROUP_SECONDS = 0.25
"""The wait of finished cells for others to share a commit, where nobody waits for them: replies are on disk already."""

MOST_UNSAVED = 1_000
"""Finished cells in memory, after which `room` waits until some are saved."""


class CellSaver:
    """Saves the cells of one run.

    `score_keys` tells apart the scores that are kept for other runs, by the name of their metric; `kept_text` makes
    the text of a cell's score by that name. `on_saved` gets each group of cells, with their numbers, once it is on
    disk.
    """

    def __init__(
        self,
        store: Store,
        run: int,
        score_keys: Mapping[str, str],
        kept_text: Callable[[str, Cell], str],
        on_saved: Callable[[Sequence[Cell]], None],
    ) -> None:
        self._store = store
        self._run = run
        self._score_keys = score_keys
        self._kept_text = kept_text
        self._on_saved = on_saved
        self._finished: list[Cell] = []
        self._dirty, self._drained, self._awaited = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._ending = False
        self._unsaved = 0
        self._saving: asyncio.Task[None] | None = None

    def add(self, cell: Cell) -> None:
        """Take a cell, to be saved with the next group."""
        self._finished.append(cell)
        self._unsaved += 1
        self._dirty.set()

    async def room(self) -> None:
        """Wait while too much is unsaved."""
        await self._until(MOST_UNSAVED)

    async def all_saved(self) -> None:
        """Wait until nothing is unsaved."""
        await self._until(0)

    async def _until(self, most: int) -> None:
        while self._unsaved > most:
            self._awaited.set()
            self._drained.clear()
            await self._drained.wait()

    async def keep_saving(self) -> None:
        """Save group after group until `end`, and then the rest. Raises StoreFailed."""
        while self._finished or not self._ending:
            await self._dirty.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(GROUP_SECONDS):
                    await self._awaited.wait()
            self._dirty.clear()
            self._awaited.clear()
            await self.save()

    def end(self) -> None:
        """Let `keep_saving` end once nothing is left."""
        self._ending = True
        self._dirty.set()
        self._awaited.set()

    async def save(self) -> None:
        """Save the finished cells now, and count them though whoever waits is cancelled. Raises StoreFailed."""
        if self._saving is not None:
            await asyncio.shield(self._saving)
        cells, self._finished = self._finished, []
        if cells:
            self._saving = asyncio.create_task(self._save(cells))
            await asyncio.shield(self._saving)
            self._saving = None

    async def _save(self, cells: Sequence[Cell]) -> None:
        numbers = await self._store.cells.save(self._run, [cell_record(cell) for cell in cells])
        for cell, number in zip(cells, numbers, strict=True):
            cell.number, cell.outcome_text, cell.trace_text = number, None, None
        await self._keep_scores(cells)
        self._on_saved(cells)
        self._unsaved -= len(cells)
        self._drained.set()

    async def _keep_scores(self, cells: Sequence[Cell]) -> None:
        for name, key in self._score_keys.items():
            found = ((cell, cell.scores.get(name)) for cell in cells)
            kept = {
                cell.number: self._kept_text(name, cell)
                for cell, score in found
                if score is not None and not score.is_missing
            }
            if kept:
                await self._store.cells.keep_scores(key, kept)


class ReplyCache:
    """A cache of replies for `runtimes.Models`, written in groups.

    A reply is on disk when `keep` returns, or at the end of the block where nobody waits for it any more. Replies that
    come while a group is written are the next group. An `exact` run never takes replies that were made concurrently.
    Every method raises StoreFailed.
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
        """Return the reply kept under `key`."""
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
        """Begin to write the replies that wait."""
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
