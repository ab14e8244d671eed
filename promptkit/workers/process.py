"""Worker processes that can be killed: the loop that each runs, the parent's handle on it, and the pool of them.

The parent writes pickled messages, each after its length. The process answers each with a line of JSON, which the
parent never unpickles, because the process has read untrusted data.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import importlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, Final, Literal

START_SECONDS: Final = 60.0
"""The time limit for starting a process, and for importing a module in it."""
MEMORY_BYTES: Final = 2**30
"""The address space of a process, beyond four times its message."""
GRACE_SECONDS: Final = 1.0
"""Seconds after its deadline at which a process ends itself, in case its parent has died."""

ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Numerical libraries on one thread: a process has a core, and threads cost small arrays twenty times more."""

_LENGTH_BYTES: Final = 8
_PROGRAM: Final = (
    "import json, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = json.loads(sys.argv[1]); "
    "from promptkit.workers.process import serve; serve()"
)

Reason = Literal["time", "memory", "crash", "error"]


class WorkFailed(Exception):
    """Work without a result. `why` is `time`, `memory`, `crash` or `error`; the message is a predicate."""

    def __init__(self, why: Reason, message: str) -> None:
        super().__init__(message)
        self.why = why


class Process:
    """A worker process, seen from its parent. It serves one request at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)]
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
        )
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._imported: set[str] = set()
        # Only a thread can wait for a pipe with a time limit on every platform.
        self._reader = threading.Thread(target=self._read, name="promptkit-worker-reader", daemon=True)
        self._reader.start()

    def call(
        self, function: Callable[..., Any], arguments: Sequence[Any], seconds: float, imports: Sequence[str]
    ) -> Any:
        """Return a function's result after JSON. The clock starts when the process has read the request.

        Raises ValueError where the function does, and WorkFailed, after which the process has ended.
        """
        modules = [name for name in (function.__module__, *imports) if name not in self._imported]
        if modules:
            self._exchange(_import, (modules,), START_SECONDS)
            self._imported.update(modules)
        return self._exchange(function, arguments, seconds)

    def is_alive(self) -> bool:
        """Tell whether the process can serve a request."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """End the process, from any thread."""
        self._popen.kill()

    def close(self) -> None:
        """End the process and wait until it is gone."""
        self.kill()
        self._popen.wait()
        self._reader.join()
        for stream in (self._popen.stdin, self._popen.stdout):
            assert stream is not None
            with suppress(OSError):  # unflushed data has no reader
                stream.close()

    def _exchange(self, function: Callable[..., Any], arguments: Sequence[Any], seconds: float) -> Any:
        message = pickle.dumps((function, tuple(arguments), seconds), pickle.HIGHEST_PROTOCOL)
        assert self._popen.stdin is not None
        with suppress(OSError):  # a process that has ended answers with an empty line
            self._popen.stdin.write(len(message).to_bytes(_LENGTH_BYTES, "big") + message)
            self._popen.stdin.flush()
        try:
            line = self._answers.get(timeout=seconds)
        except Empty:
            self.close()
            raise WorkFailed("time", f"took longer than {seconds:g} seconds") from None
        if not line:
            self.close()
            raise WorkFailed("crash", "ended the process that it ran in")
        answer = json.loads(line)
        if "value" in answer:
            return answer["value"]
        if answer["error"] == "ValueError":
            raise ValueError(answer["message"])
        # After one refusal memory may be missing everywhere, so the next request gets a new process.
        self.close()
        if answer["error"] == "MemoryError":
            raise WorkFailed("memory", "needed too much memory")
        raise WorkFailed("error", f"failed with {answer['error']}: {answer['message']}")

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._answers.put(line)
        self._answers.put(b"")


def serve() -> None:
    """Answer the requests on standard input until it ends. Runs in the worker process."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    with open(os.devnull, "w") as nowhere:
        while head := requests.read(_LENGTH_BYTES):
            length = int.from_bytes(head, "big")
            _bound_memory(MEMORY_BYTES + 4 * length)
            _answer(requests.read(length), answers, nowhere)


def _answer(message: bytes, answers: BinaryIO, nowhere: Any) -> None:
    function, arguments, seconds = pickle.loads(message)
    # The parent may have died. This clock works while the function holds the interpreter's lock.
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=nowhere)
    try:
        answer = {"value": function(*arguments)}
    except ValueError as error:
        answer = {"error": "ValueError", "message": str(error)}
    except Exception as error:
        answer = {"error": type(error).__name__, "message": " ".join(str(error).split())[:300]}
    finally:
        faulthandler.cancel_dump_traceback_later()
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def _bound_memory(most: int) -> None:
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limit, and macOS may refuse it
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _import(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)


MOST_PROCESSES: Final = os.cpu_count() or 1
"""One for each core, so that none times out because of the others."""

_threads = ThreadPoolExecutor(MOST_PROCESSES, thread_name_prefix="promptkit-worker")
_idle: list[Process] = []
_lock = threading.Lock()


async def run_in_worker(
    function: Callable[..., Any], *arguments: Any, seconds: float, imports: Sequence[str] = ()
) -> Any:
    """Call a function of a module in a worker process and return its result, which must be JSON.

    `seconds` count from when a process has the request, after it has imported the function's module and `imports`.
    Cancelling the call kills the process. Raises ValueError where the function does, and WorkFailed.
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
    """Call a function in a worker process as `run_in_worker` does, and block until it returns."""
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
                    return None  # the caller has left
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
    """Return an idle process, or a new one. Raises WorkFailed where none can be started."""
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
