"""Fetching from a model hub, against one on loopback."""

from __future__ import annotations

import sys
import time

import pytest

from promptkit.errors import AccessDenied, MissingExtra, ModelLoadFailed, ModelMissing
from promptkit.runtimes.in_process.hub import hub_path, pull_hub
from tests.runtimes.in_process.hub_server import CLOSED, CONTENT, Hub, hub

__all__ = ["hub"]


def test_a_file_is_fetched_with_progress_and_found_again_without_asking(hub: type[Hub]) -> None:
    seen: list[tuple[str, int, int | None]] = []
    assert hub_path("owner/model", "small.gguf") is None
    path = pull_hub("owner/model", "small.gguf", lambda *report: seen.append(report))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("small.gguf", len(CONTENT), len(CONTENT))
    asked = len(hub.asked)
    assert hub_path("owner/model", "small.gguf") == path
    assert len(hub.asked) == asked


def test_a_missing_file_gets_the_nearest_name(hub: type[Hub]) -> None:
    with pytest.raises(ModelMissing, match=r"owner/model has no smal\.gguf") as caught:
        pull_hub("owner/model", "smal.gguf")
    assert caught.value.hint == "did you mean `small.gguf`?"


@pytest.mark.parametrize("repo", ["owner/nothing", "not a name"])
def test_a_missing_repository_is_named(hub: type[Hub], repo: str) -> None:
    with pytest.raises(ModelMissing, match=repo):
        pull_hub(repo, "small.gguf")


def test_a_gated_repository_says_how_to_sign_in(hub: type[Hub]) -> None:
    with pytest.raises(AccessDenied) as caught:
        pull_hub("owner/gated", "small.gguf")
    assert caught.value.hint == "hf auth login"


def test_a_hub_that_is_down_is_said_at_once(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waits to try again"))
    with pytest.raises(ModelLoadFailed, match=r"hf/owner/model/small\.gguf"):
        pull_hub("owner/model", "small.gguf")


def test_without_the_extra_the_line_that_installs_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra) as caught:
        pull_hub("owner/model", "small.gguf")
    assert caught.value.hint == "pip install 'promptkit[hub]'"
