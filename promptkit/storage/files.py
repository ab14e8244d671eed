"""Files in and out: UTF-8, and never half written."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from promptkit.errors import InputError, Problem, StoreFailed, nearest, place

_NEW_FILE = 0o666
Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Held:
    """Files as they were when they were first looked at."""

    stamps: dict[Path, Stamp | None] = field(default_factory=dict)
    contents: dict[Path, bytes] = field(default_factory=dict)


_held: ContextVar[_Held | None] = ContextVar("held_files", default=None)


@contextlib.contextmanager
def holding_files() -> Iterator[None]:
    """Inside the block, and in what it starts, a file stays as it was when it was first looked at or read whole."""
    token = _held.set(_held.get() or _Held())
    try:
        yield
    finally:
        _held.reset(token)


def file_stamp(path: Path) -> Stamp | None:
    """Return what changes when a file or folder does: its time in nanoseconds and its size in bytes.

    None where there is none, as of a name too long for one.
    """
    held = _held.get()
    if held is None:
        return _stamp(path)
    if path not in held.stamps:
        held.stamps[path] = _stamp(path)
    return held.stamps[path]


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


def read_bytes(path: Path) -> bytes:
    """Return what a file holds. Raises InputError, with the nearest name in the folder where the file is missing."""
    held = _held.get()
    if held is not None and path in held.contents:
        return held.contents[path]
    file_stamp(path)  # held from before the content: a stamp of later would tell others that they know the new one
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(Problem("no such file", place(path), hint=_nearest_file(path))) from None
    except (OSError, ValueError) as error:
        raise InputError(Problem(f"cannot be read: {_reason(error)}", place(path))) from None
    if held is not None:
        held.contents[path] = content
    return content


def check_there(path: Path) -> None:
    """Raise InputError, with the nearest name in the folder, where there is no such file."""
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(Problem("no such file", place(path), hint=_nearest_file(path))) from None
    except (OSError, ValueError) as error:
        raise InputError(Problem(f"cannot be read: {_reason(error)}", place(path))) from None


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
    """Write a file whole or not at all: who reads it finds the old content or the new.

    Data that comes in parts is written part by part. A symlink's target is written. `mode` is the permissions; left
    out, those of the old file, else the umask's. Raises StoreFailed.
    """
    whole = data.encode() if isinstance(data, str) else data
    content = [whole] if isinstance(whole, bytes) else whole
    try:
        target = path.resolve()
        if target.is_dir():
            raise IsADirectoryError("it is a folder")
        wanted = mode if mode is not None else _permissions(target)
        temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
        try:
            _write_new(temporary, content, wanted)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except (OSError, ValueError) as error:
        hint = "make the folder first" if isinstance(error, FileNotFoundError) else None
        raise StoreFailed(f"{place(path)} cannot be written: {_reason(error)}", hint=hint) from error


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where they are missing. Raises StoreFailed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise StoreFailed(f"the folder {place(path)} cannot be made: {_reason(error)}") from error


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, in one write, so that lines of several processes never mix; the file is made if missing.

    A line that a killed process left unfinished is ended first. Raises StoreFailed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), _NEW_FILE)
        with open(descriptor, "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            unfinished = file.read(1) not in (b"", b"\n")
            file.write((b"\n" if unfinished else b"") + line.encode("utf-8") + b"\n")
    except OSError as error:
        raise StoreFailed(f"{place(path)} cannot be written: {_reason(error)}") from error


@contextlib.contextmanager
def writing_text(path: Path) -> Iterator[Callable[[str], None]]:
    """Write a file in place of what was there. The block gets what adds text to it, where others see it at once.

    Raises StoreFailed where it cannot be written, and for what is not a regular file.
    """
    try:
        # Without a reader, a pipe would be waited for.
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = open(os.open(path, flags, _NEW_FILE), "wb", buffering=0)  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise _unwritten(path, error) from error

    def add(text: str) -> None:
        data = memoryview(text.encode("utf-8"))
        try:
            while data:
                data = data[file.write(data) :]
        except OSError as error:
            raise _unwritten(path, error) from error

    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StoreFailed(f"{place(path)} cannot be written: it is not a regular file")
        file.truncate()
        yield add


def _unwritten(path: Path, error: Exception) -> StoreFailed:
    return StoreFailed(f"{place(path)} cannot be written: {_reason(error)}")


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


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _nearest_file(path: Path) -> str | None:
    folder = path.parent
    try:
        return nearest(path.name, (entry.name for entry in folder.iterdir() if entry.is_file()))
    except (OSError, ValueError):
        return f"there is no folder {place(folder)}"
