"""Files and paths: which may be read and written (regular files, links that stay in their project), as UTF-8, never
half written.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from errno import ELOOP
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from promptkit.errors import InputError, Problem, StoreFailed, nearest, place

MAX_FILE_BYTES = 256_000_000
"""The most bytes of a file that is read whole."""

_NEW_FILE = 0o666
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_PART_BYTES = 1 << 16
# Not on Windows. A pipe that took a file's place after it was checked must not block.
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
Stamp = tuple[int, int]
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _FileSnapshot:
    """Files as they were at the first look."""

    stamps: dict[Path, Stamp | None] = field(default_factory=dict)
    contents: dict[Path, bytes] = field(default_factory=dict)
    found: dict[Hashable, Any] = field(default_factory=dict)


_snapshot: ContextVar[_FileSnapshot | None] = ContextVar("held_files", default=None)


@contextlib.contextmanager
def frozen_files() -> Iterator[None]:
    """Freeze files inside the block, and in tasks that it starts: each stays as it was at the first look."""
    token = _snapshot.set(_snapshot.get() or _FileSnapshot())
    try:
        yield
    finally:
        _snapshot.reset(token)


def without_paths(text: str, root: Path) -> str:
    """Return a text without this machine's paths to a folder (which become relative) and to the user's files (`~`)."""
    if root != Path(root.anchor):
        text = text.replace(f"{root}{os.sep}", "").replace(str(root), ".")
    home = Path.home()
    return text if home == Path(home.anchor) else text.replace(str(home), "~")


def file_stamp(path: Path) -> Stamp | None:
    """Return a file's or folder's time in nanoseconds and size in bytes, which change when it does.

    None where it is not there, or its name is too long.
    """
    held = _snapshot.get()
    if held is None:
        return _stamp(path)
    if path not in held.stamps:
        held.stamps[path] = _stamp(path)
    return held.stamps[path]


def first_found(name: Hashable, find: Callable[[], Found | None]) -> Found | None:
    """Return the result of `find` for a name; where files are frozen, its first result."""
    held = _snapshot.get()
    if held is None:
        return find()
    if name not in held.found:
        if (found := find()) is None:
            return None
        held.found[name] = found
    return cast(Found, held.found[name])


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


def read_bytes(path: Path) -> bytes:
    """Return the content of a file. Raises InputError; for a missing file with the nearest name in the folder."""
    held = _snapshot.get()
    if held is not None and path in held.contents:
        return held.contents[path]
    file_stamp(path)  # Taken before the content: a later stamp would stand for content that was not read.
    content = read_uncached(path)
    if held is not None:
        held.contents[path] = content
    return content


def read_uncached(path: Path) -> bytes:
    """Return the content of a file at this moment, whether files are frozen or not. Raises InputError."""
    try:
        with open_file(path) as file:
            return _whole(file)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read its bytes. Raises InputError, at once, for a pipe or a device too."""
    try:
        regular_status(path)
        descriptor = os.open(path, os.O_RDONLY | _BINARY)
        with _closing_if_refused(descriptor):
            check_regular(os.fstat(descriptor))
        return open(descriptor, "rb")
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def _whole(file: BinaryIO) -> bytes:
    """Return the content of an open file. Its status may not tell the size: files in `/proc` have none."""
    parts, size = [], 0
    while part := file.read(_PART_BYTES):
        parts.append(part)
        size += len(part)
        if size > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB")
    return b"".join(parts)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without a byte order mark. Raises InputError."""
    return decode_bytes(read_bytes(path), file=str(place(path))).removeprefix("\ufeff")


def decode_bytes(data: bytes, *, file: str, first_line: int = 1) -> str:
    """Return UTF-8 bytes as text. Raises InputError with the place of the first byte that is wrong."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + first_line
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise InputError(Problem("not UTF-8", file, line, column, "save the file as UTF-8")) from None


