"""What a suite's measures say of a cell: quick ones at once, slow ones (judges, programs, functions) once for each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from promptkit.evaluation.judges import Judges
from promptkit.evaluation.scoring import Scores, judge_cell, measure_cell, read_kept_score

if TYPE_CHECKING:
    from promptkit.answers import AnswerType
    from promptkit.evaluation.binding import BoundRow
    from promptkit.evaluation.outcome import Outcome
    from promptkit.evaluation.suite import Measure
    from promptkit.runtimes import Models
    from promptkit.storage import Cells


class Measuring:
    """The measures of a suite but for those of pairs, which are scored when all cells are there.

    `keys` tell apart what slow measures have said, by their names; they are known once `open` has been called.
    """

    def __init__(self, measures: Sequence[Measure], models: Models, cells: Cells) -> None:
        self.keys: dict[str, str] = {}
        self._models = models
        self._judges = Judges(models)
        self._cells = cells
        self._quick = [(at, each) for at, each in enumerate(measures) if not _is_slow(each)]
        self._slow = [(at, each) for at, each in enumerate(measures) if _is_slow(each) and not each.metric.pairs]

    @property
    def has_slow(self) -> bool:
        return bool(self._slow)

    async def open(self) -> None:
        """Open the models that judge. Raises what their absence raises."""
        for _, measure in self._slow:
            judge = await (await self._models.get(measure.metric.model)).model() if measure.metric.asks else None
            self.keys[measure.name] = f"{measure.key} {judge.digest}" if judge else measure.key

    def quick(self, outcome: Outcome, row: BoundRow, answer: AnswerType | None) -> Scores:
        """Return what the quick measures say of an answer; nothing of a missing one."""
        if outcome.flag == "error":
            return {}
        return {
            measure.name: measure_cell(measure, outcome, row.row.fields, row.expected[at], answer)
            for at, measure in self._quick
        }

    async def slow(self, outcome: Outcome, row: BoundRow, answer: AnswerType | None, known: Scores) -> Scores:
        """Return what the slow measures say; what is `known` is not made again. Raises StoreFailed and BudgetSpent."""
        found: Scores = {}
        for at, measure in self._slow:
            given = (measure, outcome, row.row.fields, row.expected[at], answer)
            if measure.name in known:
                found[measure.name] = known[measure.name]
            elif measure.metric.asks:
                found[measure.name] = await self._judges.score(partial(judge_cell, *given))
            else:
                found[measure.name] = await asyncio.to_thread(measure_cell, *given)
        return found

    def of_slow(self, scores: Scores) -> Scores:
        """Return those of a cell's scores that slow measures gave."""
        return {name: score for name, score in scores.items() if name in self.keys}

    def kept(self, numbers: Sequence[int]) -> dict[int, dict[str, str | None]]:
        """Return what slow measures have said of kept cells, as the store has it, by the cells' numbers."""
        found: dict[int, dict[str, str | None]] = {}
        for name, key in self.keys.items() if numbers else ():
            for number, text in self._cells.kept_scores(numbers, key).items():
                found.setdefault(number, {})[name] = text
        return found

    def kept_of(self, row: BoundRow, number: int, texts: Mapping[str, str | None]) -> Scores:
        """Return the scores that the store kept of a cell, as far as they were made for this very row.

        Damaged ones are left out, and made again.
        """
        found: Scores = {}
        for _, measure in self._slow:
            if measure.name in texts:
                where = f"scores of cell {number} by `{measure.name}`"
                with self._cells.damage.skipping():
                    score = read_kept_score(texts[measure.name], measure.metric, row.key, where)
                    found |= {measure.name: score} if score else {}
        return found


def _is_slow(measure: Measure) -> bool:
    return measure.metric.asks or measure.metric.costly or measure.metric.pairs
