"""The tree of promptkit's errors. Each says what is wrong, where, and what to do next.

    PromptkitError                     exit code
    ├── InputError                     2   a file or the command line is wrong; holds all problems found
    ├── Unsupported                    2   a runtime lacks a capability that a request needs
    ├── MissingExtra                   2   an optional package is not installed
    ├── RuntimeFailure                 3   a model or a server failed
    │   ├── ConnectionFailed               nothing answers there, or the connection broke
    │   ├── ServerBusy                     429 or 503; may say when to come back
    │   ├── ServerFailed                   the server reported an error of its own
    │   ├── RequestRefused                 the server refuses this request; a retry does not help
    │   ├── AccessDenied                   key missing or refused
    │   ├── ModelMissing                   the model is missing; the hint is the command that fetches it
    │   ├── ContextOverflow                the prompt does not fit the model's window, or was cut
    │   ├── BadReply                       the reply does not follow the protocol, or broke off
    │   ├── DeadlinePassed                 the overall time limit of one request has passed
    │   ├── ModelLoadFailed                the weights cannot be fetched, read or loaded
    │   └── NotRecorded                    the recording has no answer to this request
    ├── CodeFailed                     3   Python code of the project cannot be loaded, or raised
    │   ├── ToolFailed                     a tool raised, or returned what is not JSON
    │   │   ├── WrongArguments                 the arguments of a call do not fit the tool
    │   │   └── ToolRefused                    the pipeline does not allow the tool
    │   └── TechniqueFailed                a technique of the project raised, or returned no answer
    ├── UnparsedAnswer                 3   a step's answer does not parse and `on_error` is `fail`
    ├── StrictWarning                  3   a step's answer has a warning that `strict` makes an error
    ├── BudgetSpent                    3   the budget of the command is spent
    ├── StoreFailed                    3   the store cannot be read or written
    │   └── DamagedRecord                  a record in it is not one that promptkit writes
    ├── UnexpectedError                3   an unforeseen exception: a defect of promptkit or of the project
    └── Interrupted                  130   ctrl-C

Only an error whose `retry` is true is retried.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path
from types import TracebackType

MOST_COMPARED = 2_000
"""The most names among which the nearest is searched."""
MOST_SHOWN = 100
"""Names that a hint shows where there are more than that."""
MOST_FRAMES = 40
"""Frames of a traceback that are kept, the innermost ones."""

LONGEST_MESSAGE = 400
"""Characters of a foreign exception's message that are kept."""

LONGEST_TRACEBACK = 20_000
"""Characters of a traceback that are kept, the last ones."""

_OURS = ("promptkit", "click", "typer")
# SQLite's names of errors.
_NOT_WRITABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem at a place. Lines and columns count from 1."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class PromptkitError(Exception):
    """The root of the tree. `hint` is a command or an edit that would help."""

    exit_code = 3
    retry = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class InputError(PromptkitError):
    """A file or the command line is wrong. `problems` holds every problem, in file order."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem] | Problem | str, *, hint: str | None = None) -> None:
        if isinstance(problems, str):
            problems = Problem(problems, hint=hint)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Unsupported(PromptkitError):
    """A runtime, or a package that it uses, lacks a capability."""

    exit_code = 2


class MissingExtra(PromptkitError):
    """An optional package is missing; the hint is the command that installs it."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package", hint=f"pip install 'promptkit[{extra}]'")


class RuntimeFailure(PromptkitError):
    """A model or a server failed."""


class ConnectionFailed(RuntimeFailure):
    """Nothing answers at the address, or the connection broke."""

    retry = True


