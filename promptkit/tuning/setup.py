"""The state of a tuning run before its first request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from promptkit.runtimes.base import Model
from promptkit.tuning.confirmation.forgetting import KeptSuite
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.reserve import ConfirmationRows
from promptkit.tuning.search_space.demonstration import GeneratedDemos
from promptkit.tuning.search_space.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The state of a tuning run before its first request.

    `step_splits`: the split as each step binds it that has labels of its own. `models` answer the steps. `space_with`
    derives the space again with generated demonstrations. `smallest_gain`: the smallest gain that the confirmation
    could detect, None if it can detect none. `kept`: the suite on which the incumbent is not to lose. `trained_steps`
    are those whose weights may be trained.
    """

    model: Model
    split: DataSplit
    step_splits: Mapping[str, DataSplit]
    space: SearchSpace
    models: Mapping[str, Model]
    space_with: Callable[[GeneratedDemos], SearchSpace]
    smallest_gain: float | None
    kept: KeptSuite | None = None
    trained_steps: tuple[str, ...] = ()

    @property
    def confirmation_rows(self) -> ConfirmationRows:
        """The rows that the confirmation asks: with weights, also of the prompt without them."""
        further = 0 if self.kept is None else len(self.kept.rows)
        candidates = 2 if self.trained_steps else 1
        return ConfirmationRows(pairs=len(self.split.holdout), candidates=candidates, further=further)
