"""What people look at: safe text, progress lines, the trace tree, comparisons of answers."""

from promptkit.reports.output import emit, error_text, note, print_error
from promptkit.reports.text import json_text, one_line, shown, visible

__all__ = ["emit", "error_text", "json_text", "note", "one_line", "print_error", "shown", "visible"]