class ServerBusy(RuntimeFailure):
    """The server is busy. `retry_after` is the seconds to wait, where the server gave them."""

    retry = True

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ServerFailed(RuntimeFailure):
    """The server reported an error of its own. `retry` tells whether a retry can help."""

    def __init__(self, message: str, *, hint: str | None = None, retry: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retry = retry


class RequestRefused(RuntimeFailure):
    """The server refuses this request; a retry does not help."""


class AccessDenied(RuntimeFailure):
    """A key is missing or was refused."""


class ModelMissing(RuntimeFailure):
    """The model is missing; the hint is the command that fetches it."""


class ContextOverflow(RuntimeFailure):
    """The prompt does not fit the model's window, or the server cut it."""


class BadReply(RuntimeFailure):
    """The reply does not follow the protocol, is too large, or broke off."""

    def __init__(self, message: str, *, hint: str | None = None, retry: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retry = retry


class DeadlinePassed(RuntimeFailure):
    """The overall time limit of one request, retries included, has passed."""


class ModelLoadFailed(RuntimeFailure):
    """Weights cannot be fetched, read or loaded."""


class NotRecorded(RuntimeFailure):
    """The recording has no answer to this request. The message shows how the nearest recorded one differs."""


class CodeFailed(PromptkitError):
    """Python code of the project, or of a module that it may run, cannot be loaded, or raised."""


class ToolFailed(CodeFailed):
    """A tool raised, or returned what is not JSON."""


class WrongArguments(ToolFailed):
    """The arguments of a call do not fit the tool's parameters."""


class ToolRefused(ToolFailed):
    """The pipeline's `allow:` does not let a tool with effects be called."""


class TechniqueFailed(CodeFailed):
    """The function of a technique that is not shipped raised, or returned a value of a wrong type."""


class UnparsedAnswer(PromptkitError):
    """A step's answer does not parse and its `on_error` is `fail`."""


class StrictWarning(PromptkitError):
    """A step's answer has a warning that its `strict`, or `--strict-on`, makes an error."""


class BudgetSpent(PromptkitError):
    """The budget of the command is spent before it is done."""


class StoreFailed(PromptkitError):
    """The store cannot be read or written; the message names the path."""

    @property
    def read_only(self) -> bool:
        """True where the cause is missing permission to write."""
        cause = self.__cause__
        if isinstance(cause, OSError):
            return cause.errno in (EACCES, EPERM, EROFS)
        return getattr(cause, "sqlite_errorname", "").startswith(_NOT_WRITABLE)

    @property
    def disk_full(self) -> bool:
        """True where the cause is a disk without space."""
        cause = self.__cause__
        if isinstance(cause, OSError):
            return cause.errno in (ENOSPC, EDQUOT)
        return getattr(cause, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_IOERR"))


class DamagedRecord(StoreFailed):
    """A record in the store is damaged. `where` is its table and key, `why` the problem."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"the store is damaged: {where}: {why}", hint="promptkit runs repair")
        self.where = where
        self.why = why


class UnexpectedError(PromptkitError):
    """An unforeseen exception. `defect` is its type with its place, `traceback` the text of its traceback."""

    def __init__(self, cause: BaseException) -> None:
        self.defect = f"{type(cause).__name__} at {_origin(cause)}"
        self.traceback = _traceback_text(cause)
        text = _message_of(cause)
        super().__init__(f"unexpected {self.defect}{f': {text}' if text else ''}")


class _CatchingUnexpected:
    """The context manager of `catching_unexpected`, which has no state: one serves all."""

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, PromptkitError) or not isinstance(error, Exception | SystemExit | BaseExceptionGroup):
            return
        cause = first_error(error)
        if isinstance(cause, PromptkitError):
            raise cause from None
        if not isinstance(cause, Exception | SystemExit):
            return
        if isinstance(cause.__cause__, StopIteration):  # a coroutine cannot raise it as itself
            cause = cause.__cause__
        raise UnexpectedError(cause if cause.__traceback__ else cause.with_traceback(error.__traceback__)) from cause


_CATCHING = _CatchingUnexpected()


def catching_unexpected() -> AbstractContextManager[None]:
    """Raise UnexpectedError in place of an exception that is not one of promptkit's, SystemExit included.

    Of a group the first error counts. Ctrl-C and cancellation pass through.
    """
    return _CATCHING


class Interrupted(PromptkitError):
    """Ctrl-C. Finished work is kept."""

    exit_code = 130


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the hint for a misspelt name: the nearest known name, else all known names (None if there are none).

    Of more than MOST_COMPARED names only the first are shown, because each comparison is letter by letter.
    """
    names = sorted(set(known))
    if len(names) > MOST_COMPARED:
        return f"known: {', '.join(names[:MOST_SHOWN])} and {len(names) - MOST_SHOWN:,} more"
    return nearest_match(name, names) or (f"known: {', '.join(names)}" if names else None)


def nearest_match(name: str, known: Iterable[str]) -> str | None:
    """Return the hint for a name that is nearly one of the known ones, else None."""
    close = get_close_matches(name, sorted(set(known)), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def place(path: Path | str | None) -> str | None:
    """Return a path as messages show it: relative to the working folder where that is shorter."""
    if path is None:
        return None
    if ".." in Path(path).parts:
        path = os.path.normpath(path)
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def first_error(error: BaseException) -> BaseException:
    """Return the first error of a group of tasks; the others are its consequence."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


_PACKAGE = Path(__file__).parent
_LIBRARY = str(Path(os.__file__).parent)


def exception_text(error: BaseException, file: Path | None = None) -> str:
    """Return `TYPE: text (FILE:LINE)` for a foreign exception; the line is the last one in `file` that it passed."""
    text = _message_of(error)
    line = None if file is None else _line_in(error, str(file))
    named = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{named} ({place(file)}:{line})" if line else named


def _message_of(error: BaseException) -> str:
    """Return the text of a foreign exception, which may fail to be made, in one line."""
    try:
        text = str(error)
    except BaseException:
        return "its text cannot be made"
    return " ".join(text.split())[:LONGEST_MESSAGE]


def _line_in(error: BaseException, file: str) -> int | None:
    """Return the last line of a file that an error came through, or that cannot be compiled."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if lines:
        return lines[-1]
    return error.lineno if isinstance(error, SyntaxError) and error.filename == file else None


def _origin(error: BaseException) -> str:
    """Return the innermost place in promptkit's own code or in a file of the project: `module.py:LINE`."""
    frames = traceback.extract_tb(error.__traceback__)
    of_project = (frame for frame in reversed(frames) if _is_own(frame.filename))
    frame = next(of_project, frames[-1] if frames else None)
    if frame is None:
        return "an unknown place"
    path = Path(frame.filename)
    shown = path.relative_to(_PACKAGE.parent) if path.is_relative_to(_PACKAGE) else place(path)
    return f"{shown}:{frame.lineno}"


def _is_own(file: str) -> bool:
    """Tell whether a file is neither the standard library's nor an installed package's."""
    if Path(file).is_relative_to(_PACKAGE):
        return True
    return not file.startswith(("<", _LIBRARY)) and "site-packages" not in Path(file).parts


def _traceback_text(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error, limit=-MOST_FRAMES))
    return text[-LONGEST_TRACEBACK:]


def foreign_frame(error: BaseException) -> TracebackType | None:
    """Return the innermost frame of an error, None where that frame is one of ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return None if name.partition(".")[0] in _OURS else trace
