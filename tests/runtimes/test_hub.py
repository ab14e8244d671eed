"""Fetching from a model hub, against one on loopback that speaks the routes which the client needs."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from promptkit.errors import AccessDenied, MissingExtra, ModelLoadFailed, ModelMissing
from promptkit.runtimes.hub import hub_path, pull_hub

CONTENT = b"GGUF" + bytes(100_000)
CLOSED = "http://127.0.0.1:9"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """`owner/model` with one file, and `owner/gated`, which asks for a permission."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        if self.path.startswith("/owner/gated"):
            self.reply(403, b"", {"X-Error-Code": "GatedRepo"})
        elif self.path == "/owner/model/resolve/main/small.gguf":
            etag = hashlib.sha256(CONTENT).hexdigest()
            self.reply(200, CONTENT, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        elif self.path.startswith("/owner/model/resolve/"):
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif self.path.startswith("/api/models/owner/model/tree/"):
            files = [{"type": "file", "path": name, "size": 1, "oid": COMMIT} for name in ("a.md", "small.gguf")]
            self.reply(200, json.dumps(files).encode(), {})
        else:
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    from huggingface_hub import constants

    class Handler(Hub):
        asked: list[str] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


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
