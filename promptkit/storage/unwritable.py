"""Stores that cannot be written: read where they lie, and copied to a folder of the user for what is added to them."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from promptkit.errors import StoreFailed, place
from promptkit.storage.database import MIGRATIONS, version
from promptkit.storage.file_digests import stamp_now
from promptkit.storage.files import PRIVATE_FILE, PRIVATE_FOLDER, make_folder, reason, resolved
from promptkit.storage.hashes import content_key
from promptkit.storage.store import FILE, GIGABYTE, Store

_LOG = f"{FILE}-wal"


def substitute_folder(folder: Path, cache: Path) -> Path:
    """Return the folder in the user's `cache` whose store stands for the unwritable one in a project's `folder`.

    It is another one after the unwritable store has changed.
    """
    file = resolved(folder) / FILE
    return cache / "stores" / f"{file.parents[1].name}-{content_key(f'{file} {stamp_now(file)}').hex()[:12]}"


def open_substitute(folder: Path, cache: Path, *, cache_size: int = GIGABYTE) -> Store:
    """Open the store that stands for an unwritable one; at first it is a copy of that. Raises StoreFailed."""
    substitute = substitute_folder(folder, cache)
    if not (substitute / FILE).is_file():
        make_folder(substitute)
        with suppress(OSError):  # A file system without permissions keeps its own.
            substitute.chmod(PRIVATE_FOLDER)
        _copy(folder, substitute)
    return Store.open(substitute, cache_size=cache_size)


@contextmanager
def store_to_read(folder: Path) -> Iterator[Store]:
    """Open a store that cannot be written, to read it. Raises StoreFailed.

    A store with a write-ahead log, or of an older promptkit, is copied to a temporary folder first.
    """
    with TemporaryDirectory(prefix="promptkit-") as temporary:
        if _is_readable_in_place(folder):
            opened = Store.open_to_read(folder / FILE)
        else:
            _copy(folder, Path(temporary))
            opened = Store.open(Path(temporary))
        with opened as store:
            yield store


def _is_readable_in_place(folder: Path) -> bool:
    log = stamp_now(folder / _LOG)
    if log is not None and log[1]:
        return False
    try:
        with closing(sqlite3.connect(f"{(folder / FILE).absolute().as_uri()}?immutable=1", uri=True)) as connection:
            return version(connection) == len(MIGRATIONS)
    except sqlite3.Error as error:
        raise StoreFailed(f"the store {place(folder / FILE)}: {error}") from error


def _copy(source: Path, target: Path) -> None:
    """Copy a store's readable files, if there are any; the database takes its place last. Raises StoreFailed."""
    try:
        for name in (_LOG, FILE):
            if os.access(source / name, os.R_OK):
                new = target / f".{secrets.token_hex(4)}.tmp"
                shutil.copyfile(source / name, new)
                new.chmod(PRIVATE_FILE)
                os.replace(new, target / name)
    except OSError as error:
        raise StoreFailed(f"the store {place(source / FILE)} cannot be copied: {reason(error)}") from error
