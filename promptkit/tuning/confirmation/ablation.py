"""The contribution of each change: the incumbent against itself with that change taken back, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from promptkit.errors import BudgetSpent
from promptkit.tuning.confirmation.confirm import Difference, measured_gain
from promptkit.tuning.evaluator import partition_valid

if TYPE_CHECKING:
    from promptkit.tuning.evaluator import Evaluator
    from promptkit.tuning.search.screening import Effects
    from promptkit.tuning.search_space.candidate import Candidate, Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one change brought in the metric's own units, by an interval that is no verdict, or by an estimate alone.

    `skipped` says why there is no measurement.
    """

    axis: str
    level: Choice
    difference: Difference | None = None
    estimate: float | None = None
    skipped: str | None = None

    @property
    def value(self) -> float | None:
        """What it brought, measured or else estimated; None where nothing is known."""
        return self.difference.mean if self.difference else self.estimate

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        measured = self.difference
        return {
            "axis": self.axis,
            "level": self.level.name,
            "about": self.level.about,
            "difference": self.value,
            "low": measured.low if measured else None,
            "high": measured.high if measured else None,
            "on": "confirm" if measured else "search" if self.estimate is not None else None,
            "skipped": self.skipped,
        }


async def ablate(field: Evaluator, pick: Candidate, rows: Sequence[int], effects: Effects | None) -> list[Contribution]:
    """Take each change of a pick back by itself and ask it on confirm rows, as far as the budget holds.

    Those that the screen says most of come first; of those that cannot be paid its estimate is told. In order of what
    they brought. Raises SearchFailed and StoreFailed.
    """
    bounds = field.metric.bounds
    assert bounds is not None, "an aim has bounds"
    calls = sum(cell.calls for cell in field.cells(pick, rows))
    ordered = sorted(pick.choices.items(), key=lambda each: -abs(_estimated_effect(effects, *each) or 0.0))
    found = []
    for axis, level in ordered:
        without = pick.taking(axis, None)
        left = field.budget.most - field.budget.spent
        share = _estimated_effect(effects, axis, level)
        estimate = None if share is None else share * (bounds[1] - bounds[0])
        if wrong := partition_valid(field, [without])[1]:
            found.append(
                Contribution(axis=axis, level=level, estimate=estimate, skipped=f"cannot be without: {wrong[0][1]}")
            )
            continue
        lacking = sum(field.cell(without, row) is None for row in rows) / max(1, len(rows)) * calls
        if lacking > left:
            skipped = f"needs about {lacking:.0f} more calls"
            found.append(Contribution(axis=axis, level=level, estimate=estimate, skipped=skipped))
            continue
        try:
            await field.have([without], rows)
        except BudgetSpent:
            skipped = "the budget ended before it was measured"
            found.append(Contribution(axis=axis, level=level, estimate=estimate, skipped=skipped))
        else:
            found.append(Contribution(axis=axis, level=level, difference=measured_gain(field, without, pick, rows)))
    return sorted(found, key=lambda each: inf if each.value is None else -each.value)


def _estimated_effect(effects: Effects | None, axis: str, level: Choice) -> float | None:
    """Return what the screen says that a level brings over the target as written."""
    known = next((each for each in effects.axes if each.name == axis), None) if effects else None
    if effects is None or known is None or not any(effects.added[axis].values()):  # The rows told nothing apart.
        return None
    # A calibrated level is the one that was screened, and its offsets.
    screened = [each for each in known.levels if each.changes and each.changes.items() <= level.changes.items()]
    if not screened:
        return None
    nearest = max(screened, key=lambda each: len(each.changes))
    return effects.of(axis, nearest) - effects.of(axis, known.levels[0])
