"""Rows found by their hashes, whether they are in the index yet or not, and what that writes."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from promptkit.storage import database, key_index
from promptkit.storage.cells import CellRecord
from promptkit.storage.key_index import KeyIndex
from promptkit.storage.store import Store

WRITTEN_TIMES_HELD = 5
"""What a run writes may be so many times what the store holds at its end."""

REPLY = '{"text":"positive","tokens_in":100,"tokens_out":1,"seconds":0.123456}'


def key(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Two openings of one new store."""
    Store.open(tmp_path).close()
    file = tmp_path / "store.db"
    with closing(database.connect(file)) as one, closing(database.connect(file)) as other:
        yield one, other


def add(connection: sqlite3.Connection, first: int, last: int) -> None:
    """Add rows by their numbers, each with the key of its number."""
    rows = [(number, key(number), b"") for number in range(first, last + 1)]
    connection.executemany("insert into answers values (?, ?, ?)", rows)


def in_index(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("select count(*) from answers_index").fetchone()
    return int(count)


def test_a_row_is_found_on_each_connection_before_and_after_it_is_in_the_index(
    connections: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    one, other = connections
    index = KeyIndex("answers")
    assert index.find(other, [key(1)]) == []
    add(one, 1, 3)
    for connection in connections:
        assert index.find(connection, [key(1), key(3), key(4)]) == [1, 3]
    assert index.extend(one, least=1) == (0, 3)
    add(one, 4, 4)
    for connection in connections:
        assert index.find(connection, [key(1), key(3), key(4)]) == [1, 3, 4]
        assert index.last(connection) == 4
    assert index.extend(other, least=1) == (3, 4)
    assert index.find(one, [key(3), key(4)]) == [3, 4]
    assert in_index(one) == 4


def test_rows_and_an_index_that_were_taken_back_leave_nothing(
    connections: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    one, _ = connections
    index = KeyIndex("answers")
    add(one, 1, 2)
    one.execute("begin immediate")
    add(one, 3, 4)
    index.extend(one, least=1)
    assert index.find(one, [key(4)]) == [4]
    one.rollback()
    one.execute("insert into answers values (3, ?, x'')", (key(9),))
    assert index.find(one, [key(2), key(3), key(4), key(9)]) == [2, 3]
    assert index.extend(one, least=1) == (0, 3)
    assert index.find(one, [key(2), key(3), key(4), key(9)]) == [2, 3]


def test_the_number_of_a_row_that_is_gone_is_not_given_again(
    connections: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    one, _ = connections
    index = KeyIndex("answers")
    add(one, 1, 3)
    index.extend(one, least=1)
    one.execute("delete from answers")
    assert index.last(one) == 3


@pytest.mark.parametrize(
    ("indexed", "waiting", "is_put"),
    [(0, 2_047, False), (0, 2_048, True), (40_000, 9_999, False), (40_000, 10_000, True), (10**6, 32_768, True)],
)
def test_rows_are_put_into_the_index_a_quarter_of_it_at_a_time(
    connections: tuple[sqlite3.Connection, sqlite3.Connection], indexed: int, waiting: int, is_put: bool
) -> None:
    one, _ = connections
    one.execute("update indexed set last = ? where source = 'answers'", (indexed,))
    add(one, indexed + 1, indexed + waiting)
    assert (KeyIndex("answers").extend(one) is not None) is is_put
    assert in_index(one) == (waiting if is_put else 0)


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    alike = [b"12345678" + bytes([number] * 8) for number in range(3)]
    with Store.open(tmp_path) as store:
        run = store.begin_run("eval", "t", model={})
        placed = [cell(number, each) for number, each in enumerate(alike[:2])]
        assert asyncio.run(store.cells.save(run, placed)) == [1, 2]
        assert {each: kept.number for each, kept in store.cells.find(alike).items()} == {alike[0]: 1, alike[1]: 2}
        assert store.cells.claim(alike) == {alike[2]}
        assert [each.fields for each in store.cells.of_run(run)] == [fields(0), fields(1)]


def fields(number: int) -> str:
    return f'{{"text":"Review {number}: a fine film with a slow middle and a moving end.","label":"positive"}}'


def cell(number: int, name: bytes) -> CellRecord:
    return CellRecord(
        variant="v",
        row=number,
        repeat=0,
        key=name,
        row_key=name,
        fields=fields(number),
        scores='{"expect":"positive","scores":{"right":[1.0,{},""]}}',
        outcome='{"output":"positive","flag":"","steps":{"mood":"positive"},"calls":1,"tokens_in":100,"seconds":0.1}',
        trace=f"Review {number}, {'and all that was said ' * 40}".encode(),
    )


def written() -> int:
    """Return the bytes that this process has written."""
    return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="nothing counts what a process writes")
def test_an_evaluation_writes_no_more_than_five_times_what_the_store_holds_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, at_once, replies_at_once = 6_000, 120, 2
    monkeypatch.setattr(key_index, "LEAST_ROWS", rows // 20)  # as often as in a run of 100,000 rows
    before = written()
    with Store.open(tmp_path) as store:
        run = store.begin_run("eval", "t", model={})
        for first in range(0, rows, at_once):
            numbers = range(first, first + at_once)
            store.cells.claim([key(number) for number in numbers])
            for reply in numbers[::replies_at_once]:
                store.keep_all({f"{number}": REPLY for number in range(reply, reply + replies_at_once)}).result()
            asyncio.run(store.cells.save(run, [cell(number, key(number)) for number in numbers]))
    assert written() - before < WRITTEN_TIMES_HELD * (tmp_path / "store.db").stat().st_size


def test_the_write_ahead_log_is_put_in_its_place_after_16_megabytes(tmp_path: Path) -> None:
    megabyte = 1024 * 1024
    with Store.open(tmp_path) as store:
        for number in range(40):
            store.keep_all({str(number): "x" * megabyte}).result()
        assert 16 * megabyte <= (tmp_path / "store.db-wal").stat().st_size < 19 * megabyte
