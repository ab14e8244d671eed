"""Digests of the files that an answer was made of, by which a later run sees that one of them has changed.

A file has a name within its project: `data/index.json`. `data/` is the list of a folder's names, `data/*.txt` stands
for the names and contents of the files that match, and `$NAME` is an environment variable.
"""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
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

MOST_NAMES = 100
"""Names of one cell, above which files are grouped by their top folder."""

GROUP_SECONDS = 10.0
"""The time for which the digests of a group are used again, since they take a look at each of its files."""

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
    """Return the digest of the names and contents of the files that match a pattern."""
    return _joined_digests(_matching_digests(root, pattern))


def matching_files(root: Path, pattern: str) -> list[str]:
    """Return the files below a folder that match a pattern such as `data/*.txt`, sorted, as paths from the folder."""
    found = glob.glob(pattern, root_dir=root, recursive=True, include_hidden=True)
    return sorted(path.replace(os.sep, "/") for path in found if os.path.isfile(root / path))


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
    return group_digest(root, name) if _is_pattern(name) else file_digest(root / name)


def stands_for_a_file(name: str, root: Path) -> bool:
    """Tell whether there is a file that a name stands for."""
    return bool(matching_files(root, name)) if _is_pattern(name) else os.path.isfile(root / name)


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def grouped_digests(digests: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return digests by name, with many files as groups.

    More than MOST_FILES of one folder and ending are one name, `data/*.txt`. Of more than MOST_NAMES then, the files of
    one ending below a top folder are, `data/**/*.txt`.
    """
    grouped = _by_pattern(digests, root, lambda folder, ending: f"{glob.escape(folder)}*{ending}", MOST_FILES)
    if len(grouped) > MOST_NAMES:
        files = {name: digest for name, digest in digests.items() if "/" in name.strip("/")}
        deep = _by_pattern(files, root, lambda folder, ending: f"{glob.escape(folder.split('/')[0])}/**/*{ending}", 0)
        grouped = {**{name: digest for name, digest in digests.items() if name not in files}, **deep}
    return dict(sorted(grouped.items()))


def _by_pattern(
    digests: Mapping[str, str], root: Path, pattern_of: Callable[[str, str], str], most: int
) -> dict[str, str]:
    """Return digests by name, with more files than `most` that share a pattern under that pattern."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    grouped: dict[str, str] = {}
    for name, digest in digests.items():
        folder, slash, last = name.rpartition("/")
        if name.startswith("$") or not last or _is_pattern(name):
            grouped[name] = digest
        else:
            groups[pattern_of(f"{folder}{slash}", glob.escape(os.path.splitext(last)[1]))].append(name)
    for pattern, names in groups.items():
        if len(names) <= most:
            grouped |= {name: digests[name] for name in names}
        else:
            files = _recent_digests(pattern, root, int(time.monotonic() / GROUP_SECONDS))
            is_changing = any(digests[name] != files.get(name) for name in names)
            grouped[pattern] = CHANGING if is_changing else _joined_digests(files)
    return grouped


@lru_cache(maxsize=1_000)
def _recent_digests(pattern: str, root: Path, _period: int) -> Mapping[str, str]:
    """Return the digests of the files that match a pattern, taken once in GROUP_SECONDS."""
    return _matching_digests(root, pattern)


def _matching_digests(root: Path, pattern: str) -> dict[str, str]:
    return {name: file_digest(root / name) for name in matching_files(root, pattern)}


def _joined_digests(digests: Mapping[str, str]) -> str:
    return _joined(f"{name}\0{digest}" for name, digest in digests.items())


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