def write_atomic(path: Path, data: str | bytes | Iterable[bytes], *, mode: int | None = None) -> None:
    """Write a file whole or not at all: readers find the old content or the new.

    Data that comes in parts is written part by part. A symlink's target is written. `mode` is the permissions; left
    out, those of the old file, else the umask's. Raises StoreFailed, also where something else than a regular file is
    there, or a symlink leads out of the project (see `destination`).
    """
    whole = data.encode() if isinstance(data, str) else data
    content = [whole] if isinstance(whole, bytes) else whole
    with _write_failures(path):
        target = destination(path)
        permissions = mode if mode is not None else _permissions(target)
        temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
        try:
            _write_new(temporary, content, permissions)
            _check_replaced(target)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_new_files(files: Mapping[Path, str | bytes]) -> list[Path]:
    """Write files that are not there yet, with their folders, and return their paths: all of them or none.

    Raises InputError with every file that is there already, and StoreFailed.
    """
    there = [str(path) for path in files if os.path.lexists(path)]
    if there:
        what = "this file is" if len(there) == 1 else "these files are"
        raise InputError(Problem(f"{what} there already: {', '.join(there)}", hint="nothing was written"))
    for parent in sorted({path.parent for path in files}):
        make_folder(parent)
    written: list[Path] = []
    try:
        for path, content in files.items():
            write_atomic(path, content)
            written.append(path)
    except BaseException:
        for path in written:
            remove_file(path)
        raise
    return written


def check_writable(path: Path) -> None:
    """Raise StoreFailed where something else than a regular file, or the place for one, is at a path."""
    with _write_failures(path):
        destination(path)


def remove_file(path: Path) -> None:
    """Remove a file, or the link to one, where it is there. Raises StoreFailed where something else is."""
    with _write_failures(path), contextlib.suppress(FileNotFoundError):
        if not path.is_symlink():
            regular_status(path)
        path.unlink()


def write_private(path: Path, data: str | bytes | Iterable[bytes]) -> None:
    """As `write_atomic`, but a new file is readable for its owner only. Raises StoreFailed."""
    write_atomic(path, data, mode=None if os.path.exists(path) else PRIVATE_FILE)


def create_private(path: Path) -> None:
    """Make an empty file for its owner only, whatever the umask, unless it is there. Raises StoreFailed."""
    with _write_failures(path), contextlib.suppress(FileExistsError):
        target = destination(path)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        target.chmod(PRIVATE_FILE)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where they are missing. Raises StoreFailed."""
    try:
        if find_root(Path(os.path.abspath(path)).parent) is not None:
            check_inside(path)
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        message = f"the folder {place(path)} cannot be made: {reason(error)}"
        raise StoreFailed(message, hint=write_hint(error)) from error


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, in one write, so that lines of several processes never mix; the file is made if missing.

    A line that a killed process left unfinished is ended first. Raises StoreFailed.
    """
    with _write_failures(path), open_to_append(path) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        unfinished = file.read(1) not in (b"", b"\n")
        file.write((b"\n" if unfinished else b"") + line.encode("utf-8") + b"\n")


def open_to_append(path: Path) -> FileIO:
    """Open a regular file to read it and to write at its end; it is made if missing. Raises StoreFailed."""
    with _write_failures(path):
        target = destination(path)
        descriptor = os.open(target, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, _NEW_FILE)
        with _closing_if_refused(descriptor):
            check_regular(os.fstat(descriptor))
        return FileIO(descriptor, "r+")


