"""Watches the event loop under hostile tests: none of its callbacks may take more than 100 ms of CPU."""

from __future__ import annotations

import asyncio
import gc
import importlib._bootstrap as bootstrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

LONGEST_SECONDS: Final = 0.1
FUZZED_TIMES: Final = 3
"""A fuzzed file is read and compiled within one callback: it may take so many times as long."""


class LoopWatch:
    """The callbacks of the main thread's event loops that took too much CPU, in `blocking`.

    It is the time of the thread, so other processes do not matter. Imports and collections of garbage do not count:
    they are the cost of a first use, and of the tests before.
    """

    def __init__(self, longest: float = LONGEST_SECONDS) -> None:
        self.blocking: list[str] = []
        self._longest = longest
        self._apart = 0.0
        self._began: float | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch within the block."""
        run, load = asyncio.Handle._run, bootstrap._find_and_load  # type: ignore[attr-defined]

        collects = False

        def watched_run(handle: asyncio.Handle) -> None:
            if not _is_main_thread():
                return run(handle)
            callback = handle._callback  # type: ignore[attr-defined]
            apart, began = self._apart, time.thread_time()
            run(handle)
            seconds = time.thread_time() - began - (self._apart - apart)
            if seconds > self._longest:
                self.blocking.append(f"{seconds:.3f} s of CPU in {getattr(callback, '__self__', callback)!r}")

        def watched_load(*args: Any) -> Any:
            began_here = self._begin()
            try:
                return load(*args)
            finally:
                self._end(began_here)

        def collecting(phase: str, info: Any) -> None:
            nonlocal collects
            if phase == "start":
                collects = self._begin()
            else:
                self._end(collects)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.Handle, "_run", watched_run)
            patch.setattr(bootstrap, "_find_and_load", watched_load)
            gc.callbacks.append(collecting)
            try:
                yield
            finally:
                gc.callbacks.remove(collecting)

    def _begin(self) -> bool:
        """Begin what does not count, and return whether it is not inside of such already."""
        if self._began is not None or not _is_main_thread():
            return False
        self._began = time.thread_time()
        return True

    def _end(self, began_here: bool) -> None:
        if began_here and self._began is not None:
            self._apart += time.thread_time() - self._began
            self._began = None


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@pytest.fixture(autouse=True)
def free_event_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a hostile test, marked `attack`, in which the event loop stood still; what is killed is another process."""
    attack = request.node.get_closest_marker("attack")
    if attack is None or attack.args == ("kill",):
        yield
        return
    longest = LONGEST_SECONDS * (FUZZED_TIMES if attack.args == ("fuzz",) else 1)
    watch = LoopWatch(longest)
    with watch.watching():
        yield
    if watch.blocking:
        callbacks = "\n".join(watch.blocking)
        pytest.fail(f"the event loop stood still for more than {longest * 1000:.0f} ms:\n{callbacks}")
