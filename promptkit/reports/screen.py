"""The two consoles: reports go to stdout, progress to stderr. Colour only where a terminal shows it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from promptkit.reports.output import result_stream

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80
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
        console.width = WIDTH
    return console
