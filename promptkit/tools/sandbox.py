"""The sandbox of model-written Python: its limits, its failures and its worker processes."""

from __future__ import annotations

import asyncio
import atexit
import builtins
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from promptkit.errors import Unsupported

if TYPE_CHECKING:
    from pydantic_monty import Monty, MontyError, MontySession, SyncSnapshot

FailureKind = Literal[
    "syntax", "exception", "undefined", "time", "memory", "output", "unsupported", "forbidden", "crash"
]

_LONGEST_MESSAGE = 300
_UNSUPPORTED = re.compile(r"The monty syntax parser does not yet support (.*)")
_MISSING_NAME = re.compile(r"name '(.*)' is not defined")
_REFUSED = " is not supported in this environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one program. `seconds` are of its own work: the time of functions that it calls is not counted."""

    seconds: float = 5.0
    memory: int = 64 * 2**20
    program: int = 100_000
    """Characters of the program."""
    output: int = 10_000
    """Characters that it prints."""
    value: int = 200_000
    """Characters and parts of its value."""
    calls: int = 1_000
    """Calls of functions, refused calls and look-ups of undefined names together."""
    recursion: int = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a program has no value. `line` counts from 1, if it is known.

    `syntax`: not Python. `exception`: it raised. `undefined`: it used an undefined name. `time`, `memory`, `output`: it
    exceeded a limit. `unsupported`: Python that the sandbox lacks, or a value that is not plain data. `forbidden`: it
    tried to reach the host, or called too often. `crash`: the interpreter died.
    """

    kind: FailureKind
    message: str
    line: int | None = None


def failure_of(error: MontyError, limits: Limits) -> Failure:
    """Return the failure that an error of the interpreter means."""
    from pydantic_monty import MontyCrashedError, MontyRuntimeError, MontySyntaxError

    line = _line(error) if isinstance(error, MontyRuntimeError | MontySyntaxError) else None
    if isinstance(error, MontySyntaxError):
        return Failure("syntax", _one_line(str(error)), line)
    if isinstance(error, MontyCrashedError):
        return _too_long(limits) if error.timed_out else Failure("crash", _one_line(str(error)))
    return _raised(error.exception(), _one_line(str(error)), line, limits)


def _raised(raised: BaseException, message: str, line: int | None, limits: Limits) -> Failure:
    text = str(raised)
    match raised:
        case TimeoutError() if "time limit exceeded" in text:
            return _too_long(limits)
        case MemoryError():
            return Failure("memory", f"the program needs more than {limits.memory / 2**20:g} MB of memory", line)
        case NotImplementedError() if unsupported := _UNSUPPORTED.match(text):
            return Failure("unsupported", f"{unsupported[1]} cannot be used here", line)
        case NotImplementedError() if "cannot suspend" in text:
            return Failure("unsupported", "a function that asks cannot be handed to a built-in function", line)
        case ModuleNotFoundError():
            return Failure("unsupported", message, line)
        case NameError() if name := _MISSING_NAME.match(text):
            return Failure("unsupported" if hasattr(builtins, name[1]) else "undefined", message, line)
        case PermissionError():
            return Failure("forbidden", message, line)
        case RuntimeError() if text.endswith(_REFUSED):
            return Failure("forbidden", f"{text.removesuffix(_REFUSED)} cannot be used here", line)
    return Failure("exception", message, line)


def _too_long(limits: Limits) -> Failure:
    return Failure("time", f"the program took longer than {limits.seconds:g} seconds")


def _line(error: Any) -> int | None:
    lines = [frame.line for frame in error.traceback() if frame.filename != "<string>"]
    return lines[-1] if lines else None


def _one_line(text: str) -> str:
    text = " ".join(text[: 4 * _LONGEST_MESSAGE].split())
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# A program that waits for a function holds a worker, so there may be as many workers as programs.
_MOST_WORKERS = 4096
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

# No more programs compute concurrently than there are processors, so that none times out because of the others.
_threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="promptkit-python")
# Ending a program does not wait in that queue, so that its worker is free for the next.
_ending = ThreadPoolExecutor(1, thread_name_prefix="promptkit-python-end")
_beginning = threading.Lock()


class Worker:
    """One sandbox in a worker process, with its state after the last program that succeeded.

    Cancelling a task that waits for it ends the process.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._session: MontySession | None = None
        self._process: int | None = None
        self._saved: bytes | None = None
        self._cancelled = False

    async def start(self, program: str, inputs: dict[str, Any], printed: Callable[[str, str], None]) -> SyncSnapshot:
        """Start a program and return its snapshot when it waits or is complete. Raises Unsupported without Monty."""
        try:
            return await self.turn(self._start, _pool(), program, inputs, printed)
        except (ImportError, OSError, RuntimeError) as error:
            message = f"a program cannot be run: {error}"
            raise Unsupported(message, hint="pip install --force-reinstall pydantic-monty") from None

    async def turn(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call a function of the sandbox that may take long, in a thread.

        The package's asynchronous API sometimes aborts the process when the interpreter ends.
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
        """Release the process; end it in the middle of a program. The next program gets the state before that."""
        if not self._cancelled:
            await asyncio.wrap_future(_ending.submit(self._leave))

    def _start(
        self, pool: Monty, program: str, inputs: dict[str, Any], printed: Callable[[str, str], None]
    ) -> SyncSnapshot:
        if self._session is None:
            with _keeping_standard_error():
                self._session = pool.checkout(limits=_limits(self._limits), os_policy=_POLICY).__enter__()
            self._process = self._session.worker_pid
            if self._saved is not None:
                self._session.load_session(self._saved)
        else:
            self._saved = self._session.dump()
        return self._session.feed_start(program, inputs=inputs, print_callback=printed)

    def _leave(self) -> None:
        session, self._session, self._process = self._session, None, None
        if session is not None:
            session.__exit__(None, None, None)


_POLICY: Any = {"datetime": "call_host", "random_start": {"seed": 0}, "sleep": "zero"}


def _limits(limits: Limits) -> Any:
    return {
        "max_feed_duration_secs": limits.seconds,
        "max_memory": limits.memory,
        "max_recursion_depth": limits.recursion,
        "max_suspensions": 2**31,
    }


@contextmanager
def _keeping_standard_error() -> Iterator[None]:
    """Keep processes that start inside the block from writing to standard error, as a worker out of memory does."""
    with _beginning:
        with suppress(OSError):
            os.set_inheritable(2, False)
        try:
            yield
        finally:
            with suppress(OSError):
                os.set_inheritable(2, True)


@cache
def _pool() -> Monty:
    from pydantic_monty import Monty

    pool = Monty(min_processes=0, max_processes=_MOST_WORKERS)
    pool.__enter__()
    atexit.register(pool.__exit__, None, None, None)
    return pool
