"""Models as metrics ask them: one that fails again and again is not asked any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from promptkit.errors import RuntimeFailure
from promptkit.evaluation.failures import MOST_FAILURES
from promptkit.evaluation.metrics import Score
from promptkit.evaluation.outcome import OF_THE_REQUEST

if TYPE_CHECKING:
    from promptkit.evaluation.metrics import Askers
    from promptkit.runtimes import Asker


class Judges:
    """The models that the metrics of one run ask. A score for which none is asked is made whatever has failed."""

    def __init__(self, models: Askers) -> None:
        self._models = models
        self._failures: Counter[str | None] = Counter()

    async def score(self, judge: Callable[[Askers], Awaitable[Score]]) -> Score:
        """Return what `judge` says with these models, a missing score with its reason where they fail."""
        asked = _Asked(self._models, self._failures)
        try:
            score = await judge(asked)
        except RuntimeFailure as failure:
            # What a model says of the request itself says nothing of the next one.
            if asked.references and not isinstance(failure, OF_THE_REQUEST):
                self._failures[asked.references[-1]] += 1
            return Score(None, why=failure.message)
        for reference in asked.references:
            self._failures[reference] = 0
        return score


class _Asked:
    """The models as one score asks them: `references` are those that were asked, in order."""

    def __init__(self, models: Askers, failures: Counter[str | None]) -> None:
        self.references: list[str | None] = []
        self._models = models
        self._failures = failures

    async def get(self, reference: str | None = None) -> Asker:
        """Return a model. Raises RuntimeFailure for one that has failed too often, and what its absence raises."""
        if self._failures[reference] >= MOST_FAILURES:
            raise RuntimeFailure(f"not judged: the judge has failed {MOST_FAILURES} times, one after the other")
        self.references.append(reference)
        return await self._models.get(reference)
