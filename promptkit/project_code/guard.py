"""The boundary around project code: whatever it raises becomes an error that names the function and its line."""

from __future__ import annotations

import asyncio
import dis
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from promptkit.errors import PromptkitError, foreign_frame, place


@contextmanager
def guarded(
    failure: Callable[[str], PromptkitError],
    file: Path | None = None,
    *,
    verb: str = "raised",
    passing: tuple[type[BaseException], ...] = (),
) -> Iterator[None]:
    """Turn whatever project code raises inside the block, `sys.exit` among it, into one of our errors.

    `failure` makes the error from `raised TYPE: text (FILE:LINE)`, with `verb` for `raised`; the line is the last one
    in `file`. Errors of the types `passing` stay what they are, and so do ctrl-C, cancelling and closing from outside.
    """
    try:
        yield
    except passing:
        raise
    except BaseException as error:
        if not _is_of_the_code(error):
            raise
        raise failure(f"{verb} {described(error, file)}") from error


def described(error: BaseException, file: Path | None = None) -> str:
    """Return `TYPE: text (FILE:LINE)` for an error of project code, whose own text may fail to be made."""
    try:
        text = str(error)
    except BaseException:
        text = "its text cannot be made"
    line = _line_in(error, file)
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{told} ({place(file)}:{line})" if line else told


def _is_of_the_code(error: BaseException) -> bool:
    """Tell what the code raised from what reaches it from outside: ctrl-C, cancelling, closing, a closed pipe."""
    if isinstance(error, Exception):
        return True
    if isinstance(error, SystemExit):
        return foreign_frame(error) is not None
    if isinstance(error, BaseExceptionGroup):
        return False
    if threading.current_thread() is not threading.main_thread():
        return True  # Signals and cancelling reach the main thread alone.
    if isinstance(error, asyncio.CancelledError):
        task = _current_task()
        return task is None or not task.cancelling()
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return _is_from_raise(error)
    return True


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No event loop runs here.
        return None


def _is_from_raise(error: BaseException) -> bool:
    """Tell whether a `raise` statement raised an error; ctrl-C and closing arrive at any other instruction."""
    last = foreign_frame(error)
    if last is None:
        return False
    return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"


def _line_in(error: BaseException, file: Path | None) -> int | None:
    """Return the last line in a file that an error came through, or that cannot be compiled."""
    if file is None:
        return None
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(file) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
