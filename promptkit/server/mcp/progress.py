"""Progress of a run or an evaluation, as notifications to the client that called a tool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from promptkit.engine.session import Event, OnEvent, StepFinished, StepStarted
from promptkit.reports.progress import Progress

Report = Callable[[float, float | None, str | None], Awaitable[None]]
"""Sends what is done, of how much, and a line on it."""

INTERVAL_SECONDS: Final = 0.5


class ReportedProgress(Progress):
    """Counts steps and cells for a client, and keeps the notices, each once. It prints nothing and asks nobody."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.notices: dict[str, None] = {}
        self._report = report
        self._state: tuple[float, float | None, str | None] | None = None
        self._sent: tuple[float, float | None, str | None] | None = None

    @property
    def redraws(self) -> bool:
        return False

    def notice(self, message: str) -> None:
        self.notices[message] = None

    def offer(self, question: str) -> bool:
        return False

    def fetching(self, what: str, done: int, total: int | None) -> None:
        self._state = (done, total, f"fetching {what}")

    def cells_done(self, done: int, total: int) -> None:
        self._state = (done, total, "cells")

    def listener(self, *, prefix: str = "", steps: bool = True) -> OnEvent:
        finished = 0

        def listen(event: Event) -> None:
            nonlocal finished
            if isinstance(event, StepStarted):
                self._state = (finished, None, f"step {prefix}{event.step}")
            elif isinstance(event, StepFinished):
                finished += 1
                self._state = (finished, None, f"step {prefix}{event.step}: {event.result.status}")

        return listen

    @asynccontextmanager
    async def reported(self) -> AsyncIterator[None]:
        """Send each change within the block, at most one in INTERVAL_SECONDS, and the last one at its end."""
        task = asyncio.create_task(self._follow())
        try:
            yield
            await self._send()
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _follow(self) -> None:
        while True:
            await self._send()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _send(self) -> None:
        state = self._state
        if state is not None and state != self._sent:
            self._sent = state
            await self._report(*state)
