"""The two ways out: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys

from promptkit.errors import Interrupted, PromptkitError
from promptkit.reports.text import visible


def emit(text: str) -> None:
    """Write a result and a line break to stdout at once. Leaves quietly when nobody reads any more (`| head`)."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds in its buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def note(text: str) -> None:
    """Write a notice to stderr; where stderr is gone, the run goes on."""
    try:
        print(visible(text), file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def print_error(error: PromptkitError) -> None:
    """Write an error with all its problems and hints to stderr."""
    note(error_text(error))


def error_text(error: PromptkitError) -> str:
    """Return an error as people read it: `error:` before the first line, but for ctrl-C."""
    return str(error) if isinstance(error, Interrupted) else f"error: {error}"
