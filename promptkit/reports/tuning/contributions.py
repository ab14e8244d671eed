"""Sentences on the changes of a tuned target: what each brought, which were not measured, which were taken back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from promptkit.evaluation.record import DifferenceRecord
from promptkit.reports.evaluation.figures import difference_parts, difference_unit
from promptkit.reports.text import counted
from promptkit.tuning.tune_record import AblationRecord, TakenBackRecord, TuneRecord

TAKEN_BACK_REASONS: Final[Mapping[str, str]] = {
    "no gain": "it is not expected to bring a point",
    "preferred": "--prefer takes as good a candidate with fewer tokens",
}


def measured_on(change: AblationRecord) -> str:
    """Return the rows that a change's contribution was measured on."""
    return {"confirm": "confirm rows", "search": "search's estimate"}.get(change.on or "", "not measured")


def contribution_notes(record: TuneRecord) -> Iterator[str]:
    """Yield the limits of the contributions: which are estimates, which were not measured and why, and their sum."""
    changes, metric = record.ablation, record.metric.as_metric()
    if any(change.on == "search" and change.low is not None for change in changes):
        yield (
            "search's estimates are fitted to the difference above as if effects added up, which they need not do; "
            "their intervals are at 95 %"
        )
    skipped: dict[str, list[str]] = {}
    for change in changes:
        if change.skipped:
            skipped.setdefault(change.skipped, []).append(change.axis)
    if skipped:
        reasons = (f"{', '.join(names)}: {why}" for why, names in skipped.items())
        yield f"not measured on confirm rows: {'; '.join(reasons)}"
    if len(changes) > 1 and all(change.on == "confirm" for change in changes):
        total = DifferenceRecord(difference=sum(change.difference or 0.0 for change in changes))
        yield f"one by one they bring {difference_parts(metric, total)[0]} in sum; effects do not add up"


def taken_back_texts(record: TuneRecord) -> Iterator[str]:
    """Yield the changes that the search's winner had and the incumbent does without, by the reason."""
    unsent = [_name(change) for change in record.taken_back if change.why == "not sent"]
    if unsent:
        yield f"taken back, as no request shows it: {' · '.join(unsent)}"
    metric = record.metric.as_metric()
    for change in record.taken_back:
        if change.why == "same answers":
            rows = counted(change.rows, "search row")
            yield f"taken back, as all answers on {rows} are the same without it: {_name(change)}"
        if change.why in TAKEN_BACK_REASONS:
            expected = DifferenceRecord(difference=change.difference, low=change.low, high=change.high)
            value, interval = difference_parts(metric, expected)
            parts = " ".join(filter(None, (value, difference_unit(metric, expected), interval)))
            yield (
                f"taken back, as {TAKEN_BACK_REASONS[change.why]}: {_name(change)}, {parts} after "
                f"{counted(change.rows, 'search row')} without it"
            )


def _name(change: TakenBackRecord) -> str:
    return f"{change.axis}: {change.level}"
