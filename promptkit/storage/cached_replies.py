"""The cache of replies to requests, by key, up to a size. The oldest that were not used lately go first."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Final

from promptkit.errors import DamagedRecord
from promptkit.storage.database import Database
from promptkit.storage.hashes import PREFIX_BYTES, content_key
from promptkit.storage.key_index import KeyIndex, batches, marks
from promptkit.storage.records import column_text

USES_AT_ONCE: Final = 500
"""Uses are noted for so many replies at once: finding one must not cost a write."""

UNCOUNTED_SHARE: Final = 16
"""Up to a sixteenth of the size is written before it is counted, and the excess removed."""

INDEXED_BYTES: Final = (
    "(select coalesce(sum(length(value)), 0) from answers"
    " where number <= (select last from indexed where source = 'answers'))"
)
"""A query for the bytes of the replies in the index: those that `cached_bytes` counts."""


class CachedReplies:
    """Texts by their keys. Use it from any thread; every method raises StoreFailed. `size` bounds them in bytes."""

    def __init__(self, database: Database, size: int) -> None:
        self._database = database
        self._size = size
        self._index = KeyIndex("answers")
        self._used: set[bytes] = set()
        self._uncounted = 0

    def find(self, key: str) -> str | None:
        """Return the reply that was last kept under `key`; None where there is none, or a damaged one."""
        digest = content_key(key)
        found = self._database.look(lambda connection: self._index.newest(connection, digest, "value"))
        if found is None:
            return None
        self._used.add(digest)
        if len(self._used) >= USES_AT_ONCE:
            self.note_use()
        number, value = found
        text = column_text(value)
        if text is None:
            self._database.damage.add(DamagedRecord(f"answers {number}", "it is not text"))
        return text

    def keep(self, values: Mapping[str, str]) -> Future[None]:
        """Keep values by their keys; the future is done once they are on disk. Later writes follow in order."""
        # As bytes: a model may answer with half characters, which SQLite's text cannot hold.
        rows = [(content_key(key), value.encode("utf-8", "surrogatepass")) for key, value in values.items()]

        return self._database.write(lambda connection: self._add(connection, rows))

    def note_use(self) -> None:
        """Let used replies stay longer than others of their age, once there are many."""
        if not self._used:
            return
        used, self._used = list(self._used), set()
        # Nobody waits for it: if it fails, a reply only looks older than it is.
        self._database.write(lambda connection: self._renew(connection, used))

    def _renew(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
        """Write used replies of the older half again, at the end."""
        size = cached_bytes(connection)
        if size + self._uncounted <= self._size // 2:
            return
        newest: dict[bytes, int] = {}
        for some in batches(self._index.find(connection, keys)):
            newest.update(connection.execute(f"select key, number from answers where number in ({marks(some)})", some))
        (middle,) = connection.execute("select coalesce((min(number) + max(number)) / 2, 0) from answers").fetchone()
        old = [number for key in keys if (number := newest.get(key, middle + 1)) <= middle]
        rows = [
            connection.execute("select key, value from answers where number = ?", (number,)).fetchone()
            for number in old
        ]
        self._add(connection, rows)

    def _add(self, connection: sqlite3.Connection, rows: Sequence[tuple[bytes, bytes]]) -> None:
        numbered = ((number, *row) for number, row in enumerate(rows, start=self._index.last(connection) + 1))
        connection.executemany("insert into answers values (?, ?, ?)", numbered)
        self._uncounted += sum(len(value) for _, value in rows)
        self._count(connection)

    def _count(self, connection: sqlite3.Connection) -> None:
        """Count the written bytes and remove the excess, from time to time."""
        cached_bytes(connection)  # mends a damaged count before it is added to
        counted = self._index.extend(connection, least=1 if self._uncounted > self._size // UNCOUNTED_SHARE else None)
        if counted is None:
            return
        self._uncounted = 0
        # An index that was lost is built of all rows: none of them counts twice.
        added = "(select coalesce(sum(length(value)), 0) from answers where number > ? and number <= ?)"
        connection.execute(f"update answers_size set bytes = {'bytes + ' if counted[0] else ''}{added}", counted)
        size = cached_bytes(connection)
        if size > self._size:
            self._remove_oldest(connection, size - self._size)

    def _remove_oldest(self, connection: sqlite3.Connection, excess: int) -> None:
        """Remove the oldest replies that together have so many bytes."""
        freed, last = 0, 0
        for number, length in connection.execute("select number, length(value) from answers order by number"):
            if freed >= excess:
                break
            freed, last = freed + length, number
        prefixes = connection.execute(
            "select substr(key, 1, ?), number from answers where number <= ? order by 1", (PREFIX_BYTES, last)
        ).fetchall()
        connection.executemany("delete from answers_index where prefix = ? and number = ?", prefixes)
        connection.execute("delete from answers where number <= ?", (last,))
        connection.execute("update answers_size set bytes = bytes - ?", (freed,))


def cached_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of all replies in the index; a damaged count is made again."""
    found = connection.execute("select bytes from answers_size").fetchone()
    if found is not None and isinstance(found[0], int) and found[0] >= 0:
        return found[0]
    connection.execute("delete from answers_size")
    connection.execute(f"insert into answers_size select {INDEXED_BYTES}")
    return int(connection.execute("select bytes from answers_size").fetchone()[0])
