"""One candidate of two that are each the better on other rows: GEPA's system-aware merge (Agrawal et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptkit.prompts import SECTIONS
from promptkit.tuning.candidate import Candidate, Level
from promptkit.tuning.edits import edited, section_source

if TYPE_CHECKING:
    from promptkit.prompts import Prompt
    from promptkit.tuning.field import Field

WORDING = ".wording"


def merge(
    field: Field, rows: Sequence[int], parent: Candidate, first: Candidate, second: Candidate
) -> Candidate | None:
    """Return what has of two candidates whatever either has changed of their parent; nothing is asked.

    Where both have changed the same axis, or the same section of a step's prompt, the one that is better on the rows
    that both were asked says how it is. None unless each is the better on some row, and where the merged one would be
    one of the three.
    """
    import numpy as np

    differences = field.scores(first, rows) - field.scores(second, rows)
    if not ((differences > 0).any() and (differences < 0).any()):
        return None
    better, other = (first, second) if np.nanmean(differences) > 0 else (second, first)
    merged = parent
    for axis in sorted({*parent.choices, *first.choices, *second.choices}):
        before, ours, theirs = (_changes(each, axis) for each in (parent, better, other))
        if axis.endswith(WORDING) and before not in (ours, theirs) and ours != theirs:
            level: Level | None = _wording(field, (parent, better, other), axis)
        else:
            level = (other if ours == before else better).choices.get(axis)
        merged = merged.taking(axis, level)
    return None if merged.key in (parent.key, first.key, second.key) else merged


def _changes(candidate: Candidate, axis: str) -> Mapping[str, Any]:
    level = candidate.choices.get(axis)
    return level.changes if level else {}


def _wording(field: Field, three: tuple[Candidate, Candidate, Candidate], axis: str) -> Level:
    """Return the wording that has of two others, the better first, what each has changed of the parent's."""
    step = axis.removesuffix(WORDING)
    pipelines = [field.variant(each).pipeline for each in three]
    sources = [_sections(pipeline.steps[step].prompt) for pipeline in pipelines]
    changed = _newer(*sources)
    sections = {name: changed.get(name, "") for name in SECTIONS if changed.get(name) != sources[0].get(name)}
    changes = _newer(*(_changes(each, axis) for each in three))
    changes |= edited(pipelines[0], step, sections)
    names = [each.choices[axis].name for each in three[1:]]
    return Level(f"{names[0]} + {names[1]}", changes)


def _sections(prompt: Prompt | None) -> dict[str, str]:
    assert prompt is not None, "only a step that asks has a wording"
    return {name: source for name in SECTIONS if (source := section_source(prompt, name)) is not None}


def _newer(before: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return ours, with what only theirs differ from before in."""
    names = {*ours, *theirs}
    taken = {name: theirs if ours.get(name) == before.get(name) else ours for name in sorted(names)}
    return {name: source[name] for name, source in taken.items() if name in source}
