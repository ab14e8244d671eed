"""Model-written Python, run by Monty: an interpreter in a process of its own that has no files, network or clock."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptkit.errors import PromptkitError
from promptkit.tools.failures import Failure, Limits, failure_of
from promptkit.tools.programs import assigned_names
from promptkit.tools.values import NoPlainData, TooMuchData, plain
from promptkit.tools.workers import Worker

if TYPE_CHECKING:
    from pydantic_monty import FunctionSnapshot, SyncSnapshot

Functions = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What a program came to: the value of its last expression as plain data, what it printed, why it failed."""

    value: Any = None
    output: str = ""
    failure: Failure | None = None


async def run_python(
    program: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    functions: Functions | None = None,
    limits: Limits | None = None,
) -> Execution:
    """Run a program over `inputs`, its variables at the start, with `functions` to call. Nothing else is reachable.

    A function may be async (the program calls it without `await`); what it raises is raised in the program, but for
    promptkit's own errors, which end the program and are raised here. Nothing that the program does raises.
    TypeError for inputs that are no data.
    """
    async with session(functions=functions, limits=limits) as opened:
        return await opened.run(program, inputs=inputs)


@asynccontextmanager
async def session(*, functions: Functions | None = None, limits: Limits | None = None) -> AsyncIterator[Session]:
    """Open a sandbox whose state lasts from one program to the next; `limits` are for each program."""
    opened = Session(functions or {}, limits or Limits())
    try:
        yield opened
    finally:
        await opened.close()


class Session:
    """Programs that run one after another over one state. A program that fails leaves the state as it was before it."""

    def __init__(self, functions: Functions, limits: Limits) -> None:
        self._functions = functions
        self._limits = limits
        self._worker = Worker(limits)
        self._ran: list[tuple[Iterable[str], str]] = []

    async def run(self, program: str, *, inputs: Mapping[str, Any] | None = None) -> Execution:
        """Run a program, as `run_python` does, after setting the variables of `inputs`."""
        if (wrong := _unreadable(program, self._limits)) is not None:
            return Execution(failure=wrong)
        printed = _Printed(self._limits.output)
        try:
            value = await self._feed(program, dict(inputs or {}), printed)
        except _Failed as failed:
            await self.close()
            return Execution(output=printed.text, failure=failed.failure)
        self._ran.append((tuple(inputs or ()), program))
        return Execution(value=value, output=printed.text)

    async def variables(self) -> dict[str, Any]:
        """Return the variables that are plain data, in the order they were first set; the others stay inside."""
        found = {}
        names = [name for given, program in self._ran for name in (*given, *assigned_names(program))]
        for name in dict.fromkeys(names):
            read = await self.run(name)
            if read.failure is None:
                found[name] = read.value
        return found

    async def close(self) -> None:
        """Give the worker back. A further program begins with the state after the last one that went well."""
        await self._worker.close()

    async def _feed(self, program: str, inputs: dict[str, Any], printed: _Printed) -> Any:
        from pydantic_monty import MontyComplete, MontyConversionError, MontyError

        limits = self._limits
        try:
            at = await self._worker.start(program, inputs, printed)
            calls = 0
            while not isinstance(at, MontyComplete):
                if calls == limits.calls:
                    raise _Failed(Failure("forbidden", f"the program called out more than {calls:,} times"))
                calls += 1
                at = await self._answer(at)
            return plain(at.output, limits.value)
        except MontyConversionError as error:
            raise TypeError(f"inputs must be plain data: {error}") from None
        except MontyError as error:
            raise _Failed(printed.failure or failure_of(error, limits)) from None
        except NoPlainData as error:
            raise _Failed(Failure("unsupported", str(error))) from None
        except TooMuchData as error:
            raise _Failed(Failure("output", str(error))) from None

    async def _answer(self, at: SyncSnapshot) -> SyncSnapshot:
        """Answer one thing that the program waits for, and let it go on to the next."""
        from pydantic_monty import FunctionSnapshot, NameLookupSnapshot

        turn = self._worker.turn
        if isinstance(at, NameLookupSnapshot):
            if at.variable_name in self._functions:
                return await turn(at.resume, value=_named(at.variable_name))
            return await turn(at.resume)
        if not isinstance(at, FunctionSnapshot):
            raise _Failed(Failure("unsupported", "the program awaits what never comes"))
        if at.is_os_function:
            return await turn(at.resume_not_handled)
        return await turn(at.resume, await self._call(at))

    async def _call(self, at: FunctionSnapshot) -> Any:
        function = self._functions.get(at.function_name)
        if function is None:
            return {"exc_type": "NameError", "message": f"name '{at.function_name}' is not defined"}
        try:
            if inspect.iscoroutinefunction(function):
                return {"return_value": await function(*at.args, **at.kwargs)}
            result, error = await asyncio.to_thread(_outcome, function, at.args, at.kwargs)
            if error is not None:
                raise error
            return {"return_value": await result if inspect.isawaitable(result) else result}
        except (PromptkitError, ExceptionGroup):
            raise
        except Exception as error:
            return {"exception": error}


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Printed:
    """What a program prints, up to a limit; beyond it the program is stopped."""

    def __init__(self, most: int) -> None:
        self.text = ""
        self.failure: Failure | None = None
        self._most = most

    def __call__(self, stream: str, text: str) -> None:
        self.text += text[: self._most + 1 - len(self.text)]
        if len(self.text) > self._most:
            self.text = self.text[: self._most]
            self.failure = Failure("output", f"the program printed more than {self._most:,} characters")
            raise ValueError(self.failure.message)


def _unreadable(program: str, limits: Limits) -> Failure | None:
    if len(program) > limits.program:
        return Failure("syntax", f"the program is longer than {limits.program:,} characters")
    try:
        program.encode()
    except UnicodeEncodeError:
        return Failure("syntax", "the program holds half a character (a lone surrogate)")
    return None


def _outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, Exception | None]:
    """Call a function in a thread; a future cannot carry each exception, such as StopIteration."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error


def _named(name: str) -> Callable[..., Any]:
    """Return a callable by whose name the sandbox calls a function."""

    def function() -> None: ...

    function.__name__ = name
    return function
