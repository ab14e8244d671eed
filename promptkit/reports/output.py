"""Output streams: results go to stdout, notices and progress to stderr, with colour only in a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO

from promptkit.errors import Interrupted, PromptkitError
from promptkit.reports.layout import fold
from promptkit.reports.text import visible

if TYPE_CHECKING:
    from rich.console import Console

_results: TextIO | None = None


def result_stream() -> TextIO:
    """Return where results go: stdout, also inside `results_alone`."""
    return _results or sys.stdout


@contextmanager
def results_alone() -> Iterator[None]:
    """Keep stdout for results: what a tool or another function of a person's own prints inside goes to stderr."""
    global _results
    outer, _results = _results, result_stream()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = outer


def emit(text: str) -> None:
    """Write a result and a line break to stdout at once."""
    out = result_stream()
    out.write(text + "\n")
    out.flush()


def emit_folded(text: str) -> None:
    """Write a result for people, in a terminal folded to its width."""
    width = tty_width(result_stream())
    emit(text if width is None else fold(text, width))


def tty_width(stream: TextIO) -> int | None:
    """Return how many characters a line of a terminal holds; None where the stream is not one."""
    try:
        if not stream.isatty():
            return None
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def note(text: str) -> None:
    """Write a notice to stderr, in a terminal folded to its width; where stderr is gone or full, the run goes on.

    Elsewhere a line stays a line, to be searched.
    """
    width = tty_width(sys.stderr)
    try:
        print(visible(text) if width is None else fold(visible(text), width), file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def print_error(error: PromptkitError) -> None:
    """Write an error with all its problems and hints to stderr."""
    note(error_text(error))


def error_text(error: PromptkitError) -> str:
    """Return an error as people read it: `error:` before the first line, but for ctrl-C."""
    return str(error) if isinstance(error, Interrupted) else f"error: {error}"


PIPE_WIDTH = 80
"""Characters in a line where no terminal says how many."""


def terminal_width(*, stderr: bool = False) -> int:
    """Return how many characters a line of stdout's terminal holds; where it is not a terminal, `COLUMNS` or WIDTH."""
    return report_console(stderr=stderr).width


def redraws(console: Console) -> bool:
    """Tell whether lines may be drawn anew in place: not in pipes, on dumb terminals, or where `NO_COLOR` is set."""
    return console.is_terminal and not console.is_dumb_terminal and not os.environ.get("NO_COLOR")


def report_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: no markup, no emoji codes, no highlighting, no wrapping in pipes."""
    from rich.console import Console

    file = None if stderr else result_stream()
    console = Console(
        file=file,
        stderr=stderr,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
        # Rich would leave bold and dim as escapes under NO_COLOR.
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console
