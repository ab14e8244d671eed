"""Marks that a reply may hold besides its text: thoughts between marks, and special tokens of chat templates."""

from __future__ import annotations

import re
from typing import Final

_THOUGHTS_END: Final = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_SPECIAL: Final = re.compile(r"<\|[\w-]{1,40}\|>|</?s>|<eoa>|<end_of_turn>", re.IGNORECASE)


def without_marks(text: str) -> str:
    """Return a reply without its marked thoughts and special tokens."""
    return _SPECIAL.sub("", _THOUGHTS_END.split(text)[-1])
