"""The digests of files by which a later run sees that one has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.storage import file_digests
from promptkit.storage.file_digests import (
    ABSENT,
    CHANGING,
    MOST_FILES,
    MOST_NAMES,
    CurrentDigests,
    digest_of,
    grouped_digests,
)


@pytest.fixture(autouse=True)
def without_a_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_digests, "GROUP_SECONDS", 1e-9)


def write(root: Path, *names: str, text: str = "one") -> dict[str, str]:
    """Write files and return their digests by name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {name: digest_of(name, root) for name in names}


def test_a_digest_is_that_of_the_content_and_of_a_missing_file_that_it_is_absent(tmp_path: Path) -> None:
    first = write(tmp_path, "a.txt")["a.txt"]
    assert write(tmp_path, "b.txt")["b.txt"] == first
    assert write(tmp_path, "a.txt", text="two")["a.txt"] != first
    assert digest_of("gone.txt", tmp_path) == ABSENT


def test_a_folder_that_is_named_like_a_file_has_a_digest_too(tmp_path: Path) -> None:
    write(tmp_path, "a/b.txt")
    assert digest_of("a", tmp_path).startswith("unreadable")


@pytest.mark.parametrize("folder", ["docs/", "do[c]s/", ".hidden/", ""])
def test_many_files_of_one_folder_are_one_name_that_changes_with_each_of_them(tmp_path: Path, folder: str) -> None:
    names = [f"{folder}.{number}.txt" for number in range(MOST_FILES + 1)]
    few = write(tmp_path, *names[1:])
    assert grouped_digests(few, tmp_path) == dict(sorted(few.items()))
    ((pattern, digest),) = grouped_digests(write(tmp_path, *names), tmp_path).items()
    assert digest_of(pattern, tmp_path) == digest
    write(tmp_path, names[7], text="two")
    assert digest_of(pattern, tmp_path) != digest


def test_a_group_of_which_a_file_has_changed_since_it_was_read_matches_nothing(tmp_path: Path) -> None:
    read = write(tmp_path, *(f"{number}.txt" for number in range(MOST_FILES + 1)))
    write(tmp_path, "0.txt", text="two")
    assert grouped_digests(read, tmp_path) == {"*.txt": CHANGING}


def test_files_of_many_folders_are_one_name_by_their_top_folder(tmp_path: Path) -> None:
    read = write(tmp_path, *(f"docs/{number}/a.txt" for number in range(MOST_NAMES + 1)), "top.txt")
    grouped = grouped_digests(read, tmp_path)
    assert grouped == {"docs/**/*.txt": digest_of("docs/**/*.txt", tmp_path), "top.txt": read["top.txt"]}
    write(tmp_path, "docs/7/a.txt", text="two")
    assert digest_of("docs/**/*.txt", tmp_path) != grouped["docs/**/*.txt"]


def test_a_variable_is_known_by_a_digest_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WORD", raising=False)
    assert digest_of("$WORD", tmp_path) == ABSENT
    monkeypatch.setenv("WORD", "secret")
    one = digest_of("$WORD", tmp_path)
    monkeypatch.setenv("WORD", "another")
    assert len({one, digest_of("$WORD", tmp_path), ABSENT}) == 3
    assert "secret" not in one


def test_a_run_looks_at_each_file_once(tmp_path: Path) -> None:
    read = write(tmp_path, "a.txt", "b.txt")
    current = CurrentDigests(tmp_path)
    assert current.changed(read) == []
    write(tmp_path, "a.txt", text="two")
    assert current.changed(read) == []
    assert CurrentDigests(tmp_path).changed(read) == ["a.txt"]
