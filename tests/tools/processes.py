"""The processes that a process started, as Linux tells them, and work for one of them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def state_of(process: int) -> str:
    """Return a process's state (`R` runs, `Z` ended and not yet collected), an empty text where there is none."""
    with suppress(OSError):
        return _fields(Path(f"/proc/{process}/stat"))[1]
    return ""


def children(parent: int) -> Iterator[tuple[int, str]]:
    """Yield the number and the name of each process that `parent` started."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name, _, started_by = _fields(folder / "stat")
            if int(started_by) == parent:
                yield int(folder.name), name


def running_threads(process: int) -> int:
    """Return how many threads of a process are at work."""
    states = []
    for stat in Path(f"/proc/{process}/task").glob("*/stat"):
        with suppress(OSError):
            states.append(_fields(stat)[1])
    return states.count("R")


def _fields(stat: Path) -> tuple[str, str, str]:
    """Return name, state and parent: the name stands in brackets and may hold blanks."""
    before, _, after = stat.read_text().rpartition(")")
    state, parent, *_ = after.split()
    return before.partition("(")[2], state, parent


def lock_database(path: str) -> None:
    """Lock an SQLite file until the process is ended; a file `locked` beside it says when."""
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        Path(path).with_name("locked").touch()
        time.sleep(60)
