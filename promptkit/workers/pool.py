"""The pool of worker processes: functions are called in one, awaited or waited for, and killed when cancelled."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from promptkit.workers.process import Process, WorkFailed

MOST_PROCESSES: Final = os.cpu_count() or 1
"""As many as can compute at once, so that none runs out of time because of the others."""

_threads = ThreadPoolExecutor(MOST_PROCESSES, thread_name_prefix="promptkit-worker")
_idle: list[Process] = []
_lock = threading.Lock()


async def run_in_worker(
    function: Callable[..., Any], *arguments: Any, seconds: float, imports: Sequence[str] = ()
) -> Any:
    """Call a function of a module in a worker process and return its result, which must be JSON.

    `seconds` count from when a process has the request, after it has imported the function's module and `imports`.
    Where the call is cancelled the process is killed. Raises ValueError where the function does, and WorkFailed.
    """
    call = _Call(function, arguments, seconds, imports)
    try:
        return await asyncio.wrap_future(_threads.submit(call.run))
    except asyncio.CancelledError:
        call.cancel()
        raise


def run_in_worker_blocking(
    function: Callable[..., Any], *arguments: Any, seconds: float, imports: Sequence[str] = ()
) -> Any:
    """Call a function in a worker process as `run_in_worker` does, and wait for it; for callers in a thread."""
    return _threads.submit(_Call(function, arguments, seconds, imports).run).result()


class _Call:
    """One call, which may be cancelled from another thread."""

    def __init__(
        self, function: Callable[..., Any], arguments: Sequence[Any], seconds: float, imports: Sequence[str]
    ) -> None:
        self._request = (function, arguments, seconds, imports)
        self._process: Process | None = None
        self._cancelled = False

    def run(self) -> Any:
        process = _take()
        try:
            with _lock:
                if self._cancelled:
                    return None  # nobody waits for it
                self._process = process
            return process.call(*self._request)
        finally:
            with _lock:
                killed = self._cancelled and self._process is not None
                self._process = None
                if not killed and process.is_alive():
                    _idle.append(process)
            if killed:
                process.close()

    def cancel(self) -> None:
        with _lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()


def _take() -> Process:
    """Return a process that waits for a request, or a new one. Raises WorkFailed where none can be started."""
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.is_alive():
                return process
            process.close()
    try:
        return Process()
    except OSError as error:
        raise WorkFailed("error", f"could not be started in a process of its own: {error}") from None


@atexit.register
def _close() -> None:
    while _idle:
        _idle.pop().close()
