"""The cells of evaluations: what each gave, who is at work on it, and which run holds it."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from promptkit.storage.database import Database
from promptkit.storage.owners import Owner, bury, is_alive

_KEYS_AT_ONCE = 500
_CELLS_AT_ONCE = 500
_HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class KeptCell:
    """A cell in the store. `outcome` is JSON text; `Cells.trace` takes its number."""

    number: int
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A cell at its place in a run, to be saved.

    A new cell has an `outcome` (JSON text) and may have a `trace` (JSON); one that is kept already has its `number`.
    `key` and `row_key` are hashes, of all that the target reads and of the row; `fields`, the JSON text of the row, is
    kept once for each `row_key`. `scores` is JSON text. `failed` marks an outcome that is missing.
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
    """A cell of a run as it was saved: texts are JSON."""

    variant: str
    row: int
    repeat: int
    number: int
    outcome: str
    scores: str
    fields: str


class Cells:
    """The cells in a store. Use it from any thread; every method raises StoreFailed.

    Of several cells with one key the newest counts. Texts come back exactly, half characters too.
    """

    def __init__(self, database: Database, owner: Owner) -> None:
        self._database = database
        self._owner = owner
        self._variants: dict[int, dict[str, int]] = {}

    def find(self, keys: Sequence[bytes], *, errors: bool = True) -> dict[bytes, KeptCell]:
        """Return the newest kept cell of each key that has one; without `errors`, the newest that did not fail."""
        found = {}
        for some in _batches(keys):
            rows = self._database.read(
                f"select key, number, outcome from cells where key in ({_marks(some)}) {_unfailed(errors)}"
                " order by key, number",
                some,
            )
            found.update({key: KeptCell(number, _text(outcome)) for key, number, outcome in rows})
        return found

    def claim(self, keys: Sequence[bytes], *, errors: bool = True) -> set[bytes]:
        """Return those of `keys` that are now this store's to ask: not kept, and claimed by no other that is alive.

        Without `errors`, a cell that failed does not count as kept. Claims end when their cell is saved, on `release`
        and `close`, and 120 seconds after the last claim or `refresh` of this store.
        """

        def change(connection: sqlite3.Connection) -> set[bytes]:
            self._owner.sign(connection, beats=True)
            taken = _kept(connection, keys, errors=errors) | self._held(connection, keys)
            ours = set(keys) - taken
            connection.executemany(
                "insert or replace into claims values (?, ?)", [(key, self._owner.number) for key in ours]
            )
            return ours

        return self._database.write(change).result()

    def refresh(self) -> None:
        """Say that this store's claims and runs are still being worked on. Once in 30 seconds is often enough."""
        self._database.write(lambda connection: self._owner.sign(connection, beats=True)).result()

    def release(self, keys: Iterable[bytes]) -> None:
        """Give claims back, so that others may ask."""
        rows = [(key, self._owner.number) for key in keys]
        self._database.write(lambda connection: _unclaim(connection, rows)).result()

    def name_variants(self, run: int, names: Sequence[str]) -> None:
        """Set the order of a run's variants. Those that are only saved stand in the order in which they appear."""
        self._variants[run] = self._database.write(lambda connection: _number_variants(connection, run, names)).result()

    async def save(self, run: int, placed: Sequence[Placed]) -> list[int]:
        """Put cells into a run, in place of what is there, and return their numbers; returns once all is on disk."""
        rows = [(cell.row_key, _bytes(cell.fields)) for cell in placed]
        new = [(cell.key, cell.failed, _bytes(cell.outcome), cell.trace) for cell in placed if cell.outcome is not None]
        known = self._variants.get(run, {})
        names = {cell.variant: None for cell in placed}

        def change(connection: sqlite3.Connection) -> tuple[list[int], Mapping[str, int]]:
            variants = known if names.keys() <= known.keys() else _number_variants(connection, run, names)
            connection.executemany("insert or ignore into data_rows (key, fields) values (?, ?)", rows)
            added = iter(self._add(connection, new))
            numbers = [_number(cell) if cell.outcome is None else next(added) for cell in placed]
            connection.executemany(
                "insert or replace into run_cells"
                " values (?, ?, ?, ?, ?, (select number from data_rows where key = ?), ?)",
                [
                    (run, cell.row, variants[cell.variant], cell.repeat, number, cell.row_key, _bytes(cell.scores))
                    for cell, number in zip(placed, numbers, strict=True)
                ],
            )
            return numbers, variants

        numbers, variants = await asyncio.wrap_future(self._database.write(change))
        self._variants[run] = dict(variants)
        return numbers

    def of_run(self, run: int, *, variant: str | None = None) -> Iterator[RunCell]:
        """Yield the cells of a run by row, then variant, then repeat; of one variant where it is named.

        Read in pages: what is saved meanwhile may appear, and no writer waits.
        """
        names = {
            number: name
            for number, name in self._database.read("select number, name from run_variants where run = ?", (run,))
        }
        wanted = [number for number, name in names.items() if variant in (None, name)]
        last = (-1, -1, -1)
        while True:
            page = self._database.read(
                "select row, variant, repeat, cell, outcome, scores, fields from run_cells"
                " join cells on cells.number = cell join data_rows on data_rows.number = row_number"
                f" where run = ? and (row, variant, repeat) > (?, ?, ?) and variant in ({_marks(wanted)})"
                " order by row, variant, repeat limit ?",
                (run, *last, *wanted, _CELLS_AT_ONCE),
            )
            for row, place, repeat, cell, outcome, scores, fields in page:
                yield RunCell(names[place], row, repeat, cell, _text(outcome), _text(scores), _text(fields))
            if len(page) < _CELLS_AT_ONCE:
                return
            last = page[-1][:3]

    def trace(self, number: int) -> bytes | None:
        """Return the trace of a cell."""
        rows = self._database.read("select trace from traces where cell = ?", (number,))
        return rows[0][0] if rows else None

    def kept_scores(self, numbers: Sequence[int], key: str) -> dict[int, str]:
        """Return the scores that a metric, named by `key`, has given cells, by their numbers."""
        found = {}
        for some in _batches(numbers):
            rows = self._database.read(
                f"select cell, score from scores where metric = ? and cell in ({_marks(some)})", (_digest(key), *some)
            )
            found.update({cell: _text(score) for cell, score in rows})
        return found

    async def keep_scores(self, key: str, scores: Mapping[int, str]) -> None:
        """Keep a metric's scores (JSON text) by the numbers of their cells; returns once they are on disk."""
        digest = _digest(key)
        rows = [(number, digest, _bytes(score)) for number, score in scores.items()]
        await asyncio.wrap_future(
            self._database.write(
                lambda connection: connection.executemany("insert or replace into scores values (?, ?, ?)", rows)
            )
        )

    def _add(self, connection: sqlite3.Connection, new: Sequence[tuple[bytes, bool, bytes, bytes | None]]) -> range:
        """Add cells and return their numbers, counted here since SQLite gives no numbers for many at once."""
        (last,) = connection.execute("select coalesce(max(number), 0) from cells").fetchone()
        numbers = range(last + 1, last + 1 + len(new))
        cells = zip(numbers, new, strict=True)
        connection.executemany("insert into cells values (?, ?, ?, ?)", [(number, *cell[:3]) for number, cell in cells])
        traces = [(number, trace) for number, (*_, trace) in zip(numbers, new, strict=True) if trace is not None]
        connection.executemany("insert into traces values (?, ?)", traces)
        _unclaim(connection, [(cell[0], self._owner.number) for cell in new])
        return numbers

    def _held(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> set[bytes]:
        """Return the keys that live others hold; what the dead hold among all claims is freed."""
        held: dict[bytes, int] = {}
        for some in _batches(keys):
            held.update(connection.execute(f"select key, owner from claims where key in ({_marks(some)})", some))
        others = set(held.values()) - {self._owner.number}
        alive = {number for number in others if is_alive(connection, number)}
        for number in others - alive:
            bury(connection, number)
        return {key for key, owner in held.items() if owner in alive}


def _kept(connection: sqlite3.Connection, keys: Sequence[bytes], *, errors: bool) -> set[bytes]:
    kept: set[bytes] = set()
    for some in _batches(keys):
        query = f"select key from cells where key in ({_marks(some)}) {_unfailed(errors)}"
        kept.update(key for (key,) in connection.execute(query, some))
    return kept


def _number_variants(connection: sqlite3.Connection, run: int, names: Iterable[str]) -> dict[str, int]:
    numbers = dict(connection.execute("select name, number from run_variants where run = ?", (run,)).fetchall())
    for name in names:
        if name not in numbers:
            numbers[name] = len(numbers)
            connection.execute("insert into run_variants values (?, ?, ?)", (run, numbers[name], name))
    return numbers


def _unclaim(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, int]]) -> None:
    connection.executemany("delete from claims where key = ? and owner = ?", rows)


def _number(cell: Placed) -> int:
    assert cell.number is not None, "a cell is new or has its number"
    return cell.number


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + _KEYS_AT_ONCE] for start in range(0, len(items), _KEYS_AT_ONCE))


def _marks(items: Sequence[Any]) -> str:
    return ",".join("?" * len(items))


def _unfailed(errors: bool) -> str:
    return "" if errors else "and not failed"


def _digest(key: str) -> bytes:
    return hashlib.blake2b(_bytes(key), digest_size=_HASH_BYTES).digest()


def _bytes(text: str) -> bytes:
    # As bytes: a model may answer with half characters, which SQLite's text does not take.
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