@contextlib.contextmanager
def _write_failures(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise StoreFailed(f"{place(path)} cannot be written: {reason(error)}", hint=write_hint(error)) from error


@contextlib.contextmanager
def _closing_if_refused(descriptor: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(descriptor)
        raise


def _check_replaced(target: Path) -> None:
    """Raise NotRegular where another process has put something else in the file's place since it was checked."""
    with contextlib.suppress(FileNotFoundError):
        check_regular(target.lstat())


@contextlib.contextmanager
def writing_text(path: Path) -> Iterator[Callable[[str], None]]:
    """Replace a file, and give the block a function that appends text, which others see immediately.

    A new file is readable for its owner only. Raises StoreFailed, as `write_atomic` does.
    """
    create_private(path)
    with open_to_append(path) as file:
        with _write_failures(path):
            file.truncate(0)

        def add(text: str) -> None:
            data = memoryview(text.encode("utf-8"))
            with _write_failures(path):
                while data:
                    data = data[file.write(data) :]

        yield add


def _permissions(target: Path) -> int | None:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None


def _write_new(path: Path, content: Iterable[bytes], mode: int | None) -> None:
    # The mode is set on opening: a file meant for its owner is never open to others, not even empty.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, _NEW_FILE if mode is None else mode)
    with open(descriptor, "wb") as file:
        file.writelines(content)
    if mode is not None:
        path.chmod(mode)


STORE_FOLDER = ".promptkit"
SETTINGS_FILE = "promptkit.yaml"
"""The file that makes a folder the root of a project."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegular(OSError):
    """A path holds something else than a regular file: the reason names it, the hint says what to do instead."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(None, f"it is {what}")
        self.hint = hint


def resolved(path: Path) -> Path:
    """Return an absolute path with its links followed, as far as they lead; opening it reports any problem."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # A NUL, or a folder that nobody may enter.
        return path.absolute()


def resolved_once(path: Path) -> Path:
    """As `resolved`, but where files are frozen the links of a path are followed at the first look alone."""
    return first_found(path, lambda: resolved(path)) or path


def find_root(folder: Path) -> Path | None:
    """Return the nearest of a folder and its parents that is the root of a project."""
    return next((place for place in (folder, *folder.parents) if os.path.lexists(place / SETTINGS_FILE)), None)


def regular_status(path: Path) -> os.stat_result:
    """Return the status of a regular file, links followed. Raises NotRegular, OSError, and ValueError for a NUL."""
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise NotRegular("a symlink to a file that is not there", "remove the link, or make the file") from None
        raise
    except OSError as error:
        if error.errno == ELOOP:
            raise NotRegular("a symlink that leads back to itself", "remove the link") from None
        raise
    check_regular(status)
    return status


def check_regular(status: os.stat_result) -> None:
    """Raise NotRegular for the status of anything but a regular file."""
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise NotRegular(_KINDS.get(kind, "not a file"), "name a regular file")


def check_there(path: Path) -> None:
    """Raise InputError where there is no regular file, with the nearest name in the folder."""
    try:
        regular_status(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def check_named(path: Path) -> None:
    """As `check_there`, for a file that another one names: the caller sets the error's place."""
    try:
        check_there(path)
    except InputError as error:
        (wrong,) = error.problems
        raise InputError(f"{wrong.file}: {wrong.message}", hint=wrong.hint) from None


def unreadable(path: Path, error: Exception) -> InputError:
    """Return the error of a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return InputError(Problem("no such file", place(path), hint=_nearest_file(path)))
    hint = error.hint if isinstance(error, NotRegular) else None
    return InputError(Problem(f"cannot be read: {reason(error)}", place(path), hint=hint))


def destination(path: Path) -> Path:
    """Return the file that is written where `path` is: itself, or the regular file that its links lead to.

    Raises NotRegular where something else is there, or a link leads out of the project that the path lies in (outside
    of projects: of its folder); OSError where the folder is missing; ValueError for a NUL.
    """
    try:
        regular_status(path)
    except FileNotFoundError:
        if not os.path.isdir(path.parent):
            raise FileNotFoundError(None, f"there is no folder `{place(path.parent)}`") from None
    check_inside(path)
    return resolved(path)


def check_inside(path: Path) -> None:
    """Raise NotRegular where links lead out of the project that a path lies in; outside of projects, of its folder."""
    target, folder = resolved(path), Path(os.path.abspath(path)).parent
    root = find_root(folder)
    if not target.is_relative_to(resolved(root or folder)):
        what = f"a symlink that leads out of the {'project' if root else 'folder'}"
        raise NotRegular(what, f"name what is meant itself: {target}")


def check_destination(path: Path, name: str, *, instead: str | None = None) -> None:
    """Raise InputError where a file could not be written at `path`, before any work is paid for.

    `name` is its name in the message; `instead` is the hint for a path that is not a file on disk.
    """
    try:
        target = destination(path)
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(None, f"nobody may write to the folder {place(target.parent)}")
    except (OSError, ValueError) as error:
        hint = write_hint(error)
        if instead is not None and isinstance(error, NotRegular):
            hint = f"{hint}; {instead}"
        raise InputError(f"`{name}`: {reason(error)}", hint=hint) from None


def write_hint(error: Exception) -> str | None:
    """Return the hint for a file that cannot be written."""
    if isinstance(error, NotRegular):
        return error.hint
    return "make the folder first" if isinstance(error, FileNotFoundError) else None


def reason(error: Exception) -> str:
    """Return the system's message for a path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def misplaced(path: Path) -> str | None:
    """Return the hint for a missing path that is there from its project's root, as the file that names it writes it."""
    root = find_root(path.parent)
    try:
        parts = Path(os.path.normpath(path)).relative_to(root).parts if root else ()
        for up in range(1, len(parts)):
            if root and root.joinpath(*parts[up:]).exists():
                return f"did you mean `{'/'.join(('..',) * up + parts[up:])}`?"
    except (OSError, ValueError):
        pass
    return None


def _nearest_file(path: Path) -> str | None:
    if found := misplaced(path):
        return found
    folder = path.parent
    try:
        return nearest(path.name, (entry.name for entry in folder.iterdir() if entry.is_file()))
    except (OSError, ValueError):
        return f"there is no folder {place(folder)}"
