"""Which paths may be read and written: regular files, and links that stay in their project."""

from __future__ import annotations

import os
import stat
from errno import ELOOP
from pathlib import Path

from promptkit.errors import InputError, Problem, nearest, place

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
    """There is something else than a regular file at a path: the reason says what, the hint what to do instead."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(None, f"it is {what}")
        self.hint = hint


def resolved(path: Path) -> Path:
    """Return an absolute path with its links followed, as far as they lead: who opens it finds out what is wrong."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # A NUL, or a folder that nobody may enter.
        return path.absolute()


def find_root(folder: Path) -> Path | None:
    """Return the nearest of a folder and its parents that is the root of a project."""
    return next((each for each in (folder, *folder.parents) if os.path.lexists(each / SETTINGS_FILE)), None)


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
    """Raise InputError for what is not a regular file, with the nearest name in the folder where nothing is there."""
    try:
        regular_status(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def check_named(path: Path) -> None:
    """As `check_there`, for a file that another one names: the error's place is left to be that of the name."""
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
    """Raise InputError where a file could not be written at `path`, so that no work is paid for before.

    `name` is what the message calls it; `instead` is a hint, for what is not a file on disk.
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
    """Return what to do about a file that cannot be written."""
    if isinstance(error, NotRegular):
        return error.hint
    return "make the folder first" if isinstance(error, FileNotFoundError) else None


def reason(error: Exception) -> str:
    """Return what the system says of a path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _nearest_file(path: Path) -> str | None:
    folder = path.parent
    try:
        return nearest(path.name, (entry.name for entry in folder.iterdir() if entry.is_file()))
    except (OSError, ValueError):
        return f"there is no folder {place(folder)}"
