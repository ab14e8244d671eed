"""Weights that the catalog pins: fetched from a hub, resumed, checked by digest, or taken from a file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from promptkit.errors import InputError, MissingExtra, ModelLoadFailed, ModelMissing
from promptkit.runtimes.base import DownloadProgress
from promptkit.runtimes.in_process import embedded_models as catalog
from promptkit.runtimes.in_process.embedded_models import EmbeddedModel, HubSource, PackageSource, embedded_models
from promptkit.runtimes.in_process.weights import adopt_weights, fetch_weights, find_weights, in_thread
from promptkit.runtimes.models import catalog_model, pull_model
from promptkit.runtimes.references import EMBEDDED, open_runtime, parse_reference
from tests.runtimes.in_process.hub_server import CLOSED, COMMIT, CONTENT, Hub, hub

__all__ = ["hub"]

SMALL = EmbeddedModel(
    name="small",
    task="chat",
    licence="MIT",
    file="small.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    source=HubSource(repo="owner/model", revision=COMMIT),
)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of weights, in a cache of the test's own, and a catalog with `small` in it."""
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(catalog, "embedded_models", lambda: {**embedded_models(), "small": SMALL})
    return tmp_path / "cache/models"


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".small.lock"}


def test_every_model_is_pinned_and_free_and_the_first_is_the_default() -> None:
    models = embedded_models()
    assert next(iter(models.values())).reference == EMBEDDED
    assert [model.name for model in models.values() if model.recommended] == ["qwen2.5-1.5b"]
    for name, model in models.items():
        assert parse_reference(model.reference).name == name
        assert re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert model.licence in ("Apache-2.0", "MIT")
        match model.source:
            case HubSource(revision=revision):
                assert re.fullmatch("[0-9a-f]{40}", revision)
            case PackageSource(package=package):
                assert "==" in package


def test_a_file_is_fetched_at_its_commit_and_found_again_without_asking(hub: type[Hub], folder: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    assert find_weights(SMALL) is None
    path = fetch_weights(SMALL, lambda *report: seen.append(report))
    assert path == folder / "small.gguf"
    assert path.read_bytes() == CONTENT
    assert kept(folder) == {"small.gguf"}
    assert seen[-1] == ("small.gguf", len(CONTENT), len(CONTENT))
    assert all(f"/resolve/{COMMIT}/" in asked for asked in hub.asked)
    asked = len(hub.asked)
    assert fetch_weights(SMALL) == find_weights(SMALL) == path
    assert len(hub.asked) == asked


def test_an_interrupted_download_goes_on_where_it_ended(
    hub: type[Hub], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)

    def interrupt(what: str, done: int, total: int | None) -> None:
        if done > 50_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_weights(SMALL, interrupt)
    assert find_weights(SMALL) is None
    seen: list[int] = []
    path = fetch_weights(SMALL, lambda what, done, total: seen.append(done))
    assert path.read_bytes() == CONTENT
    assert hub.asked[-1].endswith("bytes=50000-")
    assert (seen[0], seen[-1]) == (50_000, len(CONTENT))
    assert kept(folder) == {"small.gguf"}


async def test_a_cancelled_pull_ends_at_its_next_report() -> None:
    reported, left = threading.Event(), threading.Event()
    ended: list[BaseException] = []

    def fetch(progress: DownloadProgress) -> None:
        progress("small.gguf", 0, None)
        reported.set()
        left.wait(10)
        try:
            progress("small.gguf", 1, None)
        except ModelLoadFailed as error:
            ended.append(error)

    task = asyncio.create_task(in_thread(fetch, None))
    await asyncio.to_thread(reported.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert [str(error) for error in ended] == ["fetching small.gguf was interrupted"]


def test_a_connection_that_breaks_is_taken_up_again(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.cuts.append(30_000)
    assert fetch_weights(SMALL).read_bytes() == CONTENT
    assert hub.asked[-1].endswith("bytes=30000-")


@pytest.mark.parametrize("content", [CONTENT[::-1], CONTENT[:-1], CONTENT + b"more"], ids=["other", "short", "long"])
def test_a_file_with_another_digest_is_deleted(hub: type[Hub], folder: Path, content: bytes) -> None:
    hub.content = content
    with pytest.raises(ModelLoadFailed, match=r"owner/model gave another small\.gguf .* deleted") as caught:
        fetch_weights(SMALL)
    assert SMALL.sha256 in str(caught.value)
    assert kept(folder) == set()


def test_without_a_network_the_error_gives_the_address_and_the_command(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waits to try again"))
    with pytest.raises(ModelLoadFailed, match=r"cannot fetch hf/owner/model/small\.gguf") as caught:
        fetch_weights(SMALL)
    assert f"https://huggingface.co/owner/model/resolve/{COMMIT}/small.gguf" in str(caught.value.hint)
    assert "promptkit models pull embedded/small --from FILE" in str(caught.value.hint)


def test_without_the_extra_the_line_that_installs_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra) as caught:
        fetch_weights(SMALL)
    assert caught.value.hint == "pip install 'promptkit[hub]'"


@pytest.mark.parametrize("linked", [True, False], ids=["the same disk", "another disk"])
async def test_a_file_that_is_here_already_is_kept_without_a_network(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    file = tmp_path / "download.gguf"
    file.write_bytes(CONTENT)
    if not linked:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("cross-device link")))
    await pull_model("embedded/small", file=file)
    path = find_weights(SMALL)
    assert path is not None
    assert path.samefile(file) is linked
    assert path.read_bytes() == CONTENT
    assert kept(folder) == {"small.gguf"}


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "download.gguf"
    file.write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match="not embedded/small") as caught:
        adopt_weights(SMALL, file)
    assert SMALL.sha256 in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        adopt_weights(SMALL, tmp_path / "nothing.gguf")
    assert find_weights(SMALL) is None


async def test_a_file_is_kept_for_models_of_the_catalog_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="embedded/NAME only"):
        await pull_model("ollama/small", file=tmp_path / "a.gguf")


async def test_a_run_fetches_nothing_large_and_names_the_command(hub: type[Hub], tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="embedded/small is not on this machine") as caught:
        await open_runtime("embedded/small", base=tmp_path)
    assert caught.value.hint == "promptkit models pull embedded/small"
    assert hub.asked == []


def test_the_list_tells_what_is_here(tmp_path: Path) -> None:
    assert not catalog_model("small").ready
    file = tmp_path / "download.gguf"
    file.write_bytes(CONTENT)
    adopt_weights(SMALL, file)
    assert catalog_model("small").ready
    assert catalog_model("small").source == "hf/owner/model/small.gguf"
    assert "think" in catalog_model("qwen3-0.6b").capabilities
    assert catalog_model("bge-small").capabilities == {"embeddings", "tokenize"}
