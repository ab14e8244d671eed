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
