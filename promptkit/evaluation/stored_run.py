"""A run in the store, as reports see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.scoring import read_scores
from promptkit.evaluation.view import CellView
from promptkit.storage import HowShape, OutcomeShape, fitting, read_kept

if TYPE_CHECKING:
    from promptkit.storage import Run, RunCell, Store


class StoredRun:
    """A `RunView` of a run of the kind `eval`. Raises DamagedRecord where it does not say how it was made."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self.number = run.number
        self.suite = run.target
        self.status = run.status
        self.started = run.started
        self.ended = run.ended
        self.model: Mapping[str, str] = run.model
        self.record: Mapping[str, Any] = run.record
        how = run.inputs or {}
        is_evaluation = run.kind == "eval" and how
        self.how: Mapping[str, Any] = fitting(how, HowShape, f"runs {run.number}, `inputs`") if is_evaluation else how
        self.settings: Mapping[str, Mapping[str, Any]] = self.how.get("variants", {})
        self.variants: tuple[str, ...] = tuple(self.settings)
        self.metrics: tuple[str, ...] = tuple(self.how.get("metrics", ()))

    def cells(self, variant: str | None = None, *, first: int = 0) -> Iterator[CellView]:
        """Yield the cells in the order of rows, then variants, then repeats; of one variant where it is named.

        `first` is the number of the row to begin with. Damaged cells are left out.
        """
        for kept in self._store.cells.of_run(self.number, variant=variant, first=first):
            with self._store.damage.skipping():
                view = _cell_view(kept)
                yield view

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        """Return a cell's trace record, None where it has none or a damaged one."""
        return self._store.cells.trace_record(cell)


def _cell_view(kept: RunCell) -> CellView:
    expect, scores = read_scores(kept)
    where = f"data_rows of row {kept.row} of a run"
    return CellView(
        variant=kept.variant,
        row=kept.row,
        repeat=kept.repeat,
        fields=read_kept(kept.fields, dict[str, Any], where),
        expect=expect,
        scores=scores,
        cell=kept.number,
        **read_kept(kept.outcome, OutcomeShape, f"cells {kept.number}"),
    )
