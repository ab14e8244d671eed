"""The two ways out: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

from promptkit.errors import Interrupted, PromptkitError
from promptkit.reports.fold import fold
from promptkit.reports.text import visible

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
