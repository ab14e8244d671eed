"""The contribution of each change: the incumbent against itself with that change taken back, on the same rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from promptkit.errors import BudgetSpent
from promptkit.tuning.confirmation.confirm import Difference, measured_gain
from promptkit.tuning.evaluator import Evaluator, partition_valid
from promptkit.tuning.minimal import contribution_interval
from promptkit.tuning.search.contributions import Contributions, paired_lead
from promptkit.tuning.search.effects import PRIOR_SD
from promptkit.tuning.search_space.candidate import Candidate, Choice

NO_CALLS: Final = "the budget has no calls left"
FOR_PROMPT: Final = "the weights are trained for the prompt with it"
"""Why a change was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """The contribution of one change in the metric's own units, measured or estimated.

    Neither interval is a verdict. `estimate`: low, mean and high. `skipped`: the reason if there is no measurement.
    """

    parameter: str
    choice: Choice
    difference: Difference | None = None
    estimate: tuple[float, float, float] | None = None
    skipped: str | None = None

    @property
    def value(self) -> float | None:
        """The contribution, measured or else estimated; None if unknown."""
        if self.difference is not None:
            return self.difference.mean
        return self.estimate[1] if self.estimate is not None else None

    def record(self) -> dict[str, Any]:
        """Return the contribution as JSON has it."""
        measured = self.difference
        low, _, high = self.estimate or (None, None, None)
        return {
            "axis": self.parameter,
            "level": self.choice.name,
            "about": self.choice.about,
            "difference": self.value,
            "low": measured.low if measured else low,
            "high": measured.high if measured else high,
            "on": "confirm" if measured else "search" if self.estimate is not None else None,
            "skipped": self.skipped,
        }


async def ablate(
    evaluator: Evaluator,
    incumbent: Candidate,
    rows: Sequence[int],
    contributions: Contributions,
    *,
    trained: Collection[str] = (),
) -> list[Contribution]:
    """Take each change of a candidate back by itself and evaluate that on held-out rows, as far as the budget allows.

    The changes that are expected to bring most come first. `contributions` is what the search knows of them; the rest
    is estimated from that, the lead over the start on these rows, and what was measured. `trained`: the parameters of
    trained weights; without them alone a candidate that has some is measured, as they fit no other prompt. Sorted by
    contribution. Raises SearchFailed and StoreFailed.
    """
    has_weights = not incumbent.choices.keys().isdisjoint(trained)
    rows = [row for row in rows if evaluator.result(incumbent, row) is not None]
    contributions = _observed(evaluator, contributions, Candidate(), incumbent, contributions.names, rows)
    calls = sum(result.calls for result in evaluator.results(incumbent, rows))
    measured: dict[str, Difference] = {}
    skipped: dict[str, str] = {}
    for parameter in _largest_first(incumbent, contributions):
        without = incumbent.with_choice(parameter, None)
        if has_weights and parameter not in trained:
            skipped[parameter] = FOR_PROMPT
            continue
        if wrong := partition_valid(evaluator, [without])[1]:
            skipped[parameter] = f"not possible without it: {wrong[0][1]}"
            continue
        lacking = sum(evaluator.result(without, row) is None for row in rows) / max(1, len(rows)) * calls
        if not rows or lacking > evaluator.budget.most - evaluator.budget.spent:
            skipped[parameter] = NO_CALLS
            continue
        try:
            await evaluator.evaluate([without], rows)
        except BudgetSpent:
            skipped[parameter] = NO_CALLS
        else:
            measured[parameter] = measured_gain(evaluator, without, incumbent, rows)
            contributions = _observed(evaluator, contributions, without, incumbent, [parameter], rows)
    found = [
        Contribution(
            parameter=parameter,
            choice=choice,
            difference=measured.get(parameter),
            estimate=None if parameter in measured else _estimate(evaluator, contributions, parameter),
            skipped=skipped.get(parameter),
        )
        for parameter, choice in incumbent.choices.items()
    ]
    return sorted(found, key=lambda contribution: inf if contribution.value is None else -contribution.value)


def _largest_first(incumbent: Candidate, contributions: Contributions) -> list[str]:
    return sorted(incumbent.choices, key=lambda name: -contributions.of([name])[0])


def _observed(
    evaluator: Evaluator,
    contributions: Contributions,
    other: Candidate,
    incumbent: Candidate,
    names: Collection[str],
    rows: Sequence[int],
) -> Contributions:
    """Return contributions, updated by the lead over a candidate that lacks some changes; nothing new without rows."""
    lead, variance, pairs = paired_lead(
        evaluator.scores(incumbent, rows), evaluator.scores(other, rows), evaluator.clusters(rows)
    )
    known = [name for name in names if name in contributions.names]
    return contributions.observe(known, lead, variance) if pairs and known else contributions


def _estimate(evaluator: Evaluator, contributions: Contributions, name: str) -> tuple[float, float, float] | None:
    """Return the estimate of a contribution with its interval; None if little more than the prior is known of it."""
    if name not in contributions.names or contributions.of([name])[1] >= PRIOR_SD:
        return None
    return contribution_interval(evaluator, contributions, name)
