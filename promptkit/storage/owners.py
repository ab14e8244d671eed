"""Who is at work on a store: an opening of it says so, and says it again from time to time.

What a dead process held can then be told from what a live one holds: its claims are free, its runs were interrupted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sqlite3
import time

SILENT_SECONDS = 120.0

# The openings of this very process: one with our pid that is none of these is from a process before us.
_OURS: set[int] = set()


class Owner:
    """One opening of a store. The methods run inside a writing transaction.

    A number is drawn and not counted up, so that it is the same after a transaction that was rolled back.
    """

    def __init__(self) -> None:
        self.number = secrets.randbits(62)
        self.is_known = False
        _OURS.add(self.number)

    def sign(self, connection: sqlite3.Connection, *, beats: bool) -> None:
        """Make this opening known. With `beats` it promises to come back within SILENT_SECONDS, as often as it can."""
        seen = _now() if beats else None
        connection.execute(
            "insert into owners values (?, ?, ?, ?)"
            " on conflict (number) do update set seen = coalesce(excluded.seen, seen)",
            (self.number, os.getpid(), _host(), seen),
        )
        self.is_known = True

    def leave(self, connection: sqlite3.Connection) -> None:
        """Take back all that this opening holds."""
        bury(connection, self.number)

    def forget(self) -> None:
        """End this opening within the process."""
        _OURS.discard(self.number)


def is_alive(connection: sqlite3.Connection, number: int) -> bool:
    """Say whether the process behind an owner can still do what it began.

    A pid of this host that is gone says no; so do 120 seconds without a sign, which also catches a pid given out again.
    """
    found = connection.execute("select pid, host, seen from owners where number = ?", (number,)).fetchone()
    if found is None:
        return False
    pid, host, seen = found
    if not isinstance(pid, int) or not isinstance(seen, float | int | None):
        return False  # damaged: nobody can be asked
    if host == _host() and (not _has_process(pid) or (pid == os.getpid() and number not in _OURS)):
        return False
    # A clock that was set back must not keep a claim for ever.
    return seen is None or abs(_now() - seen) <= SILENT_SECONDS


def bury(connection: sqlite3.Connection, number: int) -> None:
    """Free all that an owner claimed. Its runs stay: `Store.close_dead_runs` ends them."""
    connection.execute("delete from claims where owner = ?", (number,))
    connection.execute("delete from owners where number = ?", (number,))


def _now() -> float:
    return time.time()


def _host() -> str:
    """Return what two processes have in common exactly when they see each other's pids."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space}".strip()


def _has_process(pid: int) -> bool:
    if os.name == "nt":
        return True  # Signal 0 is ctrl-C there; the time decides alone.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
