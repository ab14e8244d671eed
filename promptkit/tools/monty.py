"""Monty, the usual backend of the sandbox: an interpreter in a process of its own without files, network or clock."""

from __future__ import annotations

import asyncio
import atexit
import builtins
import os
import re
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from promptkit.errors import PromptkitError, Unsupported
from promptkit.tools.plain_data import NotPlainData, TooMuchData, plain_data
from promptkit.tools.sandbox import (
    Call,
    Failure,
    Limits,
    Printed,
    ProgramFailed,
    end_in_thread,
    one_line,
    program_threads,
    too_large,
    too_long,
    too_many_calls,
)

if TYPE_CHECKING:
    from pydantic_monty import FunctionSnapshot, Monty, MontyError, SyncSnapshot
    from pydantic_monty import MontySession as Interpreter

_UNSUPPORTED = re.compile(r"The monty syntax parser does not yet support (.*)")
_MISSING_NAME = re.compile(r"name '(.*)' is not defined")
_REFUSED = " is not supported in this environment"

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# A program that waits for a function holds a worker, so there may be as many workers as programs.
_MOST_WORKERS = 4096
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_beginning = threading.Lock()


class MontySession:
    """A session of Monty. `functions` are the names that programs may call."""

    def __init__(self, functions: Collection[str], limits: Limits) -> None:
        self._functions = functions
        self._limits = limits
        self._worker = _Worker(limits)

    async def run(self, program: str, inputs: Mapping[str, Any], printed: Printed, call: Call) -> Any:
        """Run a program, as `Session.run` says."""
        from pydantic_monty import MontyComplete, MontyConversionError, MontyError

        limits = self._limits

        def write(_: str, text: str) -> None:
            try:
                printed.add(text)
            except ValueError:
                self._worker.kill()  # Monty itself goes on until the time limit
                raise

        try:
            at = await self._worker.start(program, dict(inputs), write)
            calls = 0
            while not isinstance(at, MontyComplete):
                if calls == limits.calls:
                    raise ProgramFailed(too_many_calls(limits))
                calls += 1
                at = await self._answer(at, call)
            return plain_data(at.output, limits.value)
        except MontyConversionError as error:
            raise TypeError(f"inputs must be plain data: {error}") from None
        except MontyError as error:
            raise ProgramFailed(printed.failure or _failure_of(error, limits)) from None
        except NotPlainData as error:
            raise ProgramFailed(Failure("unsupported", str(error))) from None
        except TooMuchData as error:
            raise ProgramFailed(Failure("output", str(error))) from None

    async def close(self) -> None:
        """Release the worker."""
        await self._worker.close()

    async def _answer(self, at: SyncSnapshot, call: Call) -> SyncSnapshot:
        """Answer one call or look-up that the program waits for, and let it continue to the next."""
        from pydantic_monty import FunctionSnapshot, NameLookupSnapshot

        turn = self._worker.turn
        if isinstance(at, NameLookupSnapshot):
            if at.variable_name in self._functions:
                return await turn(at.resume, value=_stand_in(at.variable_name))
            return await turn(at.resume)
        if not isinstance(at, FunctionSnapshot):
            raise ProgramFailed(Failure("unsupported", "the program awaits something that never completes"))
        if at.is_os_function:
            return await turn(at.resume_not_handled)
        return await turn(at.resume, await self._call(at, call))

    async def _call(self, at: FunctionSnapshot, call: Call) -> Any:
        if at.function_name not in self._functions:
            return {"exc_type": "NameError", "message": f"name '{at.function_name}' is not defined"}
        try:
            return {"return_value": await call(at.function_name, at.args, at.kwargs)}
        except (PromptkitError, ExceptionGroup):
            raise
        except Exception as error:
            return {"exception": error}


def _stand_in(name: str) -> Callable[..., Any]:
    """Return a callable by whose name the sandbox calls a function."""

    def function() -> None: ...

    function.__name__ = name
    return function


class _Worker:
    """One sandbox in a worker process, with its state after the last program that succeeded.

    Cancelling a task that waits for it ends the process.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._session: Interpreter | None = None
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
        turn = program_threads.submit(partial(function, *args, **kwargs))
        try:
            return await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            self._cancelled = True
            self.kill()
            turn.add_done_callback(lambda _: self._leave())
            raise

    def kill(self) -> None:
        """End the process in the middle of a program, from any thread."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process, _KILL)

    async def close(self) -> None:
        """Release the process; end it in the middle of a program. The next program gets the state before that."""
        if not self._cancelled:
            await end_in_thread(self._leave)

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


def _failure_of(error: MontyError, limits: Limits) -> Failure:
    """Return the failure that an error of the interpreter means."""
    from pydantic_monty import MontyCrashedError, MontyRuntimeError, MontySyntaxError

    line = _line(error) if isinstance(error, MontyRuntimeError | MontySyntaxError) else None
    if isinstance(error, MontySyntaxError):
        return Failure("syntax", one_line(str(error)), line)
    if isinstance(error, MontyCrashedError):
        return too_long(limits) if error.timed_out else Failure("crash", one_line(str(error)))
    return _raised(error.exception(), one_line(str(error)), line, limits)


def _raised(raised: BaseException, message: str, line: int | None, limits: Limits) -> Failure:
    text = str(raised)
    match raised:
        case TimeoutError() if "time limit exceeded" in text:
            return too_long(limits)
        case MemoryError():
            return too_large(limits, line)
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


def _line(error: Any) -> int | None:
    lines = [frame.line for frame in error.traceback() if frame.filename != "<string>"]
    return lines[-1] if lines else None
