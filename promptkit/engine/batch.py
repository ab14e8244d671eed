"""Running a pipeline on many rows, which the store keeps as one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from promptkit.engine.results import Result, Totals
from promptkit.engine.run import Runner, error_record, model_record
from promptkit.engine.traces import trace_record
from promptkit.storage import plain

if TYPE_CHECKING:
    from promptkit.storage import Run, Store

BATCH = "batch"
"""The kind of such a run in the store."""


class Batch:
    """One run of a pipeline on the rows of a file. As a context manager it begins the run and says how it ended.

    Entering raises what `engine.run` raises before its first request; no run is kept then. `totals` sums up the rows
    that are finished.
    """

    def __init__(self, runner: Runner, store: Store, *, file: str, rows: int) -> None:
        self.number = 0
        self.rows = rows
        self.answered = self.failed = 0
        self.totals = Totals()
        self._runner = runner
        self._store = store
        self._file = file
        self._started = monotonic()

    async def __aenter__(self) -> Self:
        await self._runner.open()
        pipeline, model = self._runner.pipeline, model_record(self._runner.session)
        inputs = {"file": self._file, "rows": self.rows, "output_keys": plain(pipeline.output_keys)}
        self.number = self._store.begin_run(BATCH, pipeline.name, model=model, inputs=inputs)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "interrupted" if error else "incomplete" if self.failed else "done"
        self._store.end_run(self.number, status, self.record())

    async def run(self, row: int, values: Mapping[str, Any], fields: Mapping[str, Any]) -> Result:
        """Run on a row and keep it. `values` are its inputs, `fields` all that the file says of it.

        What failed is in `result.error`.
        """
        result = replace(await self._runner.run(values), run=self.number)
        record = {"fields": plain(fields), **result.record(), "trace": trace_record(result.trace)}
        if result.error is not None:
            record |= error_record(result.error)
        await self._store.batches.save(self.number, row, record, failed=result.error is not None)
        self.answered += result.error is None
        self.failed += result.error is not None
        self.totals = _sum(self.totals, asdict(result.totals))
        return result

    def record(self) -> dict[str, Any]:
        """Return what the batch came to so far as JSON-able data."""
        return _record(self.rows, self.answered, self.failed, replace(self.totals, seconds=monotonic() - self._started))


def batch_record(run: Run, store: Store) -> Mapping[str, Any]:
    """Return what a batch came to; of one that was killed or goes on, what its rows say."""
    if run.record:
        return run.record
    rows, failed = store.batches.count(run.number)
    totals = Totals()
    for _, each in store.batches.rows(run.number):
        totals = _sum(totals, each["totals"])
    return _record(run.inputs["rows"], rows - failed, failed, totals)


def _record(rows: int, answered: int, failed: int, totals: Totals) -> dict[str, Any]:
    return {"rows": rows, "answered": answered, "failed": failed, "totals": asdict(totals)}


def _sum(totals: Totals, more: Mapping[str, Any]) -> Totals:
    return Totals(**{name: value + more[name] for name, value in asdict(totals).items()})
