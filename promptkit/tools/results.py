"""Results of tools as a model and a trace may have them: JSON data of a bounded size without control characters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from promptkit.errors import ToolFailed
from promptkit.project import LIBRARY
from promptkit.prompts.template_loader import render_file
from promptkit.storage.strict_json import json_bytes

LONGEST_RESULT: Final = 20_000
"""Characters of a result that are kept."""
_TEMPLATE: Final = LIBRARY / "templates" / "tools" / "result.j2"
_CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
    "\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)
"""Control characters except tab and line feed, overrides of direction, invisible letters, and halves of characters."""


def bounded_result(result: Any, tool: str) -> Any:
    """Return a tool's result without control characters; one that is too long as a text that is cut, and says so.

    Raises ToolFailed for a result that is not JSON data.
    """
    text = result if isinstance(result, str) else _json_text(result, tool)
    if len(text) > LONGEST_RESULT:
        kept = clean_text(text[:LONGEST_RESULT])
        return tool_message("cut", text=kept, shown=f"{LONGEST_RESULT:,}", characters=f"{len(text):,}")
    try:
        return _cleaned(result)
    except RecursionError:
        raise ToolFailed(f"`{tool}` returned data that is nested too deep") from None


def clean_text(text: str) -> str:
    """Return a text without control characters and characters that are not seen, except tabs and line feeds."""
    return _CONTROL.sub("", text)


def result_text(result: Any) -> str:
    """Return a result as a model reads it."""
    text = result if isinstance(result, str) else _json_text(result, "")
    return text if text.strip() else tool_message("nothing")


def tool_message(found: str, **values: Any) -> str:
    """Return the words to a model on a call without a result, or on a result that is cut."""
    return render_file(_TEMPLATE, {"found": found, **values}).strip()


def _json_text(value: Any, tool: str) -> str:
    try:
        return json_bytes(value).decode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolFailed(f"`{tool}` returned what is not JSON: {error}") from error


def _cleaned(value: Any) -> Any:
    """Return data of a bounded size without control characters in its texts."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_text(name): _cleaned(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return value
