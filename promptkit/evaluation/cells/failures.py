"""Failing models: which failures belong to a cell, and when a model or judge is given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from promptkit.errors import (
    BudgetSpent,
    ConnectionFailed,
    PromptkitError,
    RuntimeFailure,
    StoreFailed,
    UnexpectedError,
)
from promptkit.evaluation.cells.cell import REQUEST_FAILURES, Cell
from promptkit.evaluation.cells.progress import EvalProgress
from promptkit.evaluation.cells.saver import CellSaver
from promptkit.evaluation.metrics.base import Clients
from promptkit.evaluation.metrics.score import Score
from promptkit.runtimes.client import Client

MOST_REFUSED = 100
"""Refusals after which the run ends, where nothing was answered yet."""

MOST_FAILURES = 10
"""Failures in a row after which the run ends: a dead server is not asked a thousand times."""


def raise_if_it_ends_the_run(error: PromptkitError | None) -> None:
    """Raise a failure that is not of a cell: of the store, or of a budget that is spent."""
    if isinstance(error, StoreFailed | BudgetSpent):
        raise error


class FailurePolicy:
    """Decides which failures of a model are saved as cells, and when to give up.

    A failure is saved once another cell is answered: with a server that is gone it would mean nothing. A failed
    connection is never saved. A defect always is, but with `gives_up_on_defects` the run ends after MOST_FAILURES of
    them in a row.
    """

    def __init__(self, progress: EvalProgress, saver: CellSaver, *, gives_up_on_defects: bool) -> None:
        self._progress = progress
        self._saver = saver
        self._gives_up_on_defects = gives_up_on_defects
        self._defects = 0
        self._held: list[Cell | None] = []
        self._refused = 0
        self._answers = False

    def take(self, cell: Cell, failure: PromptkitError | None) -> bool:
        """Tell whether a cell is to be scored and saved now, by its failure (None: it has none). Hold back others."""
        if isinstance(failure, UnexpectedError):
            self._defects += 1
            if self._gives_up_on_defects and self._defects >= MOST_FAILURES:
                self._give_up(failure)
            return True
        if not isinstance(failure, RuntimeFailure):
            self._defects = 0
        if failure is None:
            self._answers = True
            self.release()
        elif isinstance(failure, REQUEST_FAILURES):
            self._refuse(failure)
        elif isinstance(failure, RuntimeFailure):
            self._hold(None if isinstance(failure, ConnectionFailed) else cell, failure)
            return False
        return True

    def release(self) -> None:
        """Save the cells that are held back."""
        held, self._held = self._held, []
        for cell in held:
            if cell is not None:
                self._saver.add(cell)

    def _refuse(self, failure: PromptkitError) -> None:
        """Count a refusal: a model that only refuses is not asked forever."""
        self._refused += 1
        if self._refused >= MOST_REFUSED and not self._answers:
            self._give_up(failure)

    def _hold(self, cell: Cell | None, failure: RuntimeFailure) -> None:
        self._progress.failure = self._progress.failure or str(failure)
        self._progress.broken = self._progress.broken or str(failure)
        if self._progress.gave_up:
            return
        if cell is not None:
            cell.trace_text = None  # kept with no trace
        self._held.append(cell)
        if len(self._held) >= MOST_FAILURES:
            self._held.clear()
            self._give_up(failure)

    def _give_up(self, failure: PromptkitError) -> None:
        self._progress.failure = self._progress.failure or str(failure)
        self._progress.gave_up = True


class JudgeModels:
    """The models that the metrics of one run ask. Scores that need no model are made whatever has failed."""

    def __init__(self, models: Clients) -> None:
        self._models = models
        self._failures: Counter[str | None] = Counter()

    async def score(self, judge: Callable[[Clients], Awaitable[Score]]) -> Score:
        """Return the score that `judge` makes with these models; a missing one with its reason where they fail."""
        asked = _TrackedModels(self._models, self._failures)
        try:
            score = await judge(asked)
        except RuntimeFailure as failure:
            # A failure of the request itself says nothing about the next one.
            if asked.references and not isinstance(failure, REQUEST_FAILURES):
                self._failures[asked.references[-1]] += 1
            return Score(None, why=failure.message)
        for reference in asked.references:
            self._failures[reference] = 0
        return score


class _TrackedModels:
    """The models as one score asks them: `references` are those that were asked, in order."""

    def __init__(self, models: Clients, failures: Counter[str | None]) -> None:
        self.references: list[str | None] = []
        self._models = models
        self._failures = failures

    async def get(self, reference: str | None = None) -> Client:
        """Return a model. Raises RuntimeFailure for one that has failed too often or is not there."""
        if self._failures[reference] >= MOST_FAILURES:
            raise RuntimeFailure(f"not judged: the judge has failed {MOST_FAILURES} times in a row")
        self.references.append(reference)
        return await self._models.get(reference)
