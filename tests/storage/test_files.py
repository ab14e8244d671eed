"""Files are read as UTF-8 and written whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, StoreFailed
from promptkit.runtimes.replay import Recorder
from promptkit.storage import files
from promptkit.storage.files import (
    append_line,
    check_destination,
    check_there,
    file_stamp,
    frozen_files,
    make_folder,
    misplaced,
    open_to_append,
    read_bytes,
    read_text,
    remove_file,
    resolved,
    write_atomic,
    write_new_files,
    write_private,
)
from promptkit.storage.rows import read_rows
from promptkit.storage.store import Store

FAILURES: list[BaseException] = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    KeyboardInterrupt(),
]


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf\xc3\xa9\r\n")
    assert read_text(path) == "é\r\n"


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "feedback.yaml").touch()
    with pytest.raises(InputError, match=r"did you mean `feedback\.yaml`\?"):
        read_text(tmp_path / "feedbak.yaml")


@pytest.mark.parametrize("name", ["no/such/folder.txt", ".", "x" * 300, "a\0b"])
def test_what_is_no_file_is_an_input_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        read_text(tmp_path / name)


def test_bad_utf_8_has_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"ok\nno\xff")
    with pytest.raises(InputError) as caught:
        read_text(path)
    problem = caught.value.problems[0]
    assert (problem.line, problem.column) == (2, 3)


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a.txt", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.touch()
    path.chmod(0o604)
    write_atomic(path, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_part_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, iter([b"in ", b"parts"]))

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise KeyError("gone")

    with pytest.raises(KeyError):
        write_atomic(path, broken())
    assert path.read_text() == "in parts"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_secret_is_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    real = os.open

    def watched(path: Any, flags: int, mode: int = 0o777) -> int:
        modes.append(mode)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", watched)
    write_atomic(tmp_path / "key", "x", mode=0o600)
    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_the_target_of_a_link_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.parametrize("name", [".", "missing/a.txt", "file/a.txt", "a\0b", "x" * 300])
def test_what_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed, match="cannot be written"):
        write_atomic(tmp_path / name, "x")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.attack("disk")
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("call", ["open", "replace", "_write_new", "chmod"])
def test_a_failing_call_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, failure: BaseException
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr({"_write_new": files, "chmod": Path}.get(call, os), call, _raising(failure))
        with pytest.raises(StoreFailed if isinstance(failure, OSError) else KeyboardInterrupt) as caught:
            write_atomic(path, "new")
    if isinstance(failure, OSError):
        assert "a.txt" in str(caught.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
    write_atomic(path, "new")
    assert path.read_text() == "new"


@pytest.mark.attack("disk")
def test_a_full_disk_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    pid = os.fork()
    if pid == 0:
        # A child of its own, since the limit cannot be taken back. SIGXFSZ is ignored by Python: the write fails.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomic(path, "x" * 100_000)
        except StoreFailed:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def _raising(failure: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise failure

    return fail


def test_lines_are_added_at_the_end_one_by_one(tmp_path: Path) -> None:
    append_line(tmp_path / "a.jsonl", "one")
    append_line(tmp_path / "a.jsonl", "zwei ä")

    assert (tmp_path / "a.jsonl").read_text("utf-8") == "one\nzwei ä\n"


def test_a_line_that_was_left_unfinished_is_ended_first(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("one\nhal")

    append_line(tmp_path / "a.jsonl", "two")

    assert (tmp_path / "a.jsonl").read_text() == "one\nhal\ntwo\n"


def test_a_line_that_cannot_be_added_is_a_failed_store(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="cannot be written"):
        append_line(tmp_path / "no" / "a.jsonl", "one")


def test_a_held_file_stays_as_it_was_when_it_was_first_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with frozen_files():
        assert read_text(path) == "old"
        path.write_text("the new one")
        assert (read_text(path), read_bytes(path)) == ("old", b"old")
    assert read_text(path) == "the new one"


def test_a_held_file_that_was_not_looked_at_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with frozen_files():
        path.write_text("the new one")
        assert read_text(path) == "the new one"


def test_what_tells_that_a_held_file_changed_tells_it_after_the_block_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    before = file_stamp(path)
    with frozen_files():
        assert file_stamp(path) == before
        path.write_text("the new one")
        assert file_stamp(path) == before
    assert file_stamp(path) not in (None, before)


def test_the_stamp_of_a_held_file_is_never_newer_than_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    before = file_stamp(path)
    with frozen_files():
        assert read_text(path) == "old"
        path.write_text("the new one")
        assert file_stamp(path) == before


def test_a_file_that_is_missing_is_held_as_missing_until_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with frozen_files():
        assert file_stamp(path) is None
        with pytest.raises(InputError):
            read_text(path)
        path.write_text("new")
        assert file_stamp(path) is None
        assert read_text(path) == "new"


def test_what_is_held_within_what_is_held_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with frozen_files():
        assert read_text(path) == "old"
        with frozen_files():
            path.write_text("the new one")
            assert read_text(path) == "old"
        assert read_text(path) == "old"


async def test_files_are_held_in_tasks_and_threads_that_are_started_inside_and_in_no_others(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    outside = asyncio.Event()

    async def wait_and_read() -> str:
        await outside.wait()
        return read_text(path)

    other = asyncio.create_task(wait_and_read())
    with frozen_files():
        read_text(path)
        path.write_text("the new one")
        own = asyncio.create_task(wait_and_read())
        outside.set()
        assert await asyncio.to_thread(read_text, path) == "old"
        assert (await own, await other) == ("old", "the new one")


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
    ("path", "hint"),
    [
        ("pipelines/data/sales.csv", "did you mean `../data/sales.csv`?"),
        ("pipelines/deep/data/sales.csv", "did you mean `../../data/sales.csv`?"),
        ("pipelines/data", "did you mean `../data`?"),
        ("pipelines/data/gone.csv", None),
        ("data/sales.csv", None),
        ("../data/sales.csv", None),
    ],
)
def test_a_path_that_is_there_from_the_root_is_named_as_its_file_must_write_it(
    tmp_path: Path, path: str, hint: str | None
) -> None:
    (tmp_path / "promptkit.yaml").touch()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sales.csv").touch()
    assert misplaced(tmp_path / path) == hint


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


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.attack("key")
@pytest.mark.usefixtures("umask")
def test_a_store_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / ".promptkit"
    with Store.open(folder) as store:
        store.keep_all({"key": "value"}).result()
        modes = {path.name: mode(path) for path in folder.glob("store.db*")}

    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    assert mode(folder) == 0o700


@pytest.mark.attack("key")
@pytest.mark.usefixtures("umask")
def test_a_recording_is_its_owners_alone(tmp_path: Path) -> None:
    Recorder(tmp_path / "tape.jsonl").close()

    assert mode(tmp_path / "tape.jsonl") == 0o600


@pytest.mark.attack("key")
@pytest.mark.usefixtures("umask")
def test_a_page_or_an_export_is_its_owners_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "page.html", "text")

    assert mode(tmp_path / "page.html") == 0o600


def test_what_a_person_opened_to_others_stays_open(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.touch()
    page.chmod(0o640)

    write_private(page, "text")

    assert (page.read_text(), mode(page)) == ("text", 0o640)


@pytest.mark.parametrize("home", ["/home/ada", "/"])
def test_the_paths_of_a_machine_are_taken_out_of_a_text(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    text = "/home/ada/shop/a.yaml in /home/ada/shop, not /home/ada/b.yaml or /etc/c"
    shown = "~/b.yaml" if home != "/" else "/home/ada/b.yaml"
    assert files.without_paths(text, Path("/home/ada/shop")) == f"a.yaml in ., not {shown} or /etc/c"
    assert files.without_paths("/etc/c", Path("/")) == "/etc/c"


def test_new_files_are_written_with_their_folders_all_or_none(tmp_path: Path) -> None:
    new: dict[Path, str | bytes] = {tmp_path / "a" / "one": "1", tmp_path / "two": b"2"}
    assert write_new_files(new) == list(new)
    assert ((tmp_path / "a/one").read_text(), (tmp_path / "two").read_bytes()) == ("1", b"2")
    with pytest.raises(InputError, match=r"these files are there already: \S+one, \S+two"):
        write_new_files({**new, tmp_path / "three": "3"})
    assert not (tmp_path / "three").exists()


def test_new_files_are_removed_where_one_of_them_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_atomic

    def full(path: Path, data: Any) -> None:
        if path.name == "two":
            raise StoreFailed("the disk is full")
        write(path, data)

    monkeypatch.setattr(files, "write_atomic", full)
    with pytest.raises(StoreFailed, match="the disk is full"):
        write_new_files({tmp_path / "one": "1", tmp_path / "two": "2"})
    assert list(tmp_path.iterdir()) == []
