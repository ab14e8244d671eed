"""Finds and removes damaged records of the store."""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from promptkit.errors import DamagedRecord, StoreFailed, place
from promptkit.storage import shapes
from promptkit.storage.cached_replies import INDEXED_BYTES
from promptkit.storage.cells import unpack_trace
from promptkit.storage.database import connect, move_away
from promptkit.storage.files import PRIVATE_FILE
from promptkit.storage.key_index import TABLES, index_fault, last_numbers, rebuild_indexes
from promptkit.storage.records import check_shape, read_json, read_record
from promptkit.storage.store import read_batch_row

DAMAGED = "damaged"
"""The status of a run whose record was damaged and has been emptied."""

NO_SCORES = b'{"expect":null,"scores":{}}'

_MOST_PROBLEMS = 5
_OF_RUNS = ("run_cells", "run_variants", "batch_rows", "calls", "running")


@dataclass(frozen=True, slots=True)
class Finding:
    """A damaged record: its table and key, the reason, and the repair (`cure`, by `statements`)."""

    table: str
    key: str
    why: str
    cure: str
    statements: tuple[tuple[str, tuple[Any, ...]], ...]

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.why}; {self.cure}"


@dataclass(frozen=True, slots=True)
class _Check:
    """The check of a table's records: `read` takes the `columns`, and raises DamagedRecord.

    `statements` cure a record; they take its `keys`.
    """

    table: str
    keys: tuple[str, ...]
    columns: str
    read: Callable[..., object]
    cure: str
    statements: tuple[str, ...]


def find_damage(path: Path) -> Iterator[Finding]:
    """Yield the damaged records of a store's file. Raises StoreFailed where SQLite cannot read the file itself."""
    try:
        with closing(connect(path)) as connection:
            _check_file(connection, path)
            for check in _CHECKS:
                yield from _damaged_records(connection, check)
            yield from _damaged_indexes(connection)
            yield from _damaged_runs(connection)
    except sqlite3.Error as error:
        raise StoreFailed(f"the file {place(path)} cannot be read: {error}", hint=move_away(path)) from error


def _damaged_records(connection: sqlite3.Connection, check: _Check) -> Iterator[Finding]:
    for row in connection.execute(f"select {', '.join(check.keys)}, {check.columns} from {check.table}"):
        key, values = row[: len(check.keys)], row[len(check.keys) :]
        try:
            check.read(*values)
        except DamagedRecord as error:
            statements = tuple((statement, key) for statement in check.statements)
            yield Finding(check.table, _key_text(key), error.why, check.cure, statements)


def _damaged_indexes(connection: sqlite3.Connection) -> Iterator[Finding]:
    for table in TABLES:
        if why := index_fault(connection, table):
            yield Finding("indexed", table, why, "it is made anew", ())


def damaged_run(number: int, why: str, *, part: Literal["record", "run"]) -> Finding:
    """Return the finding of a run that cannot be shown: its record is emptied, or the whole run removed."""
    cures = {
        "record": (
            "its record is emptied, an evaluation is summed up again from its cells",
            (f"update runs set record = '{{}}', status = '{DAMAGED}' where number = ?",),
        ),
        "run": (
            "it is removed, its answers stay",
            (
                *(f"delete from {table} where run = ?" for table in _OF_RUNS),
                "delete from runs where number = ?",
            ),
        ),
    }
    cure, statements = cures[part]
    return Finding("runs", str(number), why, cure, tuple((statement, (number,)) for statement in statements))


def repair(path: Path, findings: Sequence[Finding]) -> Path:
    """Repair damaged records in one transaction, and return the copy of the file that was made before.

    Raises StoreFailed; nothing is changed then.
    """
    try:
        with closing(connect(path)) as connection:
            backup = _copy(connection, path)
            connection.execute("begin immediate")
            try:
                last = last_numbers(connection)
                for finding in findings:
                    if finding.table in ("cells", "traces"):
                        _free_traces(connection, finding.statements[0][1][0])
                    for statement, key in finding.statements:
                        connection.execute(statement, key)
                rebuild_indexes(connection, last)
                connection.execute("delete from answers_size")
                connection.execute(f"insert into answers_size select {INDEXED_BYTES}")
                connection.execute("commit")
            except BaseException:
                connection.rollback()
                raise
    except (sqlite3.Error, OSError) as error:
        raise StoreFailed(f"the store {place(path)} cannot be repaired: {error}") from error
    return backup


