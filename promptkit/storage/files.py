"""Text files in and out: UTF-8, and never half written."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without a byte order mark. Raises InputError, with the nearest name there is."""
    raise NotImplementedError


def write_atomic(path: Path, data: str | bytes, *, mode: int | None = None) -> None:
    """Write a file whole or not at all: who reads it finds the old content or the new.

    A symlink's target is written. `mode` is the permissions; left out, those of the old file, else the umask's.
    Raises StoreFailed.
    """
    raise NotImplementedError
