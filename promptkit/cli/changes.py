"""Following files: one event for each change of content, however an editor saves."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing
from pathlib import Path

GROUPED = 60
"""Milliseconds over which the changes of one save are gathered at most."""
QUIET = 15
"""Milliseconds without a further change after which a save counts as done."""
LOOK = 500
"""Milliseconds after which the files are looked at in any case: what is saved while a watch begins has no event."""
ENDINGS = {".csv", ".j2", ".json", ".jsonl", ".py", ".tsv", ".txt", ".yaml", ".yml"}
"""Of files whose coming and going in a folder counts; editors put others beside what they save."""
GONE = 0.05
"""Seconds that a file may be away while an editor renames another over it."""


class Changes:
    """Follows the content of files, and which files a folder has.

    `watched` is asked again after each change, as files come and go with edits.
    """

    def __init__(self, watched: Callable[[], Collection[Path]]) -> None:
        self._watched = watched
        self._digests: dict[Path, tuple[tuple[int, int, int], str]] = {}
        self._seen = self._contents()

    async def follow(self) -> AsyncIterator[frozenset[Path]]:
        """Yield the files whose content has changed since the last time."""
        from watchfiles import awatch

        while True:
            self._take_in()
            folders = self._folders()
            saves = awatch(
                *folders, debounce=GROUPED, step=QUIET, rust_timeout=LOOK, yield_on_timeout=True, recursive=False
            )
            async with aclosing(saves):
                async for _ in saves:
                    if changed := await self._changed():
                        yield changed
                        self._take_in()
                    if self._folders() != folders:
                        break

    async def _changed(self) -> frozenset[Path]:
        """Return what has changed since the last call; a file watched for the first time has not."""
        now = self._contents()
        if any(digest is None and self._seen.get(path) for path, digest in now.items()):
            await asyncio.sleep(GONE)
            now = self._contents()
        changed = frozenset(path for path in now.keys() & self._seen.keys() if now[path] != self._seen[path])
        self._seen = now
        return changed

    def _take_in(self) -> None:
        """Begin to follow what is watched for the first time, as it is now."""
        self._seen = {**self._contents(), **self._seen}

    def _folders(self) -> frozenset[Path]:
        folders = (path if path.is_dir() else path.parent for path in self._watched())
        return frozenset(folder for folder in folders if folder.is_dir())

    def _contents(self) -> dict[Path, str | None]:
        """Return a digest of each file and folder, None where it is not there."""
        return {path: self._digest(path) for path in self._watched()}

    def _digest(self, path: Path) -> str | None:
        """Return what tells one state from another; a file whose inode, time and size stayed is not read again."""
        try:
            if path.is_dir():
                return "\n".join(sorted(child.name for child in path.iterdir() if child.suffix in ENDINGS))
            if not path.is_file():
                return None
            status = path.stat()
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            if path not in self._digests or self._digests[path][0] != mark:
                self._digests[path] = (mark, hashlib.sha256(path.read_bytes()).hexdigest())
        except OSError:
            return None
        return self._digests[path][1]
