"""The worker processes that run model-written Python, and the threads that wait for them."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from promptkit.errors import Unsupported
from promptkit.tools.failures import Limits

if TYPE_CHECKING:
    from pydantic_monty import Monty, MontySession

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_MOST_WORKERS = 256
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

# As many programs compute at once as there are processors, so that none runs out of time because of the others.
_threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="promptkit-python")


class Worker:
    """One sandbox in a worker process. Its process is ended where what waits for it is cancelled."""

    def __init__(self) -> None:
        self.session: MontySession | None = None
        self._process: int | None = None
        self._cancelled = False

    async def open(self, limits: Limits) -> MontySession:
        """Take a worker for a fresh sandbox. Raises Unsupported where the interpreter is not installed."""
        try:
            pool = _pool()
        except (ImportError, FileNotFoundError) as error:
            message = f"a program cannot be run: {error}"
            raise Unsupported(message, hint="pip install --force-reinstall pydantic-monty") from None
        return await self.turn(self._enter, pool, limits)

    async def turn(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call a function of the sandbox that takes its time, in a thread.

        The asynchronous form of the package aborts the process, now and then, when the interpreter ends.
        """
        turn = _threads.submit(partial(function, *args, **kwargs))
        try:
            return await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            self._cancelled = True
            if self._process is not None:
                with suppress(ProcessLookupError):
                    os.kill(self._process, _KILL)
            turn.add_done_callback(lambda _: self._leave())
            raise

    async def close(self) -> None:
        """Give the worker back; one in the middle of a program is ended."""
        if not self._cancelled:
            await self.turn(self._leave)

    def _enter(self, pool: Monty, limits: Limits) -> MontySession:
        session = pool.checkout(
            limits={
                "max_feed_duration_secs": limits.seconds,
                "max_memory": limits.memory,
                "max_recursion_depth": limits.recursion,
                "max_suspensions": 2**31,
            },
            os_policy={"datetime": "call_host", "random_start": {"seed": 0}, "sleep": "zero"},
        )
        self.session = session.__enter__()
        self._process = self.session.worker_pid
        return self.session

    def _leave(self) -> None:
        session, self.session, self._process = self.session, None, None
        if session is not None:
            session.__exit__(None, None, None)


@cache
def _pool() -> Monty:
    from pydantic_monty import Monty

    pool = Monty(min_processes=0, max_processes=_MOST_WORKERS)
    pool.__enter__()
    atexit.register(pool.__exit__, None, None, None)
    return pool
