"""Every error that promptkit raises on purpose. Each says what is wrong, where, and what to do next.

    PromptkitError                     exit code
    ├── InputError                     2   a file or the command line is wrong; holds all problems found
    ├── Unsupported                    2   a runtime was asked for what it cannot do
    ├── MissingExtra                   2   an optional package is not installed
    ├── RuntimeFailure                 3   a model or a server failed
    │   ├── ConnectionFailed               nothing answers there, or the connection broke
    │   ├── ServerBusy                     429 or 503; may say when to come back
    │   ├── ServerFailed                   the server reported an error of its own
    │   ├── RequestRefused                 the server will not take this request, however often
    │   ├── AccessDenied                   key missing or refused
    │   ├── ModelMissing                   the model is not there; the hint is the line that fetches it
    │   ├── ContextOverflow                the prompt does not fit the model's window, or was cut
    │   ├── BadReply                       what came back is not the protocol, or broke off
    │   ├── DeadlinePassed                 the overall time for one request is over
    │   ├── ModelLoadFailed                the weights cannot be fetched, read or loaded
    │   └── NotRecorded                    a replay has no answer to this request
    ├── CodeFailed                     3   Python of the project cannot be loaded, or raised
    │   ├── ToolFailed                     a tool raised, or returned what is not JSON
    │   └── TechniqueFailed                a technique of the project's own raised, or returned no answer
    ├── UnparsedAnswer                 3   a step's answer does not parse and `on_error` is `fail`
    ├── BudgetSpent                    3   the requests that a command may make are made
    ├── StoreFailed                    3   the store cannot be read or written
    │   └── DamagedRecord                  a record in it is not what promptkit writes
    ├── UnexpectedError                3   an exception that nothing foresaw: a defect, of promptkit or of the project
    └── Interrupted                  130   ctrl-C

Only an error whose `retry` is true may be tried again by the transport.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from types import TracebackType

MOST_COMPARED = 2_000
"""Among how many names the nearest is looked for."""
MOST_SHOWN = 100
"""How many names a hint shows of more than that."""
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
    """One thing that is wrong in one place. Lines and columns count from 1."""

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
    """A file or the command line is wrong. `problems` holds everything found, in file order."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem] | Problem | str, *, hint: str | None = None) -> None:
        if isinstance(problems, str):
            problems = Problem(problems, hint=hint)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Unsupported(PromptkitError):
    """A runtime, or what is installed with it, cannot do what was asked."""

    exit_code = 2


class MissingExtra(PromptkitError):
    """An optional package is needed; the hint is the line that installs it."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package", hint=f"pip install 'promptkit[{extra}]'")


class RuntimeFailure(PromptkitError):
    """A model or a server failed."""


class ConnectionFailed(RuntimeFailure):
    """Nothing answers at the address, or the connection broke."""

    retry = True


class ServerBusy(RuntimeFailure):
    """The server asks to come back later, after `retry_after` seconds if it said so."""

    retry = True

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ServerFailed(RuntimeFailure):
    """The server reported an error of its own. `retry` tells whether trying again can help."""

    def __init__(self, message: str, *, hint: str | None = None, retry: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retry = retry


class RequestRefused(RuntimeFailure):
    """The server will not take this request, however often it is sent."""


class AccessDenied(RuntimeFailure):
    """A key is missing or was refused."""


class ModelMissing(RuntimeFailure):
    """The model is not there; the hint is the line that fetches it."""


class ContextOverflow(RuntimeFailure):
    """The prompt does not fit the model's window, or the server cut it."""


