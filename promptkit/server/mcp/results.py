"""Results of tools within bounds: what an agent reads costs it tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from promptkit.reports.text import json_text
from promptkit.storage.files import without_paths

MAX_RESULT: Final = 60_000
"""Characters of a result, as text and as JSON."""
_LIMITS: Final = ((20_000, 1_000), (4_000, 200), (1_000, 50), (200, 10))
"""Characters of a text and items of a list that are kept, tried until the result is short enough."""
CUT: Final = "… [cut]"


def bounded_text(text: str, root: Path) -> str:
    """Return a text without the paths of this machine, cut at MAX_RESULT."""
    text = without_paths(text, root)
    return text if len(text) <= MAX_RESULT else f"{text[: MAX_RESULT - len(CUT)]}{CUT}"


def bounded_object(value: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return a JSON object without the paths of this machine, with long texts and lists cut until it is short enough.

    One that stays too long becomes `{"cut": true}`.
    """
    found = _shortened(value, MAX_RESULT, MAX_RESULT, root)
    for characters, items in _LIMITS:
        if len(json_text(found, indent=None)) <= MAX_RESULT:
            break
        found = _shortened(value, characters, items, root)
    return found if len(json_text(found, indent=None)) <= MAX_RESULT else {"cut": True}


def _shortened(value: Any, characters: int, items: int, root: Path) -> Any:
    if isinstance(value, str):
        value = without_paths(value, root)
        return value if len(value) <= characters else f"{value[:characters]}{CUT}"
    if isinstance(value, list | tuple):
        kept = [_shortened(item, characters, items, root) for item in value[:items]]
        return kept if len(value) <= items else [*kept, CUT]
    if isinstance(value, Mapping):
        return {str(key): _shortened(item, characters, items, root) for key, item in value.items()}
    return value
