"""What a program may use, and why it has no value."""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic_monty import MontyError

Kind = Literal["syntax", "exception", "undefined", "time", "memory", "output", "unsupported", "forbidden", "crash"]

_LONGEST_MESSAGE = 300
_UNSUPPORTED = re.compile(r"The monty syntax parser does not yet support (.*)")
_MISSING_NAME = re.compile(r"name '(.*)' is not defined")
_REFUSED = " is not supported in this environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use. `seconds` are of its own work: the time that a function takes is not counted."""

    seconds: float = 5.0
    memory: int = 64 * 2**20
    program: int = 100_000
    """Characters of the program."""
    output: int = 10_000
    """Characters that it prints."""
    value: int = 200_000
    """Characters and parts of its value."""
    calls: int = 1_000
    """Calls of functions, of what the sandbox refuses, and look-ups of undefined names, together."""
    recursion: int = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a program has no value. `line` counts from 1, where one is known.

    `syntax`: no Python. `exception`: it raised. `undefined`: it used a name that nothing defines. `time`, `memory`,
    `output`: a limit. `unsupported`: Python that the sandbox lacks, or a value that is no plain data. `forbidden`:
    it reached for the host, or called too often. `crash`: the interpreter died.
    """

    kind: Kind
    message: str
    line: int | None = None


def failure_of(error: MontyError, limits: Limits) -> Failure:
    """Return which failure an error of the interpreter is."""
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