class BadReply(RuntimeFailure):
    """What came back is not the protocol, is too large, or broke off."""

    def __init__(self, message: str, *, hint: str | None = None, retry: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retry = retry


class DeadlinePassed(RuntimeFailure):
    """The overall time for one request, retries included, is over."""


class ModelLoadFailed(RuntimeFailure):
    """Weights cannot be fetched, read or loaded."""


class NotRecorded(RuntimeFailure):
    """A replay has no answer to this request; the message says how the prompt differs from what was recorded."""


class CodeFailed(PromptkitError):
    """Python of the project, or of a module that it may run, cannot be loaded, or raised."""


class ToolFailed(CodeFailed):
    """A tool raised, or returned what is not JSON."""


class TechniqueFailed(CodeFailed):
    """The function of a technique that is not shipped raised, or returned something else than it must."""


class UnparsedAnswer(PromptkitError):
    """A step's answer does not parse and its `on_error` is `fail`."""


class BudgetSpent(PromptkitError):
    """The requests that a command may make are made, and it would need more."""


class StoreFailed(PromptkitError):
    """The store cannot be read or written; the message names the path. `read_only` where nobody may write there."""

    @property
    def read_only(self) -> bool:
        """Whether the cause is that the place may not be written."""
        cause = self.__cause__
        if isinstance(cause, OSError):
            return cause.errno in (EACCES, EPERM, EROFS)
        return getattr(cause, "sqlite_errorname", "").startswith(_NOT_WRITABLE)


class DamagedRecord(StoreFailed):
    """A record in the store is not what promptkit writes: `where` is its table and key, `why` says what is wrong."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"the store is damaged: {where}: {why}", hint="promptkit runs repair")
        self.where = where
        self.why = why


class UnexpectedError(PromptkitError):
    """An exception that nothing foresaw. `defect` is its type with the place where it arose, `traceback` the text."""

    def __init__(self, cause: BaseException) -> None:
        self.defect = f"{type(cause).__name__} at {_origin(cause)}"
        self.traceback = _traceback_text(cause)
        text = _message_of(cause)
        super().__init__(f"unexpected {self.defect}{f': {text}' if text else ''}")


@contextmanager
def catching_unexpected() -> Iterator[None]:
    """Raise UnexpectedError in place of an exception that is not one of promptkit's, SystemExit included.

    Of a group the first error counts. Ctrl-C and a cancelled task pass.
    """
    try:
        yield
    except PromptkitError:
        raise
    except (Exception, SystemExit, BaseExceptionGroup) as error:
        cause = first_error(error)
        if isinstance(cause, PromptkitError):
            raise cause from None
        if not isinstance(cause, Exception | SystemExit):
            raise
        if isinstance(cause.__cause__, StopIteration):  # as which a coroutine cannot raise it
            cause = cause.__cause__
        raise UnexpectedError(cause if cause.__traceback__ else cause.with_traceback(error.__traceback__)) from cause


class Interrupted(PromptkitError):
    """Ctrl-C. What was finished is kept."""

    exit_code = 130


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the hint for a misspelt name: the nearest known one, else what there is (None if nothing).

    Of very many names the first are shown, and none is looked for: each is compared letter by letter.
    """
    names = sorted(set(known))
    if len(names) > MOST_COMPARED:
        return f"known: {', '.join(names[:MOST_SHOWN])} and {len(names) - MOST_SHOWN:,} more"
    return nearest_match(name, names) or (f"known: {', '.join(names)}" if names else None)


def nearest_match(name: str, known: Iterable[str]) -> str | None:
    """Return the hint for a name that is nearly one of the known ones; None where it is near to none."""
    close = get_close_matches(name, sorted(set(known)), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def place(path: Path | str | None) -> str | None:
    """Return a path as messages show it: relative to the working folder where that is shorter."""
    if path is None:
        return None
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def first_error(error: BaseException) -> BaseException:
    """Return the first of the errors that ended a group of tasks; the others are its consequence."""
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
    own = (frame for frame in reversed(frames) if _is_own(frame.filename))
    frame = next(own, frames[-1] if frames else None)
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
    """Return where code other than ours raised an error: its innermost frame, None where that is one of ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return None if name.partition(".")[0] in _OURS else trace
