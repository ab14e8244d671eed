"""Edits of a user's YAML that leave the rest of the text as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def append_item(text: str, path: Sequence[str], item: Any, *, file: str) -> str:
    """Return `text` with `item` added to the list at `path`; a missing last key is made. Works in front matter too.

    Raises InputError where the text is not valid or the place holds something else than a list.
    """
    raise NotImplementedError
