"""CPython as a backend of the sandbox: a session of programs in a jailed process.

A jailed process can be neither copied nor changed back. So after a program that fails, and where one needs a module
that is not loaded, the session continues in a new process, in which the programs that succeeded run again. They come to
the same state, because they have no clock, draw the same random numbers, and get the answers that functions gave the
first time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeVar, get_args

from promptkit.errors import PromptkitError
from promptkit.tools.cpython.channel import encoded
from promptkit.tools.cpython.modules import is_loadable
from promptkit.tools.cpython.server_client import JailedProcess, ProcessEnded, TimePassed, start_process
from promptkit.tools.plain_data import NotPlainData, TooMuchData, plain_data
from promptkit.tools.sandbox import (
    Call,
    Failure,
    FailureKind,
    Limits,
    Printed,
    ProgramFailed,
    one_line,
    program_threads,
    too_large,
    too_long,
    too_many_calls,
)

_KINDS: Final[tuple[FailureKind, ...]] = get_args(FailureKind)
_MOST_RESTARTS: Final = 50
_MOST_MODULES: Final = 100
_LONGEST_NAME: Final = 200

Result = TypeVar("Result")


@dataclass(slots=True)
class _Program:
    """A program, its inputs as JSON, the seconds that it may still take, and the messages that answered its calls."""

    text: str
    inputs: str
    seconds: float
    answers: list[bytes] = field(default_factory=list)


class _ModulesMissing(Exception):
    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = names


class CPythonSession:
    """A session of CPython. `functions` are the names that programs may call."""

    def __init__(self, functions: Collection[str], limits: Limits) -> None:
        self._functions = functions
        self._limits = limits
        self._process: JailedProcess | None = None
        self._ran: list[_Program] = []
        self._modules: list[str] = []

    async def run(self, program: str, inputs: Mapping[str, Any], printed: Printed, call: Call) -> Any:
        """Run a program, as `Session.run` says."""
        new = _Program(program, _json(inputs), self._limits.seconds)
        for _ in range(_MOST_RESTARTS):
            try:
                if self._process is None:
                    await self._restart(call)
                value = await self._perform(new, printed, call)
            except _ModulesMissing as missing:
                self._modules += missing.names
                printed.clear()
                await self.close()
                continue
            except BaseException:
                await self.close()
                raise
            self._ran.append(new)
            return value
        raise ProgramFailed(Failure("unsupported", "the program imports too many modules while it runs"))

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        _close(process)

    async def _restart(self, call: Call) -> None:
        """Begin a process, and bring it to the state after the last program that succeeded."""
        self._process = await self._turn(start_process, list(self._modules), self._limits.memory)
        for earlier in self._ran:
            earlier.seconds = self._limits.seconds
            try:
                await self._perform(earlier, Printed(self._limits.output), call)
            except ProgramFailed as failed:
                message = f"the state before the program could not be made again: {failed.failure.message}"
                raise ProgramFailed(Failure("crash", message)) from None

    async def _perform(self, program: _Program, printed: Printed, call: Call) -> Any:
        """Run a program in the process, and answer its calls."""
        assert self._process is not None, "a process has been started"
        request = {
            "program": program.text,
            "inputs": program.inputs,
            "functions": list(self._functions),
            "most": self._limits.value,
            "absent": self._modules,
        }
        message, answered = encoded(request), 0
        while True:
            reply = await self._turn(self._exchange, self._process, program, message, printed)
            if "call" not in reply:
                return self._outcome(reply)
            if answered == self._limits.calls:
                raise ProgramFailed(too_many_calls(self._limits))
            if answered == len(program.answers):
                program.answers.append(await self._answer(reply, call))
            message = program.answers[answered]
            answered += 1

    def _exchange(self, process: JailedProcess, program: _Program, message: bytes, printed: Printed) -> dict[str, Any]:
        """Send a message and return the next one that is not about output; a value in it is plain data."""
        began = time.monotonic()
        try:
            process.send(message, program.seconds)
            while "printed" in (reply := process.receive(began + program.seconds - time.monotonic())):
                printed.add(str(reply["printed"]))
            if "value" in reply:
                reply["value"] = plain_data(reply["value"], self._limits.value)
            return reply
        except TimePassed:
            raise ProgramFailed(too_long(self._limits)) from None
        except ProcessEnded as ended:
            raise ProgramFailed(Failure("crash", str(ended))) from None
        except NotPlainData as error:
            raise ProgramFailed(Failure("unsupported", str(error))) from None
        except TooMuchData as error:
            raise ProgramFailed(Failure("output", str(error))) from None
        except ValueError as error:
            raise ProgramFailed(printed.failure or Failure("crash", str(error))) from None
        finally:
            program.seconds -= time.monotonic() - began

    def _outcome(self, reply: Mapping[str, Any]) -> Any:
        """Return the value in a reply. Raises ProgramFailed for a failure, and for what no jailed process says."""
        match reply:
            case {"value": value}:
                return value
            case {"missing": list(names)} if new := self._new_modules(names):
                raise _ModulesMissing(new)
            case {"failure": {"kind": "memory", "line": int() | None as line}}:
                raise ProgramFailed(too_large(self._limits, line))
            case {"failure": {"kind": str(kind), "message": str(message), "line": int() | None as line}}:
                known: FailureKind = next((name for name in _KINDS if name == kind), "crash")
                raise ProgramFailed(Failure(known, one_line(message), line))
        raise ProgramFailed(Failure("crash", "the program broke its process"))

    def _new_modules(self, names: Sequence[Any]) -> list[str]:
        """Return the first modules among `names` that can be loaded and are not, each once."""
        known = set(self._modules)
        texts = dict.fromkeys(name for name in names if isinstance(name, str) and name not in known)
        return list(islice((name for name in texts if len(name) < _LONGEST_NAME and is_loadable(name)), _MOST_MODULES))

    async def _answer(self, reply: Mapping[str, Any], call: Call) -> bytes:
        """Call a function and return the message for the program."""
        match reply:
            case {"call": str(name), "arguments": list(arguments), "named": dict(named)} if name in self._functions:
                pass
            case _:
                raise ProgramFailed(Failure("crash", "the program broke its process"))
        try:
            result = await call(name, arguments, named)
            return encoded({"result": result})
        except (PromptkitError, ExceptionGroup):
            raise
        except Exception as error:
            return encoded({"error": type(error).__name__, "message": str(error)})

    async def _turn(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function that waits for a process, in a thread. A cancelled task ends the process."""
        process, turn = self._process, program_threads.submit(function, *arguments)
        try:
            return await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            self._process = None
            if process is not None:
                process.end()
            turn.add_done_callback(lambda _: _close(process or _started(turn)))
            raise


def _started(turn: Future[Any]) -> JailedProcess | None:
    """Return the process that a cancelled turn has started."""
    return None if turn.cancelled() or turn.exception() else turn.result()


def _close(process: JailedProcess | None) -> None:
    if process is not None:
        process.close()


def _json(inputs: Mapping[str, Any]) -> str:
    try:
        return json.dumps(inputs)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"inputs must be plain data: {error}") from None
