"""The cells of evaluations: outcomes, claims, traces, and the runs that hold them."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from promptkit.errors import DamagedRecord
from promptkit.storage.database import Database, Owner, forget_owner, is_alive
from promptkit.storage.hashes import content_key
from promptkit.storage.key_index import KeyIndex, batches, marks
from promptkit.storage.records import Damage, column_text, read_record
from promptkit.storage.shapes import TraceShape

# A trace that does not come down to this share is stored whole, and the next ones are compressed after it.
_WORTH = 0.7
_MEMORY_LEVEL = 6


class TraceModel(NamedTuple):
    """A trace that is stored whole: the number of its cell, and a compressor that has read it."""

    cell: int
    compressor: zlib._Compress


class Packed(NamedTuple):
    """A stored trace. `like` is the cell of the trace that is needed to read it, None where it is whole."""

    trace: bytes
    like: int | None


def pack_trace(cell: int, trace: bytes, model: TraceModel | None) -> tuple[Packed, TraceModel]:
    """Return a cell's trace as it is stored, and the model for the next ones."""
    if model is not None:
        compressor = model.compressor.copy()
        packed = compressor.compress(trace) + compressor.flush()
        if len(packed) < _WORTH * len(trace):
            return Packed(packed, model.cell), model
    # A small window is quick to copy; this one reaches back from a place in one trace to the same in the other.
    window = min(max(len(trace).bit_length() + 1, 9), zlib.MAX_WBITS)
    compressor = zlib.compressobj(1, zlib.DEFLATED, window, _MEMORY_LEVEL, zdict=trace)
    return Packed(trace, None), TraceModel(cell, compressor)


def unpack_trace(packed: bytes, model: bytes) -> bytes:
    """Return a trace that was compressed after `model`. Raises zlib.error where either is damaged."""
    reader = zlib.decompressobj(zdict=model)
    trace = reader.decompress(packed) + reader.flush()
    if not reader.eof:
        raise zlib.error("cut off")
    return trace


_CELLS_AT_ONCE = 500
_RUNS_NOTED = 16


@dataclass(frozen=True, slots=True)
class KeptCell:
    """A cell in the store. `outcome` is JSON text, None where it is damaged; `Cells.trace` takes its number."""

    number: int
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """A cell at its place in a run, to be saved.

    A new cell has an `outcome` (JSON text) and may have a `trace` (JSON); one that is stored already has its `number`.
    `key` is the hash of all that the target reads, `row_key` that of the row; `fields`, the row as JSON text, is stored
    once for each `row_key`. `scores` is JSON text. `failed` marks a missing answer.
    """

    variant: str
    row: int
    repeat: int
    key: bytes
    row_key: bytes
    fields: str
    scores: str
    outcome: str | None = None
    failed: bool = False
    trace: bytes | None = None
    number: int | None = None


class RunCell(NamedTuple):
    """A cell of a run as it is stored: texts are JSON, None where they are damaged."""

    variant: str
    row: int
    repeat: int
    number: int
    outcome: str | None
    scores: str | None
    fields: str | None


class _RunState(NamedTuple):
    """The stored state of a run: its variants' numbers, and the traces that the next ones are compressed after."""

    variants: Mapping[str, int]
    models: Mapping[str, TraceModel]


_NOTHING = _RunState({}, {})


