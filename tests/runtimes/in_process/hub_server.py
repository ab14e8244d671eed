"""A model hub on loopback, which speaks the routes that the hub's own client needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CONTENT = b"GGUF" + bytes(100_000)
CLOSED = "http://127.0.0.1:9"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """`owner/model` with one file, and `owner/gated`, which asks for a permission.

    `content` is what it sends as the file; a connection is cut after each number of bytes in `cuts`.
    """

    asked: list[str]
    content: bytes
    cuts: list[int]

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        part = self.headers.get("Range", "")
        self.asked.append(f"{self.command} {self.path} {part}".strip())
        if self.path.startswith("/owner/gated"):
            self.reply(403, b"", {"X-Error-Code": "GatedRepo"})
        elif self.path in {f"/owner/model/resolve/{revision}/small.gguf" for revision in ("main", COMMIT)}:
            etag = hashlib.sha256(self.content).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
            start = int(part.removeprefix("bytes=").rstrip("-") or 0)
            if start:
                size = len(self.content)
                headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            self.reply(206 if start else 200, self.content[start:], headers)
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
            self.wfile.write(body[: self.cuts.pop()] if self.cuts and body else body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """The hub that `HF_ENDPOINT` names, with an empty cache of its own."""
    from huggingface_hub import constants

    class Handler(Hub):
        asked: list[str] = []  # noqa: RUF012
        content = CONTENT
        cuts: list[int] = []  # noqa: RUF012

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
