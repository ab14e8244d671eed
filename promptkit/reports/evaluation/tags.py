"""Short names for variants, where their own would leave no room for numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptkit.reports.cells import cell_width

MOST_OF_WIDTH = 0.3
"""The share of the width above which a name is long."""


def variant_tags(variants: Sequence[Mapping[str, Any]], width: int) -> dict[str, str]:
    """Return what each variant is called in tables: its name, or `#1`, `#2`, … where one is long."""
    names = [str(each["name"]) for each in variants]
    if len(names) == 1 or max(map(cell_width, names)) <= MOST_OF_WIDTH * width:
        return {name: name for name in names}
    return {name: f"#{number}" for number, name in enumerate(names, 1)}
