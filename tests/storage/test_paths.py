"""A path is a regular file, or is told what it is; what is written stays in the project that the path lies in."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from promptkit.errors import InputError, StoreFailed
from promptkit.storage import (
    append_line,
    check_destination,
    check_there,
    files,
    make_folder,
    open_to_append,
    read_bytes,
    read_rows,
    remove_file,
    resolved,
    write_atomic,
)


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(here)


def make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


def make_loop(path: Path) -> None:
    path.symlink_to(path.with_name("back"))
    path.with_name("back").symlink_to(path)


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (os.mkfifo, "it is a named pipe"),
    "socket": (make_socket, "it is a socket"),
    "folder": (Path.mkdir, "it is a folder"),
    "device": (make_device, "it is a device"),
    "loop": (make_loop, "it is a symlink that leads back to itself"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "it is a symlink to a file that is not there"),
}
READERS: dict[str, Callable[[Path], object]] = {
    "whole": read_bytes,
    "rows": lambda path: list(read_rows(path)),
    "there": check_there,
}
WRITERS: dict[str, Callable[[Path], object]] = {
    "atomic": lambda path: write_atomic(path, "new"),
    "atomic with a mode": lambda path: write_atomic(path, "new", mode=0o600),
    "line": lambda path: append_line(path, "new"),
    "append": open_to_append,
    "writable": files.check_writable,
}


@pytest.mark.attack("path")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_only_a_file_is_read(tmp_path: Path, read: Callable[[Path], object], kind: str) -> None:
    path = tmp_path / "it.jsonl"
    KINDS[kind][0](path)

    with pytest.raises(InputError, match=KINDS[kind][1]) as caught:
        read(path)

    assert caught.value.problems[0].hint and caught.value.problems[0].file == str(path)


@pytest.mark.attack("path")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_only_a_file_is_written(tmp_path: Path, write: Callable[[Path], object], kind: str) -> None:
    path = tmp_path / "it.jsonl"
    KINDS[kind][0](path)
    before = sorted(os.listdir(tmp_path)), os.lstat(path)[:4]

    with pytest.raises(StoreFailed, match=rf"it\.jsonl cannot be written: {KINDS[kind][1]}") as caught:
        write(path)

    assert caught.value.hint
    assert (sorted(os.listdir(tmp_path)), os.lstat(path)[:4]) == before


@pytest.mark.attack("path")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_takes_the_place_of_a_file_while_it_is_written_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    make, told = KINDS[kind]

    def parts() -> list[bytes]:
        make(path)
        return [b"new"]

    with pytest.raises(StoreFailed, match=told):
        write_atomic(path, (part for _ in "1" for part in parts()))
    assert os.listdir(tmp_path) == ["out"] and not path.is_file()


@pytest.mark.attack("path")
@pytest.mark.parametrize("is_project", [True, False], ids=["in a project", "in none"])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_link_does_not_lead_out(tmp_path: Path, write: Callable[[Path], object], is_project: bool) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "kept").write_text("kept")
    if is_project:
        (tmp_path / "here" / "promptkit.yaml").touch()
    (tmp_path / "here" / "out").symlink_to(tmp_path / "kept")

    with pytest.raises(StoreFailed, match=f"leads out of the {'project' if is_project else 'folder'}") as caught:
        write(tmp_path / "here" / "out")

    assert str(tmp_path / "kept") in (caught.value.hint or "")
    assert (tmp_path / "kept").read_text() == "kept"


@pytest.mark.attack("path")
def test_no_folder_is_made_outside_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "promptkit.yaml").touch()
    (tmp_path / "here" / "link").symlink_to(tmp_path)
    for path in ("link/new", "link/new/below"):
        with pytest.raises(StoreFailed, match="leads out of the project"):
            make_folder(tmp_path / "here" / path)
    assert os.listdir(tmp_path) == ["here"]


def test_a_folder_that_a_link_leads_to_is_written_outside_of_projects(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    make_folder(tmp_path / "link" / "below")
    write_atomic(tmp_path / "link" / "below" / "out", "new")
    assert (tmp_path / "real" / "below" / "out").read_text() == "new"


def test_a_link_within_the_project_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "promptkit.yaml").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "real").write_text("old\n")
    (tmp_path / "out").symlink_to("other/real")
    append_line(tmp_path / "out", "more")
    assert (tmp_path / "other" / "real").read_text() == "old\nmore\n"
    write_atomic(tmp_path / "out", "new")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "other" / "real").read_text() == "new"


def test_a_file_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remove_file(tmp_path / "file")
    remove_file(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreFailed, match="it is a folder"):
        remove_file(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.attack("path")
def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "it"
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2_000_000)
    path.write_bytes(b"x" * 2_000_000)
    assert len(read_bytes(path)) == 2_000_000
    path.write_bytes(b"x" * 2_000_001)
    with pytest.raises(InputError, match="it is larger than 2 MB"):
        read_bytes(path)


@pytest.mark.attack("path")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_files_that_do_not_tell_their_size_are_read_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_bytes(Path("/proc/self/status"))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    with pytest.raises(InputError, match="it is larger than"):
        read_bytes(Path("/proc/self/status"))


@pytest.mark.parametrize(
    ("path", "told", "hint"),
    [
        ("none/out", "there is no folder", "make the folder first"),
        ("file/out", "Not a directory", ""),
        ("a\0b", "null", ""),
        ("folder", "it is a folder", "name a regular file; say it aloud"),
    ],
)
def test_where_nothing_can_be_written_is_told_before(tmp_path: Path, path: str, told: str, hint: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"`--to X`: .*{told}") as caught:
        check_destination(tmp_path / path, "--to X", instead="say it aloud")
    assert (caught.value.problems[0].hint or "") == hint
    check_destination(tmp_path / "new", "--to X")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told_before(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(InputError, match="may write to the folder"):
        check_destination(tmp_path / "shut" / "out", "--to X")


@pytest.mark.parametrize("name", ["loop/below", "a\0b", "x" * 5000])
def test_any_path_is_followed_as_far_as_it_leads(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert resolved(tmp_path / name).is_absolute()
