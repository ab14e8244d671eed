"""What people look at: safe text, progress lines, the trace tree, comparisons of answers.

`import promptkit.reports` is cheap; what needs the engine or rich is loaded by the name that uses it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from promptkit.reports.numbers import calls_text, seconds_text, size_text, tokens_text
from promptkit.reports.output import emit, error_text, note, print_error
from promptkit.reports.text import json_text, one_line, shown, visible

if TYPE_CHECKING:
    from promptkit.reports.progress import Progress
    from promptkit.reports.screen import report_console
    from promptkit.reports.trace import trace_text
    from promptkit.reports.words import compare_words, marked

__all__ = [
    "Progress",
    "calls_text",
    "compare_words",
    "emit",
    "error_text",
    "json_text",
    "marked",
    "note",
    "one_line",
    "print_error",
    "report_console",
    "seconds_text",
    "shown",
    "size_text",
    "tokens_text",
    "trace_text",
    "visible",
]

_LAZY = {
    "Progress": "progress",
    "compare_words": "words",
    "marked": "words",
    "report_console": "screen",
    "trace_text": "trace",
}


def __getattr__(name: str) -> object:
    """Import what loads the engine or rich at its first use."""
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
