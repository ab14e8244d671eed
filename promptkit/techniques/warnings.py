"""Warnings: conditions of a reply or an answer that a person should know of, and that reports count.

A warning changes no value. It is told from an answer's `flag`, which says that there is no answer, or not a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

WARNING_TEXTS: Final[Mapping[str, str]] = {
    "weak_reading": "read by a weak rule",
    "refused": "refused to answer",
    "empty_reply": "empty reply",
    "thoughts_cut": "thoughts cut off",
    "thoughts_spent": "thoughts used all of their tokens",
    "no_label_shown": "showed none of the labels",
    "outside_labels": "showed only some of the labels",
    "head_abstained": "left to the prompt by the head",
    "unread_call": "could not read an intermediate reply",
    "cut_call": "cut off an intermediate reply",
    "no_sub_question": "found no sub-question",
    "no_contrast": "made no wrong explanation",
    "no_paraphrase": "kept no paraphrase",
    "no_passage": "found no passage",
    "no_recalled_problem": "recalled no problem",
    "no_step": "found no step",
    "single_step": "wrote a chain of one step",
    "all_pruned": "pruned every path of a search",
    "nothing_filtered": "filtered nothing out",
    "capped": "reached a cap",
    "none_accepted": "had no answer that its verifier accepts",
    "no_consensus": "reached no consensus",
    "tie": "ended in a tie",
    "rows_left_out": "left out rows of a table",
    "program_failed": "had a program that failed",
    "tool_failed": "had a tool that failed",
    "tool_refused": "called a tool that is not allowed",
    "wrong_arguments": "called tools wrongly more than once",
    "no_call": "called no tool where one had to be called",
}
"""Each shipped warning in the words of a report, which puts a count before them: `3 read by a weak rule`. A project's
technique may give names of its own, which stand for themselves.
"""


class TechniqueWarning(str):
    """A warning's name, with the `technique` that gave it. It equals the name alone."""

    __slots__ = ("technique",)
    technique: str

    @classmethod
    def of(cls, technique: str, names: Iterable[str]) -> tuple[TechniqueWarning, ...]:
        """Return names as warnings of a technique; those that have one already keep it."""
        return tuple(name if isinstance(name, cls) else cls._made(technique, name) for name in names)

    @classmethod
    def _made(cls, technique: str, name: str) -> TechniqueWarning:
        made = cls(name)
        made.technique = technique
        return made


def in_table_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not 0 in the order of the table, after them those of other warnings."""
    names = dict.fromkeys([*WARNING_TEXTS, *sorted(counts)])
    return {name: counts[name] for name in names if counts.get(name)}


WarnedBy = Mapping[str, Sequence[str]]
"""The techniques that gave each warning; a warning of a single reply has none."""
MOST_NAMED: Final = 3
"""Techniques that a warning's text names; of more it names none."""


def merged_sources(parts: Iterable[WarnedBy]) -> dict[str, list[str]]:
    """Return the techniques that gave each warning in any of the parts."""
    found: dict[str, dict[str, None]] = {}
    for part in parts:
        for name, techniques in part.items():
            found.setdefault(name, {}).update(dict.fromkeys(techniques))
    return {name: list(techniques) for name, techniques in found.items()}


def warning_text(name: str, warned_by: WarnedBy | None = None) -> str:
    """Return a warning in the words of a report: `least_to_most found no sub-question`.

    A warning of a project, or of another version, is shown by its name.
    """
    text = WARNING_TEXTS.get(name, name.replace("_", " "))
    techniques = (warned_by or {}).get(name, ())
    if not 0 < len(techniques) <= MOST_NAMED:
        return text
    return f"{' and '.join(techniques)}{'' if name in WARNING_TEXTS else ':'} {text}"
