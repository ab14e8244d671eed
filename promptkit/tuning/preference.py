"""The preferred trade-off of a tuning run (`--prefer`): the value that the search compares candidates by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray

from promptkit.tuning.evaluator import RowResult
from promptkit.tuning.options import LEAST_INPUTS, PREFERENCES, preference_value
from promptkit.tuning.search.race import EQUAL_MEANS

CHEAP, BALANCED, BEST = PREFERENCES


@dataclass(frozen=True, slots=True)
class Preference:
    """The preferred trade-off, as in `--prefer`: `best`, `balanced`, `cheap`, or a formula."""

    text: str = BEST

    @property
    def is_formula(self) -> bool:
        """True if candidates are compared by a formula and not by the score alone."""
        return self.text not in PREFERENCES

    @property
    def keeps_cheap(self) -> bool:
        """True if the race keeps cheap candidates alive that are not shown to be worse."""
        return self.text in (CHEAP, BALANCED)

    @property
    def equal(self) -> float:
        """The difference of two means within which fewer tokens decide. A formula prices the tokens itself."""
        return 0.0 if self.is_formula else EQUAL_MEANS

    def values(self, scores: NDArray[np.float64], results: Sequence[RowResult | None]) -> NDArray[np.float64]:
        """Return each row's value, higher is better: its score, or what the formula gives for the row.

        `scores` are (rows,), NaN if missing, and so are the values. Raises InputError if the formula gives no number.
        """
        if not self.is_formula:
            return scores
        rows = zip(scores.tolist(), results, strict=True)
        return np.array([self._value(score, result) for score, result in rows], dtype=np.float64)

    def swing(self, results: Sequence[RowResult]) -> float:
        """Return the difference in value of a right and a wrong answer to a row, at the mean costs of these results.

        0 without a formula: then the values are scores, whose spread shows in the rows.
        """
        if not self.is_formula:
            return 0.0
        costs = [_inputs(0.0, result) for result in results] or [LEAST_INPUTS]
        means = {name: sum(inputs[name] for inputs in costs) / len(costs) for name in LEAST_INPUTS}
        right, wrong = (preference_value(self.text, {**means, "score": score}) for score in (1.0, 0.0))
        return abs(right - wrong)

    def _value(self, score: float, result: RowResult | None) -> float:
        if result is None or isnan(score):
            return np.nan
        return preference_value(self.text, _inputs(score, result))


def _inputs(score: float, result: RowResult) -> dict[str, float]:
    """Return the variables of a formula on a row."""
    inputs = {
        "score": score,
        "tokens": result.tokens,
        "latency": result.seconds,
        "unparsed": result.unparsed,
        "calls": result.calls,
    }
    return {name: max(inputs[name], least) for name, least in LEAST_INPUTS.items()}
