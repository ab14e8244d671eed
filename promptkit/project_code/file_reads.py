"""The files of a project that its Python opens for reading, seen by an audit hook.

A file may be opened once and used by many calls (an index that a module keeps), so files are noted by the module that
opened them: a call has read what its module and the modules that this one imports have opened so far.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.util import source_from_cache
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from promptkit.project_code.imported import imported_files
from promptkit.storage.file_digests import (
    CHANGING,
    file_digest,
    grouped_digests,
    listing_digest,
    stamp_now,
    stamped_digest,
)
from promptkit.storage.files import STORE_FOLDER, Stamp, find_root, resolved

_PROMPTKIT = f"{Path(__file__).resolve().parents[1]}{os.sep}"
_CALLER = str(Path(__file__).resolve().with_name("reference.py"))
_SHIPPED = f"{_PROMPTKIT}library{os.sep}"
_IGNORED_FOLDERS = frozenset({STORE_FOLDER, ".git", "site-packages", "dist-packages", "node_modules"})
_LISTINGS = frozenset({"os.listdir", "os.scandir"})
_EVENTS = frozenset({"open", "os.rename", "sqlite3.connect", *_LISTINGS})
_LONGEST_PATH = 4_096
MOST_HASHED_BYTES = 1_000_000
"""Bytes of files that are hashed on the event loop; more are hashed in a thread."""


class _Opened(NamedTuple):
    """A file that a module opened: its stamp then, and the time on `_clock` when that was first another."""

    stamp: Stamp | None
    since: int


class _Call(NamedTuple):
    """A call of a module's code: the time on `_clock` at which it began, and the stamps of files that it opened."""

    module: str
    began: int
    opened: dict[str, Stamp | None]


_opened: dict[str, dict[str, _Opened]] = {}  # by the module's file, then by the path; a folder ends with a slash
_written: set[str] = set()
_databases: set[str] = set()  # opened by sqlite3, to read or to write
_roots: dict[str, str] = {}  # a project's root as it may be written, with its links followed
_running: Counter[str] = Counter()
_clock = count(1)
_lock = threading.Lock()
_is_watching = False


class FileReads:
    """The files that were read for one cell or score, with their digests, by absolute path."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    @property
    def digests(self) -> Mapping[str, str]:
        return self._digests

    def add(self, digests: Mapping[str, str]) -> None:
        """Add files. One that is there with another digest has changed meanwhile."""
        for path, digest in digests.items():
            known = self._digests.setdefault(path, digest)
            if known != digest:
                self._digests[path] = CHANGING

    def record(self, root: Path) -> dict[str, str]:
        """Return the digests by names within a project; a file outside of it keeps its path."""
        prefix = f"{resolved(root)}{os.sep}"
        names = {_name_of(path, prefix): digest for path, digest in self._digests.items()}
        return grouped_digests(names, root)


def _name_of(path: str, prefix: str) -> str:
    """Return a path without a prefix, with slashes, which is neither empty nor mistaken for a variable."""
    name = path.removeprefix(prefix).replace(os.sep, "/")
    return f"./{name}" if name != path and (not name or name.startswith("$")) else name


_call: ContextVar[_Call | None] = ContextVar("running_call", default=None)
_collected: ContextVar[FileReads | None] = ContextVar("file_reads", default=None)


@contextmanager
def collecting_reads() -> Iterator[FileReads]:
    """Collect what project code reads inside the block, and in tasks and threads that it starts."""
    reads = FileReads()
    token = _collected.set(reads)
    try:
        yield reads
    finally:
        _collected.reset(token)


def note_reads(digests: Mapping[str, str]) -> None:
    """Add files to those that are being collected."""
    if digests and (reads := _collected.get()) is not None:
        reads.add(digests)


@contextmanager
def running_code(file: Path | None, root: Path) -> Iterator[None]:
    """Mark the code of a file as running inside the block, and note afterwards what it has read.

    Use it in a thread: files are hashed at the end.
    """
    with _marked(file) as call:
        try:
            yield
        finally:
            if call is not None:
                note_reads(_reads_of(call, root))


@asynccontextmanager
async def running_async_code(file: Path | None, root: Path) -> AsyncIterator[None]:
    """As `running_code`, for code that runs on the event loop: large files are hashed in a thread."""
    with _marked(file) as call:
        try:
            yield
        except Exception:
            await _note_call(call, root)
            raise
        await _note_call(call, root)


async def _note_call(call: _Call | None, root: Path) -> None:
    if call is not None and _opened_bytes() > MOST_HASHED_BYTES:
        note_reads(await asyncio.to_thread(_reads_of, call, root))
    elif call is not None:
        note_reads(_reads_of(call, root))


@contextmanager
def _marked(file: Path | None) -> Iterator[_Call | None]:
    """Mark the code of a file as running, and yield the call; None where nothing is collected."""
    if file is None or not _is_watching or _collected.get() is None:
        yield None
        return
    call = _Call(_module_of(file), next(_clock), {})
    _running[call.module] += 1
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)
        _running[call.module] -= 1


def watch_reads(root: Path) -> None:
    """Begin to see what the Python of a project opens. The hook stays as long as the process."""
    global _is_watching
    with _lock:
        top = find_root(root) or root
        _roots.update({f"{path}{os.sep}": f"{resolved(top)}{os.sep}" for path in (resolved(top), os.path.abspath(top))})
        if not _is_watching:
            _is_watching = True
            sys.addaudithook(_on_event)


def forget_reads(file: Path) -> None:
    """Forget what a module has read, because it is loaded again."""
    _opened.pop(_module_of(file), None)
    _imported.cache_clear()


def _reads_of(call: _Call, root: Path) -> dict[str, str]:
    """Return the files that a call's module and those that it imports have read, with their digests."""
    imported = _imported(call.module, root)
    found: dict[str, str] = {path: file_digest(path) for path in imported if path != call.module}
    known = {call.module, *imported}  # Their content is in every key.
    waiting, seen = list(known), set(known)
    while waiting:
        for path, opened in list(_opened.get(waiting.pop(), {}).items()):
            if path in _written or path in known:
                continue
            if path in _databases and stamp_now(path) != opened.stamp:
                _written.add(path)  # By the code itself: a database that it keeps results in is no input.
                continue
            is_mixed = opened.since > call.began and call.opened.get(path) != opened.stamp
            digest = CHANGING if is_mixed else _digest_then(path, opened.stamp)
            found[path] = digest if found.get(path, digest) == digest else CHANGING
            if path.endswith(".py") and path not in seen:
                seen.add(path)
                waiting.append(path)
    return found


