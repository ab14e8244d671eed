"""The gain of trained weights over the prompt that they were trained for, on the rows of the confirmation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from promptkit.errors import BudgetSpent
from promptkit.tuning.confirmation.confirm import Confirmation, Difference, measured_gain
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.search_space.candidate import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsGain:
    """The difference of the incumbent to its prompt without weights on the confirm rows; None if it was not measured.

    `shown`: the verdict is `improved`, and the interval of this difference lies above 0 too.
    """

    prompt: Candidate
    difference: Difference | None
    shown: bool

    def record(self) -> dict[str, Any]:
        """Return the gain as JSON has it."""
        return {"difference": self.difference.record() if self.difference else None, "shown": self.shown}


async def weights_gain(
    evaluator: Evaluator, prompt: Candidate, incumbent: Candidate, confirmation: Confirmation
) -> WeightsGain:
    """Evaluate the prompt on the rows of a confirmation, and compare the incumbent with it.

    The second hypothesis of a fixed sequence: it is shown only after the first one, the gain over the start, at the
    level of the same look, so that both together keep the error rate of one (Glimm, Maurer & Bretz 2010, Stat. Med.
    29:219, with the same bounds for both). Rows that the budget does not hold leave it unshown. Raises SearchFailed and
    StoreFailed.
    """
    asked = list(confirmation.rows)
    with suppress(BudgetSpent):
        await evaluator.evaluate([prompt], asked)
    known = asked[: evaluator.known_rows(prompt, asked)]
    if not known:
        return WeightsGain(prompt=prompt, difference=None, shown=False)
    rows = evaluator.applicable([prompt, incumbent], known) or known
    found = measured_gain(evaluator, prompt, incumbent, rows, level=confirmation.look_level)
    is_shown = confirmation.outcome == "improved" and len(known) == len(asked) and found.low > 0
    return WeightsGain(prompt=prompt, difference=replace(found, level=confirmation.level), shown=is_shown)
