"""What a step did in a cell, by the cell's trace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NUMBER = re.compile(r"\[(\d+)\]$")


def step_nodes(trace: Mapping[str, Any], step: str) -> list[Mapping[str, Any]]:
    """Return the nodes of a trace record that asked for a step: its own, or those of its items in their order."""
    node = next((part for part in trace.get("parts", ()) if part["name"] == step), None)
    if node is None:
        return []
    items = [part for part in node["parts"] if part["kind"] == "item"]
    return sorted(items, key=_place) or [node]


def _place(item: Mapping[str, Any]) -> int:
    found = _NUMBER.search(item["name"])
    return int(found[1]) if found else 0