def _opened_bytes() -> int:
    opened = (file for files in list(_opened.values()) for file in list(files.values()))
    return sum(file.stamp[1] for file in opened if file.stamp)


def _digest_then(path: str, stamp: Stamp | None) -> str:
    """Return the digest of the content that a file had when it was opened: a module may have kept that."""
    return listing_digest(path) if path.endswith(os.sep) else stamped_digest(path, stamp)


@lru_cache(maxsize=500)
def _module_of(file: Path) -> str:
    return str(resolved(file))


@lru_cache(maxsize=500)
def _imported(module: str, root: Path) -> tuple[str, ...]:
    return tuple(str(resolved(file)) for file in imported_files(Path(module), root))


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    """Note a file that the project's Python opens. An audit hook: an exception would fail the operation."""
    if event in _EVENTS and arguments:
        try:
            _note(event, arguments)
        except Exception:
            return


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    is_renaming = event == "os.rename"  # A file that is written whole takes the place of another by its name.
    path = _project_path(arguments[1 if is_renaming else 0])
    if path is None:
        return
    is_listing = event in _LISTINGS
    openers, is_called = _openers(past_import=not is_listing)
    if not openers:
        return
    if is_renaming or (event == "open" and _writes(arguments[1], arguments[2])):
        # A script of the project that writes a file between two evaluations has changed an input. Bytecode that an
        # import writes has the path of its source here, which nobody wrote.
        if is_called and not os.fsdecode(arguments[1 if is_renaming else 0]).endswith(".pyc"):
            _written.add(path)
        return
    if event == "sqlite3.connect":
        _databases.add(path)
    name, stamp = (f"{path}{os.sep}", None) if is_listing else (path, stamp_now(path))
    if (call := _call.get()) is not None:
        call.opened[name] = stamp if call.opened.get(name, stamp) == stamp else None
    for module in openers:
        files = _opened.setdefault(module, {})
        known = files.get(name)
        if known is None or known.stamp != stamp:
            files[name] = _Opened(stamp, 0 if known is None else next(_clock))


def _project_path(path: object) -> str | None:
    """Return a path in a watched project; None for any other, and for what no answer depends on.

    Links below the root are not followed, because one may be led to another file.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    text = os.fsdecode(path)
    if len(text) > _LONGEST_PATH:
        return None
    text = os.path.abspath(text.removeprefix("file:").partition("?")[0] if text.startswith("file:") else text)
    if (root := _root_of(text)) is None:
        return None
    if text.endswith(".pyc"):
        text = source_from_cache(text)
    inside = text[len(root) :]
    return None if not _IGNORED_FOLDERS.isdisjoint(inside.split(os.sep)) else (_roots[root] + inside).rstrip(os.sep)


def _root_of(path: str) -> str | None:
    """Return the watched root, with a slash at its end, that a path is or lies in."""
    end = len(path)
    while end > 0:
        if (root := f"{path[:end]}{os.sep}") in _roots:
            return root
        end = path.rfind(os.sep, 0, end)
    return None


def _openers(*, past_import: bool) -> tuple[list[str], bool]:
    """Return the files of the project's modules on the stack, the innermost first, and if promptkit has called them.

    There are none where promptkit itself opens. In a thread that a library has started, these are all modules that run.
    `past_import` looks past the machinery of imports, which lists folders on its own account.
    """
    found: list[str] = []
    frame = sys._getframe(3)
    while frame is not None:
        kind, file = _kind_of(frame.f_code.co_filename, len(_roots))
        if kind == "import" and not past_import and not found:
            return [], False
        if kind == "promptkit":
            # A module of an installed package, which a project trusts, is known by its call alone.
            return found or ([call.module] if file == _CALLER and (call := _call.get()) is not None else []), True
        if kind == "project" and file not in found:
            found.append(file)
        frame = frame.f_back  # type: ignore[assignment]
    running = [module for module, calls in list(_running.items()) if calls]
    return found or running, bool(running)


@lru_cache(maxsize=10_000)
def _kind_of(file: str, _roots_known: int) -> tuple[Literal["project", "promptkit", "import", ""], str]:
    """Return whose code a file holds, and its path, links followed."""
    if file.startswith("<frozen importlib"):
        return "import", file
    if file.startswith(_PROMPTKIT) and not file.startswith(_SHIPPED):
        return "promptkit", file
    path = os.path.realpath(file)
    root = _root_of(path)
    is_own = root is not None and _IGNORED_FOLDERS.isdisjoint(path[len(root) :].split(os.sep))
    return ("project" if is_own else "", path)


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(sign in mode for sign in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