def _check_file(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreFailed where SQLite finds the file itself damaged."""
    try:
        found = [line for (line,) in connection.execute(f"pragma integrity_check({_MOST_PROBLEMS})")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found != ["ok"]:
        lines = "; ".join(" ".join(line.split()) for line in found)
        raise StoreFailed(f"the file {place(path)} itself is damaged: {lines}", hint=move_away(path))


def _copy(connection: sqlite3.Connection, path: Path) -> Path:
    """Copy the store's file next to it, readable for its owner only."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    copy = next(
        copy
        for number in range(1, 1000)
        if not (copy := path.with_name(f"{path.name}.bak-{stamp}{f'-{number}' if number > 1 else ''}")).exists()
    )
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    with closing(sqlite3.connect(copy)) as target:
        connection.backup(target)
    return copy


def _free_traces(connection: sqlite3.Connection, cell: int) -> None:
    """Store whole the traces that need that of a cell, which is about to be removed."""
    query = "select kept.cell, kept.trace, model.trace from traces kept join traces model on model.cell = kept.like"
    for number, trace, model in connection.execute(f"{query} where kept.like = ?", (cell,)).fetchall():
        try:
            whole = unpack_trace(trace, model)
        except (zlib.error, TypeError):
            connection.execute("delete from traces where cell = ?", (number,))
        else:
            connection.execute("update traces set trace = ?, like = null where cell = ?", (whole, number))


def _damaged_runs(connection: sqlite3.Connection) -> Iterator[Finding]:
    names = ("kind", "target", "status", "started", "ended", "model", "inputs", "record")
    for number, *values in connection.execute(f"select number, {', '.join(names)} from runs"):
        wrong = _wrong_columns(dict(zip(names, values, strict=True)))
        reasons = "; ".join(f"`{name}`: {why}" for name, why in wrong.items())
        if wrong.keys() - _EMPTY.keys() or ("inputs" in wrong and values[0] in _INPUTS):
            yield damaged_run(number, reasons, part="run")
        elif "record" in wrong:
            found = damaged_run(number, reasons, part="record")
            yield replace(found, statements=(*found.statements, *_emptied(number, wrong)))
        elif wrong:
            yield Finding("runs", str(number), reasons, "this part is emptied", _emptied(number, wrong))


