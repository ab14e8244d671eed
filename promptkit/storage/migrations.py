"""The tables of the store. A list that only grows: a released entry is never changed."""

from __future__ import annotations

import sqlite3

from promptkit.storage.hashes import bytes_hash

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "create table answers (key text primary key, value blob not null, used integer not null)",
        "create index answers_by_use on answers (used)",
        # One row: the bytes of all answers, kept by the triggers, since a sum over all would read the whole table.
        "create table answers_size (bytes integer not null)",
        "insert into answers_size values (0)",
        """create trigger answer_added after insert on answers begin
             update answers_size set bytes = bytes + length(new.value); end""",
        """create trigger answer_removed after delete on answers begin
             update answers_size set bytes = bytes - length(old.value); end""",
        """create trigger answer_replaced after update of value on answers begin
             update answers_size set bytes = bytes + length(new.value) - length(old.value); end""",
        """create table runs (
             number integer primary key autoincrement, kind text not null, target text not null, status text not null,
             model text not null, inputs text not null, started real not null, ended real, record text not null)""",
        "create table calls (number integer primary key, run integer not null references runs, call text not null)",
        "create index calls_by_run on calls (run)",
        """create table cases (
             target text not null, name text not null, record text not null,
             primary key (target, name)) without rowid""",
    ),
    (
        # Openings of the store; `seen` is null for one that did not promise to come back.
        "create table owners (number integer primary key, pid integer not null, host text not null, seen real)",
        "create table running (run integer primary key references runs, owner integer not null)",
        "create table claims (key blob primary key, owner integer not null) without rowid",
        # Traces and rows stand apart, so that reading outcomes does not step over them.
        """create table cells (
             number integer primary key, key blob not null, failed integer not null, outcome blob not null)""",
        "create index cells_by_key on cells (key)",
        # `like` is the cell whose trace is needed to read this one; null where it is whole.
        "create table traces (cell integer primary key references cells, trace blob not null, like integer)",
        "create table data_rows (number integer primary key, key blob not null unique, fields blob not null)",
        """create table run_variants (
             run integer not null references runs, number integer not null, name text not null,
             primary key (run, number)) without rowid""",
        """create table run_cells (
             run integer not null references runs, row integer not null, variant integer not null,
             repeat integer not null, cell integer not null references cells,
             row_number integer not null references data_rows, scores blob not null,
             primary key (run, row, variant, repeat)) without rowid""",
        """create table scores (
             cell integer not null references cells, metric blob not null, score blob not null,
             primary key (cell, metric)) without rowid""",
    ),
    (
        "create table splits (suite text primary key, salt integer not null, share real not null) without rowid",
        """create table verdicts (
             rows blob not null, pair blob not null, ordinal integer not null,
             primary key (rows, pair)) without rowid""",
    ),
    (
        # Rows are found by the first bytes of their keys; `last` is the last row that is in its table's index.
        "create table indexed (source text primary key, last integer not null) without rowid",
        "create table new_answers (number integer primary key, key blob not null, value blob not null)",
        "insert into new_answers select null, key_hash(cast(key as blob)), value from answers order by used, rowid",
        # With its triggers: `answers_size` is counted where rows are put into the index.
        "drop table answers",
        "alter table new_answers rename to answers",
        "drop index cells_by_key",
        "create table new_data_rows (number integer primary key, key blob not null, fields blob not null)",
        "insert into new_data_rows select number, key, fields from data_rows",
        "drop table data_rows",
        "alter table new_data_rows rename to data_rows",
        *(
            statement
            for table in ("answers", "cells", "data_rows")
            for statement in (
                f"""create table {table}_index (
                      prefix blob not null, number integer not null, primary key (prefix, number)) without rowid""",
                f"insert into {table}_index select substr(key, 1, 8), number from {table} order by 1, 2",
                f"insert into indexed select '{table}', coalesce(max(number), 0) from {table}",
            )
        ),
        """create table batch_rows (
             run integer not null references runs, row integer not null, failed integer not null, record blob not null,
             primary key (run, row)) without rowid""",
    ),
)


def version(connection: sqlite3.Connection) -> int:
    """Return how many migrations a file has had."""
    return int(connection.execute("pragma user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to date in one transaction: a process that dies here leaves the old file."""
    if version(connection) >= len(MIGRATIONS):
        return
    connection.create_function("key_hash", 1, lambda key: bytes_hash(key or b""), deterministic=True)
    connection.execute("begin immediate")
    try:
        for statements in MIGRATIONS[version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"pragma user_version = {len(MIGRATIONS)}")
        connection.execute("commit")
    except BaseException:
        connection.rollback()
        raise
