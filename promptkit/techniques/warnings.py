"""Warnings: conditions of a reply or an answer that a person should know of, and that reports count.

A warning changes no value. It is told from an answer's `flag`, which says that there is no answer, or not a whole one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

WarningName = Literal[
    "weak_reading",
    "refused",
    "empty_reply",
    "thoughts_cut",
    "thoughts_spent",
    "no_label_shown",
    "outside_labels",
]

WARNING_TEXTS: Final[Mapping[WarningName, str]] = {
    "weak_reading": "read by a weak rule",
    "refused": "refused to answer",
    "empty_reply": "empty reply",
    "thoughts_cut": "thoughts cut off",
    "thoughts_spent": "thoughts used all of their tokens",
    "no_label_shown": "showed none of the labels",
    "outside_labels": "showed only some of the labels",
}
"""Each warning in the words of a report, which puts a count before them: `3 read by a weak rule`."""

assert set(WARNING_TEXTS) == set(get_args(WarningName)), "a text for each warning"


def in_table_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not 0 in the order of the table, after them those of another version's warnings."""
    names = dict.fromkeys([*WARNING_TEXTS, *sorted(counts)])
    return {name: counts[name] for name in names if counts.get(name)}


def warning_text(name: str) -> str:
    """Return a warning in the words of a report; one of another version by its name."""
    texts: Mapping[str, str] = WARNING_TEXTS  # type: ignore[assignment]
    return texts.get(name, name)
