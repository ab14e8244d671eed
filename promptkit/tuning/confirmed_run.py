"""A stored tuning as an evaluation: the start and the incumbent on its confirm rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from promptkit.errors import InputError
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.suite import Suite
from promptkit.storage.records import check_shape
from promptkit.storage.shapes import EvalInputsShape
from promptkit.storage.store import Run, Store
from promptkit.tuning.tune_record import TUNE, stored_tune_record

RECENT_TUNINGS: Final = 20
"""The tunings among which the one that wrote a file is looked for."""
START: Final = "start"
INCUMBENT: Final = "incumbent"
CONFIRM_SETTINGS: Final = "confirm"
"""The key of a tuning's inputs in the store under which it keeps how its confirm rows are measured."""
CONFIRM_ROWS: Final = "confirm_rows"
"""The key of these settings with the numbers of the confirm rows, in the order in which they are asked."""


def tuned_notes(store: Store, suite: Suite) -> Iterator[str]:
    """Yield a note if the newest tuning that wrote a suite's target chose it by rows of the suite."""
    file = suite.project.portable_name(suite.source.target)
    for run in store.runs(kind=TUNE, limit=RECENT_TUNINGS):
        written = run.record.get("written")
        if not isinstance(written, list) or file not in written:
            continue
        with store.damage.skipping():
            record = stored_tune_record(run)
            if record.suite == suite.name:
                yield (
                    f"tuning {run.number} chose `{file}` by {record.rows.search + record.rows.pool} of these rows, so "
                    "its score on them is optimistic: measure it on rows that are new"
                )
        return


class ConfirmedRun(StoredRun):
    """The start and the incumbent of a stored tuning on its confirm rows, as variants of an evaluation.

    Of the confirm rows those count that the confirmation asked both: it may end before the last. Cells of other
    candidates and of search rows are left out. Raises InputError for a tuning that did not confirm an
    incumbent, or that an earlier promptkit kept; DamagedRecord where the store does not say how it was made.
    """

    def __init__(self, store: Store, run: Run) -> None:
        settings = (run.inputs or {}).get(CONFIRM_SETTINGS)
        record = stored_tune_record(run)
        if record.difference is None:
            message = f"run {run.number}, a tuning of `{run.target}`, has no confirmed incumbent, so no rows to show"
            raise InputError(message, hint=f"promptkit runs show {run.number}")
        if settings is None or not record.best.variant:
            message = f"run {run.number} is by an earlier promptkit, which did not keep how its rows were measured"
            raise InputError(message, hint="tune again: known answers are not asked again")
        self._stored_names = {START: record.baseline.variant, INCUMBENT: record.best.variant}
        # An earlier promptkit asked all of them.
        self._rows = settings[CONFIRM_ROWS][: record.confirmation.rows if record.confirmation else None]
        self._sets = {START: {}, INCUMBENT: record.best.changes}
        super().__init__(store, run)
        self.suite = record.suite
        self._record = {}

    @property
    def default_variant(self) -> str:
        """The variant that is shown where none is named: the incumbent."""
        return INCUMBENT

    @property
    def about(self) -> str:
        """A note on the origin of the cells."""
        return f"start and incumbent of tuning {self.number} on its confirm rows"

    def cells(self, variant: str | None = None, *, first: int = 0) -> Iterator[Cell]:
        """Yield the cells of the confirm rows as `StoredRun.cells` does."""
        rows, names = frozenset(self._rows), {stored: name for name, stored in self._stored_names.items()}
        stored = None if variant is None else self._stored_names[variant]
        for cell in super().cells(stored, first=first):
            if cell.variant in names and cell.row in rows:
                cell.variant = names[cell.variant]
                yield cell

    def _read_settings(self, run: Run) -> Mapping[str, Any]:
        settings = {**(run.inputs or {})[CONFIRM_SETTINGS], "variants": self._sets, "rows": len(self._rows)}
        return check_shape(settings, EvalInputsShape, f"runs {run.number}, `inputs`")
