"""The course of a tuning in sentences: its prior, what the winner does without, and the looks of its confirmation."""

from __future__ import annotations

from collections.abc import Iterator

from promptkit.reports.text import counted
from promptkit.tuning.tune_record import TuneRecord

_WHY_TAKEN_BACK = {"not sent": "no request shows it", "no gain": "no gain on search rows"}


def prior_texts(record: TuneRecord) -> Iterator[str]:
    """Yield where the search began, if it had a prior."""
    prior = record.prior
    if prior is None or not prior.tunings:
        return
    yield f"prior from {counted(prior.tunings, 'earlier tuning')} on this model (--cold begins without)"
    for parameter, names in prior.moved.items():
        if len(names) == 2:
            yield f"the prior put {parameter}: {names[1]} before {names[0]}"


def taken_back_texts(record: TuneRecord) -> Iterator[str]:
    """Yield the changes of the search's winner that the incumbent does without, by the reason."""
    for why, text in _WHY_TAKEN_BACK.items():
        names = [f"{change.axis}: {change.level}" for change in record.taken_back if change.why == why]
        if names:
            yield f"taken back, {text}: {' · '.join(names)}"


def looks_text(record: TuneRecord) -> str:
    """Return how far a confirmation in looks went; nothing for one that asked all rows."""
    found, course = record.difference, record.confirmation
    if found is None or course is None or course.looks < 2 or found.n >= course.units:
        return ""
    pairs = f"{found.n} of {course.units} {found.unit}s"
    return f"asked in pairs, ended after {pairs}, at look {course.look} of {course.looks}"
