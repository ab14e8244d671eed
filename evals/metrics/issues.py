"""Whether the issues that were found are those of the message, judged by the words they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

SHARED = 0.5
"""Two sentences say the same where they share so much of their words, by Dice's coefficient."""


def found(output: Any, expected: Sequence[str]) -> dict[str, Any]:
    """Score the F1 of the issues found: each counts for one expected issue at most, the most alike first."""
    items = [item for item in output if isinstance(item, str)] if isinstance(output, list) else []
    pairs = sorted(
        ((alike(item, issue), place, at) for place, item in enumerate(items) for at, issue in enumerate(expected)),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    taken: dict[int, int] = {}
    for likeness, place, at in pairs:
        if likeness >= SHARED and place not in taken and at not in taken.values():
            taken[place] = at
    of = len(items) + len(expected)
    return {
        "score": 2 * len(taken) / of if of else 1.0,
        "missing": [issue for at, issue in enumerate(expected) if at not in taken.values()],
        "extra": [item for place, item in enumerate(items) if place not in taken],
    }


def alike(one: str, other: str) -> float:
    """Return Dice's coefficient of two sentences' words."""
    a, b = words(one), words(other)
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else float(one == other)


def words(text: str) -> frozenset[str]:
    """Return the words of four letters and more; shorter ones say little."""
    return frozenset(re.findall(r"\w{4,}", text.lower()))