class Cells:
    """The cells in a store. Use it from any thread; every method raises StoreFailed.

    Of several cells with one key the newest counts. Texts are read back exactly, half characters too.
    """

    def __init__(self, database: Database, owner: Owner) -> None:
        self._database = database
        self._owner = owner
        self._index = KeyIndex("cells")
        self._row_index = KeyIndex("data_rows")
        self._written: dict[int, _RunState] = {}

    @property
    def damage(self) -> Damage:
        """The damaged records that were met and left out."""
        return self._database.damage

    def find(self, keys: Sequence[bytes], *, errors: bool = True) -> dict[bytes, KeptCell]:
        """Return the newest stored cell of each key that has one; without `errors`, the newest that did not fail."""
        asked, found = frozenset(keys), {}
        for some in batches(self._database.look(lambda connection: self._index.find(connection, keys))):
            rows = self._database.read(
                f"select key, number, outcome from cells where number in ({marks(some)}) {_unfailed(errors)}"
                " order by number",
                some,
            )
            found.update({key: KeptCell(number, column_text(outcome)) for key, number, outcome in rows if key in asked})
        return found

    def claim(self, keys: Sequence[bytes], *, errors: bool = True) -> set[bytes]:
        """Claim keys and return those that this store may ask: not stored, and not claimed by another live process.

        Without `errors`, a cell that failed does not count as stored. Claims end when their cell is saved, on `release`
        and `close`, and 120 seconds after the last claim or `refresh` of this store.
        """

        def change(connection: sqlite3.Connection) -> set[bytes]:
            self._owner.sign(connection, beats=True)
            taken = self._kept(connection, keys, errors=errors) | self._held(connection, keys)
            ours = set(keys) - taken
            connection.executemany(
                "insert or replace into claims values (?, ?)", [(key, self._owner.number) for key in ours]
            )
            return ours

        return self._database.write(change).result()

    def refresh(self) -> None:
        """Renew this store's claims and runs. Once in 30 seconds is often enough."""
        self._database.write(lambda connection: self._owner.sign(connection, beats=True)).result()

    def release(self, keys: Iterable[bytes]) -> None:
        """Give claims back, so that others may ask."""
        rows = [(key, self._owner.number) for key in keys]
        self._database.write(lambda connection: _unclaim(connection, rows)).result()

    def name_variants(self, run: int, names: Sequence[str]) -> None:
        """Set the order of a run's variants; without it they stand in the order in which they are saved."""
        variants = self._database.write(lambda connection: _number_variants(connection, run, names)).result()
        self._note(run, _RunState(variants, {}))

    async def save(self, run: int, placed: Sequence[CellRecord]) -> list[int]:
        """Save cells of a run, replacing those at the same places, and return their numbers once all is on disk."""
        # Only committed state may be built on: `change` can be rolled back with others of its group.
        written = self._written.get(run, _NOTHING)

        def change(connection: sqlite3.Connection) -> tuple[list[int], _RunState]:
            variants, models = written
            if any(cell.variant not in variants for cell in placed):
                variants = _number_variants(connection, run, dict.fromkeys(cell.variant for cell in placed))
            numbers, models = self._add(connection, placed, models)
            rows = self._number_rows(connection, placed)
            connection.executemany(
                "insert or replace into run_cells values (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        run,
                        cell.row,
                        variants[cell.variant],
                        cell.repeat,
                        number,
                        rows[cell.row_key],
                        _bytes(cell.scores),
                    )
                    for cell, number in zip(placed, numbers, strict=True)
                ],
            )
            self._index.extend(connection)
            self._row_index.extend(connection)
            return numbers, _RunState(variants, models)

        numbers, written = await asyncio.wrap_future(self._database.write(change))
        self._note(run, written)
        return numbers

    def of_run(self, run: int, *, variant: str | None = None, first: int = 0) -> Iterator[RunCell]:
        """Yield the cells of a run by row, then variant, then repeat; of one variant where it is named.

        `first` is the row to begin with. Read in pages: cells saved meanwhile may appear, and no writer waits.
        """
        variants = self._database.read("select number, name from run_variants where run = ?", (run,))
        names: dict[int, str] = {number: name for number, name in variants}
        chosen = [number for number, name in names.items() if variant in (None, name)]
        last = (first, -1, -1)
        while True:
            page = self._database.read(
                "select row, variant, repeat, cell, outcome, scores, fields from run_cells"
                " join cells on cells.number = cell join data_rows on data_rows.number = row_number"
                f" where run = ? and (row, variant, repeat) > (?, ?, ?) and variant in ({marks(chosen)})"
                " order by row, variant, repeat limit ?",
                (run, *last, *chosen, _CELLS_AT_ONCE),
            )
            for row, place, repeat, cell, outcome, scores, fields in page:
                texts = map(column_text, (outcome, scores, fields))
                yield RunCell(names[place], row, repeat, cell, *texts)
            if len(page) < _CELLS_AT_ONCE:
                return
            last = page[-1][:3]

    def trace(self, number: int) -> bytes | None:
        """Return the trace of a cell, as it was saved. Raises DamagedRecord."""
        rows = self._database.read(
            "select kept.trace, kept.like, model.trace from traces kept"
            " left join traces model on model.cell = kept.like where kept.cell = ?",
            (number,),
        )
        if not rows:
            return None
        trace, like, model = rows[0]
        if not isinstance(trace, bytes):
            raise DamagedRecord(f"traces {number}", "it is not bytes")
        if like is None:
            return trace
        if not isinstance(model, bytes):
            raise DamagedRecord(f"traces {number}", f"the trace {like}, by which it is written, is gone")
        try:
            return unpack_trace(trace, model)
        except zlib.error as error:
            raise DamagedRecord(f"traces {number}", f"it cannot be unpacked ({error})") from None

    def trace_record(self, number: int) -> dict[str, Any] | None:
        """Return the trace of a cell as `engine.trace_record` made it; None where it has none or a damaged one."""
        with self._database.damage.skipping():
            trace = self.trace(number)
            return None if trace is None else dict(read_record(trace, TraceShape, f"traces {number}"))
        return None

    def trace_reader(self, number: int) -> Callable[[], Mapping[str, Any]]:
        """Return a function that reads a cell's trace record when it is needed; it is empty where there is none."""
        return lambda: self.trace_record(number) or {}

    def kept_scores(self, numbers: Sequence[int], key: str) -> dict[int, str | None]:
        """Return the scores of cells by the metric of a `key`, by the cells' numbers; None: damaged."""
        found = {}
        for some in batches(numbers):
            rows = self._database.read(
                f"select cell, score from scores where metric = ? and cell in ({marks(some)})",
                (content_key(key), *some),
            )
            found.update({cell: column_text(score) for cell, score in rows})
        return found

    async def keep_scores(self, key: str, scores: Mapping[int, str]) -> None:
        """Keep a metric's scores (JSON text) by the numbers of their cells; returns once they are on disk."""
        digest = content_key(key)
        rows = [(number, digest, _bytes(score)) for number, score in scores.items()]
        await asyncio.wrap_future(
            self._database.write(
                lambda connection: connection.executemany("insert or replace into scores values (?, ?, ?)", rows)
            )
        )

    def _add(
        self, connection: sqlite3.Connection, placed: Sequence[CellRecord], models: Mapping[str, TraceModel]
    ) -> tuple[list[int], Mapping[str, TraceModel]]:
        """Add the new cells; return the numbers of all, and the models of the traces that follow."""
        last = self._index.last(connection)
        models = dict(models)
        numbers, cells, traces, claims = [], [], [], []
        for cell in placed:
            if cell.outcome is None:
                assert cell.number is not None, "a cell is new or has its number"
                numbers.append(cell.number)
                continue
            last += 1
            numbers.append(last)
            cells.append((last, cell.key, cell.failed, _bytes(cell.outcome)))
            claims.append((cell.key, self._owner.number))
            if cell.trace is not None:
                packed, models[cell.variant] = pack_trace(last, cell.trace, models.get(cell.variant))
                traces.append((last, *packed))
        connection.executemany("insert into cells values (?, ?, ?, ?)", cells)
        connection.executemany("insert into traces values (?, ?, ?)", traces)
        _unclaim(connection, claims)
        return numbers, models

    def _number_rows(self, connection: sqlite3.Connection, placed: Sequence[CellRecord]) -> dict[bytes, int]:
        """Return the numbers of the cells' rows by their keys; those that are new are added."""
        texts = {cell.row_key: cell.fields for cell in placed}
        numbers: dict[bytes, int] = {}
        for some in batches(self._row_index.find(connection, list(texts))):
            query = f"select key, number from data_rows where number in ({marks(some)})"
            numbers.update((key, number) for key, number in connection.execute(query, some) if key in texts)
        # A damaged row is written again: its key tells its content.
        connection.executemany(
            "update data_rows set fields = ?1 where number = ?2 and fields is not ?1",
            [(_bytes(texts[key]), number) for key, number in numbers.items()],
        )
        last = self._row_index.last(connection)
        new = [key for key in texts if key not in numbers]
        numbers.update(zip(new, range(last + 1, last + 1 + len(new)), strict=True))
        connection.executemany(
            "insert into data_rows values (?, ?, ?)", [(numbers[key], key, _bytes(texts[key])) for key in new]
        )
        return numbers

    def _kept(self, connection: sqlite3.Connection, keys: Sequence[bytes], *, errors: bool) -> set[bytes]:
        """Return those of the keys that have a cell."""
        kept: set[bytes] = set()
        for some in batches(self._index.find(connection, keys)):
            query = f"select key from cells where number in ({marks(some)}) {_unfailed(errors)}"
            kept.update(key for (key,) in connection.execute(query, some))
        return kept

    def _note(self, run: int, written: _RunState) -> None:
        self._written[run] = written
        if len(self._written) > _RUNS_NOTED:
            del self._written[next(iter(self._written))]

    def _held(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> set[bytes]:
        """Return the keys that other live processes hold; claims of dead ones are freed."""
        held: dict[bytes, int] = {}
        for some in batches(keys):
            held.update(connection.execute(f"select key, owner from claims where key in ({marks(some)})", some))
        others = set(held.values()) - {self._owner.number}
        alive = {number for number in others if is_alive(connection, number)}
        for number in others - alive:
            forget_owner(connection, number)
        return {key for key, owner in held.items() if owner in alive}


def _number_variants(connection: sqlite3.Connection, run: int, names: Iterable[str]) -> dict[str, int]:
    numbers = dict(connection.execute("select name, number from run_variants where run = ?", (run,)).fetchall())
    for name in names:
        if name not in numbers:
            numbers[name] = len(numbers)
            connection.execute("insert into run_variants values (?, ?, ?)", (run, numbers[name], name))
    return numbers


def _unclaim(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, int]]) -> None:
    connection.executemany("delete from claims where key = ? and owner = ?", rows)


def _unfailed(errors: bool) -> str:
    return "" if errors else "and not failed"


def _bytes(text: str) -> bytes:
    # As bytes: a model may answer with half characters, which SQLite's text cannot hold.
    return text.encode("utf-8", "surrogatepass")
