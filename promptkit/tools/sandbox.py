"""The common parts of the backends of the sandbox of model-written Python: limits, failures, output, threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

FailureKind = Literal[
    "syntax", "exception", "undefined", "time", "memory", "output", "unsupported", "forbidden", "crash"
]

_LONGEST_MESSAGE: Final = 300


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
    """Monty's nested calls; CPython has its own limit."""


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


class ProgramFailed(Exception):
    """Ends a program, with the reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def too_long(limits: Limits) -> Failure:
    """Return the failure of a program that took too long."""
    return Failure("time", f"the program took longer than {limits.seconds:g} seconds")


def too_large(limits: Limits, line: int | None = None) -> Failure:
    """Return the failure of a program that needs too much memory."""
    return Failure("memory", f"the program needs more than {limits.memory / 2**20:g} MB of memory", line)


def too_many_calls(limits: Limits) -> Failure:
    """Return the failure of a program that called too often."""
    return Failure("forbidden", f"the program called out more than {limits.calls:,} times")


def one_line(text: str) -> str:
    """Return a message of a program's as one short line."""
    text = " ".join(text[: 4 * _LONGEST_MESSAGE].split())
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"


class Printed:
    """The printed output of a program. Beyond a limit the program is stopped."""

    def __init__(self, most: int) -> None:
        self.text = ""
        self.failure: Failure | None = None
        self._most = most

    def add(self, text: str) -> None:
        """Add a text. Raises ValueError, and keeps the failure, where there is more than may be."""
        self.text += text[: self._most + 1 - len(self.text)]
        if len(self.text) > self._most:
            self.text = self.text[: self._most]
            self.failure = Failure("output", f"the program printed more than {self._most:,} characters")
            raise ValueError(self.failure.message)

    def clear(self) -> None:
        """Forget the output of a program that starts again."""
        self.text = ""


Call = Callable[[str, Sequence[Any], Mapping[str, Any]], Awaitable[Any]]
"""Calls one of a program's functions by its name. Its exceptions are raised in the program, except for promptkit's."""


class Session(Protocol):
    """A backend's interpreter, with the state after the last program that succeeded."""

    async def run(self, program: str, inputs: Mapping[str, Any], printed: Printed, call: Call) -> Any:
        """Run a program and return the value of its last expression as plain data.

        Raises ProgramFailed, after which the session must be closed; TypeError for inputs that are not plain data;
        Unsupported where the backend cannot run; and errors of promptkit that `call` raises.
        """

    async def close(self) -> None:
        """Release the process. A further program starts with the state after the last one that succeeded."""


# No more programs compute concurrently than there are processors, so that none times out because of the others.
program_threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="promptkit-python")
# Ending a program does not wait in that queue, so that its process is free for the next.
_ending = ThreadPoolExecutor(1, thread_name_prefix="promptkit-python-end")


async def end_in_thread(function: Callable[[], None]) -> None:
    """Call a function that ends a program, in the thread for this."""
    await asyncio.wrap_future(_ending.submit(function))
