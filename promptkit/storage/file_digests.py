"""Digests of the files that an answer was made of, by which a later run sees that one of them has changed.

A file has a name within its project: `data/index.json`. `data/` is the list of a folder's names; `data/*.txt` are the
names and contents of its files with that ending.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path

from promptkit.errors import InputError
from promptkit.storage.files import Stamp, open_file
from promptkit.storage.hashes import KEY_BYTES, content_key

ABSENT = "absent"
"""The digest of a file that is not there."""

CHANGING = "changed while it was read"
"""The digest of a file that changed while an answer was made of it: no file has it later."""

MOST_FILES = 20
"""Files of one folder with one ending that are named one by one; more are named together."""

_blake = partial(hashlib.blake2b, digest_size=KEY_BYTES)


def stamp_now(path: str | Path) -> Stamp | None:
    """Return a file's time of change in nanoseconds and its size, None where it is not there; never a frozen one."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


def file_digest(path: str | Path) -> str:
    """Return the digest of a file's content as it is now; it is read again only when its stamp has changed."""
    stamp = stamp_now(path)
    return ABSENT if stamp is None else _content_digest(str(path), stamp)


@lru_cache(maxsize=100_000)
def _content_digest(path: str, stamp: Stamp) -> str:
    try:
        with open_file(Path(path)) as file:
            digest = hashlib.file_digest(file, _blake).hexdigest()
    except (InputError, OSError) as error:
        return f"unreadable: {type(error).__name__}"
    return digest if stamp_now(path) == stamp else CHANGING


def listing_digest(folder: str | Path) -> str:
    """Return the digest of the names in a folder, hidden ones left out."""
    return ABSENT if not os.path.isdir(folder) else _joined(_shown_names(folder))


def group_digest(folder: str | Path, ending: str) -> str:
    """Return the digest of the names and contents of the files in a folder that have an ending."""
    files = (os.path.join(folder, name) for name in _shown_names(folder) if os.path.splitext(name)[1] == ending)
    return _joined(f"{os.path.basename(file)}\0{file_digest(file)}" for file in files if os.path.isfile(file))


def digest_of(name: str, root: Path) -> str:
    """Return the digest of what a name stands for in the project of a root, as it is now."""
    folder, _, last = name.rpartition("/")
    if not last:
        return listing_digest(root / folder)
    if last.startswith("*"):
        return group_digest(root / folder, last[1:])
    return file_digest(root / name)


def grouped_digests(digests: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return digests by name, with MOST_FILES and more of one folder and ending as one group: `data/*.txt`."""
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name in digests:
        folder, slash, last = name.rpartition("/")
        groups[f"{folder}{slash}", os.path.splitext(last)[1] if last else "/"].append(name)
    grouped: dict[str, str] = {}
    for (folder, ending), names in groups.items():
        if len(names) <= MOST_FILES or ending == "/":
            grouped |= {name: digests[name] for name in names}
        else:
            is_changing = any(digests[name] == CHANGING for name in names)
            grouped[f"{folder}*{ending}"] = CHANGING if is_changing else digest_of(f"{folder}*{ending}", root)
    return dict(sorted(grouped.items()))


class CurrentDigests:
    """The digests of a project's files during one run: each is taken once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, str] = {}

    def changed(self, reads: Mapping[str, str]) -> list[str]:
        """Return the names whose digest is another now."""
        return [name for name, digest in reads.items() if self._now(name) != digest]

    def _now(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = digest_of(name, self._root)
        return self._known[name]


def _shown_names(folder: str | Path) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    yield from (name for name in names if not name.startswith((".", "__pycache__")))


def _joined(parts: Iterable[str]) -> str:
    return content_key("\n".join(parts)).hex()
