"""The course of a tuning in sentences: its prior and the looks of its confirmation."""

from __future__ import annotations

from collections.abc import Iterator

from promptkit.reports.text import counted
from promptkit.tuning.tune_record import TuneRecord


def prior_texts(record: TuneRecord) -> Iterator[str]:
    """Yield where the search began, if it had a prior."""
    prior = record.prior
    if prior is None or not prior.tunings:
        return
    yield f"prior from {counted(prior.tunings, 'earlier tuning')} on this model (--cold begins without)"
    for parameter, names in prior.moved.items():
        if len(names) == 2:
            yield f"the prior put {parameter}: {names[1]} before {names[0]}"


def looks_text(record: TuneRecord) -> str:
    """Return how far a confirmation in looks went; nothing for one that asked all rows."""
    found, course = record.difference, record.confirmation
    if found is None or course is None or course.looks < 2 or found.n >= course.units:
        return ""
    pairs = f"{found.n} of {course.units} {found.unit}s"
    return f"asked in pairs, ended after {pairs}, at look {course.look} of {course.looks}"
