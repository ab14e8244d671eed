"""The store of a project: answers to requests, runs and their calls, and what `try` remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of anything. `status` is `running` until the run ended; `record` is empty until then."""

    number: int
    kind: str
    target: str
    status: str
    model: Mapping[str, Any]
    inputs: Any
    started: float
    ended: float | None
    record: Mapping[str, Any]


class Store:
    """One SQLite file that several processes may use at once. Use it from any thread.

    A write that returned is on disk in the sense of process death. Every method raises StoreFailed.
    """

    @classmethod
    def open(cls, folder: Path, *, cache_size: int = GIGABYTE) -> Self:
        """Open the store in `folder`, making both where missing; `cache_size` bounds the cached answers in bytes."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cached(self, key: str) -> str | None:
        """Return what was kept under `key`."""
        raise NotImplementedError

    async def keep(self, key: str, value: str) -> None:
        """Keep `value` under `key`; returns once it is on disk."""
        raise NotImplementedError

    def begin_run(self, kind: str, target: str, *, model: Mapping[str, Any], inputs: Any = None) -> int:
        """Begin a run (kind: run, eval, tune) and return its number."""
        raise NotImplementedError

    def end_run(self, run: int, status: str, record: Mapping[str, Any]) -> None:
        """Set how a run ended and what it gave (JSON)."""
        raise NotImplementedError

    async def save_call(self, run: int, call: Mapping[str, Any]) -> None:
        """Add one call (JSON) to a run; returns once it is on disk."""
        raise NotImplementedError

    def calls(self, run: int) -> list[dict[str, Any]]:
        """Return the calls of a run in the order in which they were saved."""
        raise NotImplementedError

    def run(
        self, reference: str, *, kind: str | None = None, target: str | None = None, status: str | None = None
    ) -> Run | None:
        """Return the run that `reference` names: a number, `last` or `last~N` among those that fit the filters.

        Raises InputError for a reference that is none of these.
        """
        raise NotImplementedError

    def runs(self, *, kind: str | None = None, target: str | None = None, limit: int = 50) -> list[Run]:
        """Return the latest runs, newest first."""
        raise NotImplementedError

    def remember(self, target: str, case: str, record: Mapping[str, Any]) -> None:
        """Keep the last result (JSON) of a pinned case of `target`."""
        raise NotImplementedError

    def remembered(self, target: str, case: str) -> dict[str, Any] | None:
        """Return the last result of a pinned case."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what waits and close the file. May be called twice."""
        raise NotImplementedError
