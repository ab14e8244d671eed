"""Output streams: results go to stdout, notices and progress to stderr, with colour only in a terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO

from promptkit.errors import Interrupted, PromptkitError
from promptkit.reports.layout import fold
from promptkit.reports.text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPE_WIDTH = 80
"""Characters in a line where no terminal says how many."""

WIDEST_REPORT = 140
"""Characters in a line of a report, however wide the terminal is."""

_results: TextIO | None = None


def result_stream() -> TextIO:
    """Return the stream of results: stdout, also inside `results_alone`."""
    return _results or sys.stdout


@contextmanager
def results_alone() -> Iterator[None]:
    """Keep stdout for results: what tools and other project code print inside the block goes to stderr."""
    global _results
    outer, _results = _results, result_stream()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = outer


def emit(text: str) -> None:
    """Write a result and a line break to stdout, and flush."""
    out = result_stream()
    out.write(text + "\n")
    out.flush()


def emit_folded(text: str) -> None:
    """Write a result for people, folded to the width of a terminal."""
    width = tty_width(result_stream())
    emit(text if width is None else fold(text, width))


def tty_width(stream: TextIO) -> int | None:
    """Return the width of a terminal in characters; None where the stream is not one."""
    try:
        if not stream.isatty():
            return None
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def note(text: str) -> None:
    """Write a notice to stderr, folded to the width of a terminal; elsewhere a line stays a line, to be searched.

    Where stderr is gone or full, the run goes on without it.
    """
    width = tty_width(sys.stderr)
    try:
        print(visible(text) if width is None else fold(visible(text), width), file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def ask_person(question: str) -> bool | None:
    """Ask a yes-or-no question on the terminal, no by default; None where there is no terminal. Raises Interrupted."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    import typer

    # An event loop would handle ctrl-C only after the answer.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise Interrupted("\ninterrupted; nothing was asked") from None
    finally:
        signal.signal(signal.SIGINT, before)


def print_error(error: PromptkitError) -> None:
    """Write an error with all its problems and hints to stderr."""
    note(error_text(error))


def error_text(error: PromptkitError) -> str:
    """Return an error as text that begins with `error:`, except for ctrl-C."""
    return str(error) if isinstance(error, Interrupted) else f"error: {error}"


def print_report(lines: Callable[[int], Iterable[Text]], *, stderr: bool = False) -> None:
    """Print the lines that a report has at a width: as wide as the terminal, in its colours; PIPE_WIDTH elsewhere."""
    console = report_console(stderr=stderr)
    width = min(console.width, WIDEST_REPORT) if console.is_terminal else PIPE_WIDTH
    for line in lines(width):
        console.print(encodable(line, console))


# The drawing characters and signs of figures, and ASCII ones that take their places.
_DRAWN = str.maketrans("─├┤●○│┼┊−×", "-[]*o|+:-x")


def encodable(line: Text, console: Console) -> Text:
    """Return a line with figures in ASCII where the stream's encoding lacks their characters."""
    if console.encoding.startswith("utf") or line.plain.isascii():
        return line
    drawn = line.copy()
    drawn.plain = line.plain.translate(_DRAWN)
    return drawn


def plain_text(lines: Iterable[Text]) -> str:
    """Return the lines of a report without colours."""
    return "\n".join(line.plain.rstrip() for line in lines)


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


def terminal_width(*, stderr: bool = False) -> int:
    """Return the width of stdout's terminal in characters; where it is not a terminal, `COLUMNS` or PIPE_WIDTH."""
    return report_console(stderr=stderr).width


def redraws(console: Console) -> bool:
    """Tell whether lines may be redrawn in place: not in pipes, on dumb terminals, or where `NO_COLOR` is set."""
    return console.is_terminal and not console.is_dumb_terminal and not os.environ.get("NO_COLOR")
