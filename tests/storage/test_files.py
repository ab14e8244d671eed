"""Files are read as UTF-8 and written whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, StoreFailed
from promptkit.storage import append_line, file_stamp, files, holding_files, read_bytes, read_text, write_atomic

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
    with holding_files():
        assert read_text(path) == "old"
        path.write_text("the new one")
        assert (read_text(path), read_bytes(path)) == ("old", b"old")
    assert read_text(path) == "the new one"


def test_a_held_file_that_was_not_looked_at_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with holding_files():
        path.write_text("the new one")
        assert read_text(path) == "the new one"


def test_what_tells_that_a_held_file_changed_tells_it_after_the_block_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    before = file_stamp(path)
    with holding_files():
        assert file_stamp(path) == before
        path.write_text("the new one")
        assert file_stamp(path) == before
    assert file_stamp(path) not in (None, before)


def test_the_stamp_of_a_held_file_is_never_newer_than_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    before = file_stamp(path)
    with holding_files():
        assert read_text(path) == "old"
        path.write_text("the new one")
        assert file_stamp(path) == before


def test_a_file_that_is_missing_is_held_as_missing_until_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with holding_files():
        assert file_stamp(path) is None
        with pytest.raises(InputError):
            read_text(path)
        path.write_text("new")
        assert file_stamp(path) is None
        assert read_text(path) == "new"


def test_what_is_held_within_what_is_held_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with holding_files():
        assert read_text(path) == "old"
        with holding_files():
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
    with holding_files():
        read_text(path)
        path.write_text("the new one")
        own = asyncio.create_task(wait_and_read())
        outside.set()
        assert await asyncio.to_thread(read_text, path) == "old"
        assert (await own, await other) == ("old", "the new one")
