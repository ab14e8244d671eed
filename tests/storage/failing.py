"""A connection that fails on demand, put in place of `database.connect`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any


class FailingConnection:
    """A connection whose N-th statement fails; with `late` after it was done, as when a process dies on the answer."""

    def __init__(
        self, real: sqlite3.Connection, countdown: list[int], failure: BaseException, *, late: bool = False
    ) -> None:
        self._real = real
        self._countdown = countdown
        self._failure = failure
        self._late = late

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        return self._counted(self._real.execute, arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        return self._counted(self._real.executemany, arguments)

    def _counted(self, statement: Callable[..., sqlite3.Cursor], arguments: tuple[Any, ...]) -> sqlite3.Cursor:
        self._countdown[0] -= 1
        if self._countdown[0] != 0:
            return statement(*arguments)
        if self._late:
            statement(*arguments)
        raise self._failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
