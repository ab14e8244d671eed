"""The contribution of each change: the incumbent against itself with that change taken back, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from promptkit.errors import BudgetSpent
from promptkit.tuning.confirmation.confirm import Difference, measured_gain
from promptkit.tuning.evaluator import Evaluator, partition_valid
from promptkit.tuning.search.effects import Effects
from promptkit.tuning.search_space.candidate import Candidate, Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """The contribution of one change in the metric's own units, measured or estimated.

    The interval of a measurement is not a verdict. `skipped`: the reason if there is no measurement.
    """

    parameter: str
    choice: Choice
    difference: Difference | None = None
    estimate: float | None = None
    skipped: str | None = None

    @property
    def value(self) -> float | None:
        """The contribution, measured or else estimated; None if unknown."""
        return self.difference.mean if self.difference else self.estimate

    def record(self) -> dict[str, Any]:
        """Return the contribution as JSON has it."""
        measured = self.difference
        return {
            "axis": self.parameter,
            "level": self.choice.name,
            "about": self.choice.about,
            "difference": self.value,
            "low": measured.low if measured else None,
            "high": measured.high if measured else None,
            "on": "confirm" if measured else "search" if self.estimate is not None else None,
            "skipped": self.skipped,
        }


async def ablate(
    evaluator: Evaluator, incumbent: Candidate, rows: Sequence[int], effects: Effects | None
) -> list[Contribution]:
    """Take each change of a candidate back by itself and evaluate that on held-out rows, as far as the budget allows.

    Changes with the largest screened effect come first; what cannot be paid is estimated by screening. Sorted by
    contribution. Raises SearchFailed and StoreFailed.
    """
    bounds = evaluator.metric.bounds
    assert bounds is not None, "an objective has bounds"
    calls = sum(result.calls for result in evaluator.results(incumbent, rows))
    ordered = sorted(incumbent.choices.items(), key=lambda item: -abs(_estimated_effect(effects, *item) or 0.0))
    contributions = []
    for parameter, choice in ordered:
        without = incumbent.with_choice(parameter, None)
        left = evaluator.budget.most - evaluator.budget.spent
        share = _estimated_effect(effects, parameter, choice)
        estimate = None if share is None else share * (bounds[1] - bounds[0])
        if wrong := partition_valid(evaluator, [without])[1]:
            contributions.append(
                Contribution(
                    parameter=parameter,
                    choice=choice,
                    estimate=estimate,
                    skipped=f"not possible without it: {wrong[0][1]}",
                )
            )
            continue
        lacking = sum(evaluator.result(without, row) is None for row in rows) / max(1, len(rows)) * calls
        if lacking > left:
            skipped = f"needs about {lacking:.0f} more calls"
            contributions.append(Contribution(parameter=parameter, choice=choice, estimate=estimate, skipped=skipped))
            continue
        try:
            await evaluator.evaluate([without], rows)
        except BudgetSpent:
            skipped = "the budget ended before it was measured"
            contributions.append(Contribution(parameter=parameter, choice=choice, estimate=estimate, skipped=skipped))
        else:
            contributions.append(
                Contribution(
                    parameter=parameter, choice=choice, difference=measured_gain(evaluator, without, incumbent, rows)
                )
            )
    return sorted(contributions, key=lambda contribution: inf if contribution.value is None else -contribution.value)


def _estimated_effect(effects: Effects | None, name: str, choice: Choice) -> float | None:
    """Return the screened effect of a choice over the target as written."""
    known = next((parameter for parameter in effects.parameters if parameter.name == name), None) if effects else None
    if effects is None or known is None or not any(effects.added[name].values()):  # The rows showed no difference.
        return None
    # A calibrated choice is the screened one plus its offsets.
    screened = [other for other in known.choices if other.changes and other.changes.items() <= choice.changes.items()]
    if not screened:
        return None
    nearest = max(screened, key=lambda other: len(other.changes))
    return effects.of(name, nearest) - effects.of(name, known.choices[0])
