"""Takes the outcomes that the store keeps for the keys of cells, unless they are damaged or stale."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from promptkit.errors import DamagedRecord
from promptkit.evaluation.cells.cell import Cell, read_outcome
from promptkit.evaluation.cells.changed_files import ChangedFiles
from promptkit.storage.shapes import OutcomeShape
from promptkit.storage.store import Store


class KeptCells:
    """The kept outcomes of a run's cells. Without `errors` those that failed are not taken."""

    def __init__(self, store: Store, changed_files: ChangedFiles, *, errors: bool) -> None:
        self._store = store
        self._changed_files = changed_files
        self._errors = errors

    async def read(self, planned: Sequence[Cell]) -> set[bytes]:
        """Give cells the outcomes that the store keeps for their keys.

        Return the keys of damaged outcomes, and of those made of files that have changed since.
        """
        by_key: dict[bytes, list[Cell]] = {}
        for cell in planned:
            by_key.setdefault(cell.key, []).append(cell)
        replaced: set[bytes] = set()
        outcomes: dict[bytes, tuple[int, OutcomeShape]] = {}
        for key, kept in self._store.cells.find(list(by_key), errors=self._errors).items():
            try:
                outcomes[key] = kept.number, read_outcome(kept)
            except DamagedRecord as error:
                self._store.damage.add(error)
                replaced.add(key)
        replaced |= await self._stale({key: outcome for key, (_, outcome) in outcomes.items()}, by_key)
        for key, (number, outcome) in outcomes.items():
            for cell in by_key[key] if key not in replaced else ():
                cell.take_outcome(outcome, number)
                cell.read_trace = self._store.cells.trace_reader(number)
        return replaced

    async def _stale(self, outcomes: Mapping[bytes, OutcomeShape], cells: Mapping[bytes, Sequence[Cell]]) -> set[bytes]:
        """Return the keys of outcomes that were made of files which have changed since."""
        reads = {key: found for key, outcome in outcomes.items() if (found := outcome.get("reads"))}
        if not reads:
            return set()

        def find() -> dict[bytes, tuple[str, ...]]:
            found = {key: self._changed_files.changed(files) for key, files in reads.items()}
            return {key: changed for key, changed in found.items() if changed}

        stale = await asyncio.to_thread(find)
        for key, changed in stale.items():
            self._changed_files.count_cells(changed, len(cells[key]))
        return set(stale)
