"""Digests of the files that an answer was made of, by which a later run sees that one of them has changed.

A file has a name within its project: `data/index.json`. `data/` is the list of a folder's names, `data/*.txt` stands
for the names and contents of the files that match, and `$NAME` is an environment variable.
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

_PART_BYTES = 1 << 18
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
    return stamped_digest(path, stamp_now(path))


def stamped_digest(path: str | Path, stamp: Stamp | None) -> str:
    """Return the digest of the content of a file that has a stamp."""
    return ABSENT if stamp is None else _content_digest(str(path), stamp)


@lru_cache(maxsize=100_000)
def _content_digest(path: str, stamp: Stamp) -> str:
    try:
        with open_file(Path(path)) as file:
            digest = _blake()
            while part := file.read(_PART_BYTES):
                digest.update(part)
    except (InputError, OSError) as error:
        return f"unreadable: {type(error).__name__}"
    return digest.hexdigest() if stamp_now(path) == stamp else CHANGING


def listing_digest(folder: str | Path) -> str:
    """Return the digest of the names in a folder, hidden ones left out."""
    return ABSENT if not os.path.isdir(folder) else _joined(_shown_names(folder))


def group_digest(root: Path, pattern: str) -> str:
    """Return the digest of the names and contents of the files that match a pattern, hidden ones left out."""
    return _joined(
        f"{path.relative_to(root).as_posix()}\0{file_digest(path)}" for path in matching_files(root, pattern)
    )


def matching_files(root: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match a pattern such as `data/*.txt`, sorted, hidden ones left out."""
    found = (path for path in root.glob(pattern) if path.is_file())
    return sorted(path for path in found if not any(_is_hidden(part) for part in path.relative_to(root).parts))


def variable_digest(name: str) -> str:
    """Return the digest of an environment variable's value, which does not show it."""
    value = os.environ.get(name)
    return ABSENT if value is None else content_key(f"{name}={value}").hex()


def digest_of(name: str, root: Path) -> str:
    """Return the digest of what a name stands for in the project of a root, as that is now."""
    if name.startswith("$"):
        return variable_digest(name[1:])
    if name.endswith("/"):
        return listing_digest(root / name)
    return group_digest(root, name) if "*" in name else file_digest(root / name)


def grouped_digests(digests: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return digests by name, with MOST_FILES and more of one folder and ending as one group: `data/*.txt`."""
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name in digests:
        folder, slash, last = name.rpartition("/")
        groups[f"{folder}{slash}", os.path.splitext(last)[1] if last else "/"].append(name)
    grouped: dict[str, str] = {}
    for (folder, ending), names in groups.items():
        if len(names) <= MOST_FILES or ending == "/" or "*" in folder:
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
    yield from (name for name in names if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _joined(parts: Iterable[str]) -> str:
    return content_key("\n".join(parts)).hex()
