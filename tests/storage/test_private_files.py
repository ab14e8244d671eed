"""What holds people's data and models' answers is open to its owner alone, under any umask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptkit.runtimes import Recorder
from promptkit.storage import Store, write_private


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
