"""A run in the store, as reports see it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.scoring import read_scores
from promptkit.evaluation.view import CellView

if TYPE_CHECKING:
    from promptkit.storage import Run, Store


class StoredRun:
    """A `RunView` of a run of the kind `eval`."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self.number = run.number
        self.suite = run.target
        self.status = run.status
        self.started = run.started
        self.ended = run.ended
        self.model: Mapping[str, str] = run.model
        self.record: Mapping[str, Any] = run.record
        self.how: Mapping[str, Any] = run.inputs or {}
        self.settings: Mapping[str, Mapping[str, Any]] = self.how.get("variants", {})
        self.variants: tuple[str, ...] = tuple(self.settings)
        self.metrics: tuple[str, ...] = tuple(self.how.get("metrics", ()))

    def cells(self, variant: str | None = None, *, first: int = 0) -> Iterator[CellView]:
        """Yield the cells in the order of rows, then variants, then repeats; of one variant where it is named.

        `first` is the number of the row to begin with.
        """
        for kept in self._store.cells.of_run(self.number, variant=variant, first=first):
            outcome = json.loads(kept.outcome)
            expect, scores = read_scores(kept.scores)
            yield CellView(
                variant=kept.variant,
                row=kept.row,
                repeat=kept.repeat,
                fields=json.loads(kept.fields),
                expect=expect,
                scores=scores,
                cell=kept.number,
                **outcome,
            )

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        """Return a cell's trace record, None where it has none."""
        kept = self._store.cells.trace(cell)
        return None if kept is None else json.loads(kept)