def _emptied(number: int, names: Iterable[str]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple((f"update runs set {name} = ? where number = ?", (_EMPTY[name], number)) for name in names)


_EMPTY = {"model": '{"reference":"unknown","digest":""}', "inputs": "null", "record": "{}"}
"""The JSON columns of a run, with their empty values."""

_INPUTS: dict[str, Callable[..., Any]] = {"eval": shapes.EvalInputsShape, "batch": shapes.BatchShape}
"""The shapes of inputs, by the kinds of runs that cannot be shown without them."""

_SOUND: dict[str, Any] = {
    **{"kind": "", "target": "", "status": "", "started": 0.0, "ended": None},
    **{"model": {}, "inputs": None, "record": {}},
}


def _wrong_columns(columns: Mapping[str, Any]) -> dict[str, str]:
    """Return the faults of a run's columns, by their names."""
    wrong: dict[str, str] = {}
    for name, kept in columns.items():
        try:
            value = read_json(kept, "") if name in _EMPTY else kept
            check_shape({**_SOUND, name: value}, shapes.RunShape, "")
            if name == "inputs" and columns["kind"] in ("eval", "batch"):
                check_shape(value, _INPUTS[columns["kind"]], "")
            if name == "model" and columns["kind"] == "eval":
                check_shape(value, shapes.ModelShape, "")
        except DamagedRecord as error:
            wrong[name] = error.why.removeprefix(f"`{name}`: ")
    return wrong


def _key_text(key: Sequence[Any]) -> str:
    return " ".join(part.hex()[:12] if isinstance(part, bytes) else str(part)[:60] for part in key)


def _json(shape: Callable[..., Any]) -> Callable[..., object]:
    return lambda kept: read_record(kept, shape, "")


def _row(shape: Callable[..., Any]) -> Callable[..., object]:
    return lambda *values: check_shape(values, shape, "")


def _read_trace(trace: object, like: object, model: object) -> None:
    if not isinstance(trace, bytes) or not isinstance(model, bytes | None):
        raise DamagedRecord("", "it is not bytes")
    if like is not None and model is None:
        raise DamagedRecord("", "the trace by which it is written is gone")
    try:
        whole = trace if model is None else unpack_trace(trace, model)
    except zlib.error as error:
        raise DamagedRecord("", f"it cannot be unpacked ({error})") from None
    read_record(whole, shapes.TraceShape, "")


def _read_batch_row(failed: object, kept: object) -> None:
    record = read_batch_row(kept, "")
    if failed not in (0, 1) or bool(failed) != ("error" in record):
        raise DamagedRecord("", "it does not say whether it failed")


def _read_place(*place: object) -> None:
    if not all(isinstance(number, int) for number in place):
        raise DamagedRecord("", "its place in the run is not a number")


def _read_size(kept: object, true: int) -> None:
    if kept != true:
        raise DamagedRecord("", f"it says {str(kept)[:20]} bytes and not {true}")


_DELETED = "it is deleted, and made again where it is needed"

_CHECKS = (
    _Check(
        "answers", ("rowid",), "value", _json(shapes.ReplyShape), _DELETED, ("delete from answers where rowid = ?",)
    ),
    _Check(
        "cells",
        ("number",),
        "outcome",
        _json(shapes.OutcomeShape),
        "it is deleted, and asked again",
        (
            "delete from cells where number = ?",
            "delete from run_cells where cell = ?",
            "delete from scores where cell = ?",
            "delete from traces where cell = ?",
        ),
    ),
    _Check(
        "traces",
        ("cell",),
        "trace, like, (select model.trace from traces model where model.cell = traces.like)",
        _read_trace,
        "it is deleted, the answer stays",
        ("delete from traces where cell = ?",),
    ),
    _Check(
        "data_rows",
        ("number",),
        "fields",
        _json(dict[str, Any]),
        "it is taken out of the runs that hold it, the answers stay",
        ("delete from data_rows where number = ?", "delete from run_cells where row_number = ?"),
    ),
    _Check(
        "run_cells",
        ("run", "row", "variant", "repeat"),
        "row, variant, repeat, cell, row_number",
        _read_place,
        "it is taken out of its run, the answer stays",
        ("delete from run_cells where run = ? and row = ? and variant = ? and repeat = ?",),
    ),
    _Check(
        "run_cells",
        ("run", "row", "variant", "repeat"),
        "scores",
        _json(shapes.ScoresShape),
        "its scores are emptied, `promptkit eval` scores it again",
        (
            f"update run_cells set scores = x'{NO_SCORES.hex()}'"
            " where run = ? and row = ? and variant = ? and repeat = ?",
        ),
    ),
    _Check(
        "scores",
        ("cell", "metric"),
        "score",
        _json(shapes.KeptScoreShape),
        _DELETED,
        ("delete from scores where cell = ? and metric = ?",),
    ),
    _Check(
        "calls",
        ("number",),
        "call",
        _json(shapes.StoredCallShape),
        "it is deleted",
        ("delete from calls where number = ?",),
    ),
    _Check(
        "batch_rows",
        ("run", "row"),
        "failed, record",
        _read_batch_row,
        "it is deleted, its answers stay",
        ("delete from batch_rows where run = ? and row = ?",),
    ),
    _Check(
        "cases",
        ("target", "name"),
        "record",
        _json(shapes.CaseShape),
        "it is deleted",
        ("delete from cases where target = ? and name = ?",),
    ),
    _Check(
        "splits",
        ("suite",),
        "salt, share",
        _row(shapes.SplitShape),
        "it is deleted, the next tuning splits the rows again",
        ("delete from splits where suite = ?",),
    ),
    _Check(
        "verdicts",
        ("rows", "pair"),
        "ordinal",
        _row(shapes.VerdictShape),
        "it is deleted",
        ("delete from verdicts where rows = ? and pair = ?",),
    ),
    _Check(
        "owners",
        ("number",),
        "pid, seen",
        _row(shapes.OwnerShape),
        "it is deleted, with what it claimed",
        ("delete from owners where number = ?", "delete from claims where owner = ?"),
    ),
    _Check(
        "answers_size",
        ("rowid",),
        f"bytes, {INDEXED_BYTES}",
        _read_size,
        "it is counted again",
        (),
    ),
)
