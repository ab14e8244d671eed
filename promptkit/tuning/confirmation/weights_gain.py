"""The gain of trained weights over the prompt that they were trained for, on the rows of the confirmation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from promptkit.errors import BudgetSpent
from promptkit.tuning.confirmation.confirm import Confirmation, Difference, PairedTest, measured_gain
from promptkit.tuning.confirmation.looks import Looks
from promptkit.tuning.data_split import DataSplit, holdout_units
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
    evaluator: Evaluator, prompt: Candidate, incumbent: Candidate, split: DataSplit, confirmation: Confirmation
) -> WeightsGain:
    """Evaluate the prompt on held-out rows, and compare the incumbent with it.

    The second hypothesis of a fixed sequence: it is tested only after the first one, the gain over the start, is shown,
    from the look on that showed it, with the same bounds; so both together keep the error rate of one (Glimm, Maurer &
    Bretz 2010, Stat. Med. 29:219). Otherwise the rows of the confirmation are compared, which shows nothing. Raises
    SearchFailed and StoreFailed.
    """
    if confirmation.outcome == "improved":
        return await _tested(evaluator, prompt, incumbent, split, confirmation)
    with suppress(BudgetSpent):
        await evaluator.evaluate([prompt], confirmation.rows)
    rows = confirmation.rows[: evaluator.known_rows(prompt, confirmation.rows)]
    if not rows:
        return WeightsGain(prompt=prompt, difference=None, shown=False)
    found = measured_gain(evaluator, prompt, incumbent, rows, level=confirmation.look_level)
    return WeightsGain(prompt=prompt, difference=replace(found, level=confirmation.level), shown=False)


async def _tested(
    evaluator: Evaluator, prompt: Candidate, incumbent: Candidate, split: DataSplit, confirmation: Confirmation
) -> WeightsGain:
    """Test the difference at the looks from that of a confirmation on, until it is shown or hopeless."""
    looks = Looks(confirmation.units, level=confirmation.level)
    units = holdout_units(split)
    test = PairedTest(evaluator, prompt, incumbent, units, looks, split.independent_size, confirmation.ordinal)
    found: Confirmation | None = None
    for look in looks.looks[confirmation.look - 1 :]:
        try:
            await evaluator.evaluate([prompt, incumbent], test.rows_of(look))
        except BudgetSpent:
            if paired := test.paired_units(look):
                found = test.result(looks.broken_off(paired))
            break
        found = test.result(look)
        if found.outcome == "improved" or test.is_hopeless(look, found):
            break
    difference = None if found is None else found.difference
    return WeightsGain(prompt=prompt, difference=difference, shown=found is not None and found.outcome == "improved")
