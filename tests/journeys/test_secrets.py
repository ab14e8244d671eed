"""A key in the environment is sent to its server, and written nowhere."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import stamina
from aiohttp import web

from promptkit.storage.store import Store
from tests.command import Done
from tests.journeys.commands import Place
from tests.journeys.hostile_server import LISTED, hostile_server
from tests.journeys.project import finish, make_project
from tests.runtimes.servers.hostile_replies import CASES, PROTOCOLS, Protocol
from tests.runtimes.servers.hostile_replies import KEY as CANARY
from tests.runtimes.servers.openai_server import OpenAIServer

KEY = "sk-planted-4f9a1c"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """An OpenAI-compatible server in a thread of its own."""
    fake, loop, ready, stop = OpenAIServer(), asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", fake.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        fake.url = f"http://{host}:{port}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield fake
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


@pytest.mark.attack("key")
@pytest.mark.parametrize("fails", [False, True])
def test_the_key_reaches_the_server_and_no_file_or_message(tmp_path: Path, server: OpenAIServer, fails: bool) -> None:
    folder = make_project(tmp_path)
    if fails:
        server.refusal = (401, {"error": {"message": f"bad key {KEY}"}})
    reference = f"openai/mini@{server.url}/v1"

    done = finish(
        folder,
        server.url,
        *("run", "shout", "--model", reference, "--record", "tape.jsonl", "--trace"),
        OPENAI_API_KEY=KEY,
    )

    assert f"Bearer {KEY}" in server.keys
    assert done.code == (3 if fails else 0), done.err
    written = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert KEY.encode() not in written
    assert KEY not in done.out + done.err


# Servers that repeat the key


PROMPT = """\
---
inputs: {mail: {example: hi}}
options: {max_tokens: 10}
---
{% block input %}{{ mail }}{% endblock %}
"""
SUITE = "target: sort\ndata: rows.jsonl\nmetrics: {exact: exact}\n"
FILES: dict[str, str | bytes] = {
    "promptkit.yaml": "",
    "templates/prompts/sort.j2": PROMPT,
    "evals/suite.yaml": SUITE,
}
PRIVATE = {
    *("store.db", "store.db-wal", "store.db-shm"),
    *("page.html", "tape.jsonl", "a.jsonl", "a.csv", "a.xml"),
}
BLOCK = re.compile(rb"<script[^>]*>([A-Za-z0-9+/=\s]+)</script>")


def spoken(project: Place, *said: Done) -> bytes:
    """Return all that a project's files hold and commands have printed; what a page has packed is unpacked."""
    parts = [file.read_bytes() for file in project.folder.rglob("*") if file.is_file()]
    for page in project.folder.glob("*.html"):
        blocks = BLOCK.findall(page.read_bytes())
        assert blocks
        parts += [zlib.decompress(base64.b64decode(block)) for block in blocks]
    return b"".join([*parts, *((done.out + done.err).encode() for done in said)])


def check_unspoken(spoken: bytes) -> None:
    """Fail where the key, or much of it, was said in any form."""
    for form in (CANARY, json.dumps(CANARY)[1:-1], CANARY.replace("/", "\\/"), quote(CANARY, safe=""), CANARY[3:14]):
        assert form.encode() not in spoken
    assert not any(base64.b64encode(CANARY.encode()[start:])[4:16] in spoken for start in range(3))


@pytest.mark.attack("key")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_file_and_no_message_of_an_evaluation_holds_the_key(
    project: Place, monkeypatch: pytest.MonkeyPatch, protocol: Protocol
) -> None:
    cases = [case for case in CASES if case.protocol == protocol and case.name != "the beginning of the key"]
    # Every third is followed by an honest answer: after ten failures at a stretch nothing more would be asked.
    rows = [
        {"mail": f"{what} {number}", "expect": "positive"}
        for number in range(len(cases))
        for what in (("case", "row") if number % 3 == 0 else ("case",))
    ]
    for name in ("OPENAI_API_KEY", "OLLAMA_API_KEY"):
        monkeypatch.setenv(name, CANARY)
    project.write({**FILES, "evals/rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})

    # A second connection keeps the store's log from being taken away at the end of each command.
    with (
        hostile_server(protocol, cases) as server,
        Store.open(project.folder / ".promptkit"),
        stamina.set_testing(True),
    ):
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        options = ("--model", server.reference, "-j", "1", "--record", "tape.jsonl")
        ended = project.run("eval", "evals/suite.yaml", *options)
        said = [
            ended,
            project.run("runs", "show", "last", "--html", "page.html"),
            project.run("runs", "errors", "last", "--json"),
            project.run("runs", "export", "last", "--jsonl", "a.jsonl", "--csv", "a.csv", "--junit", "a.xml"),
            *(
                project.run("run", "sort", f"mail=case {number}", "--trace", "--model", server.reference, "--no-cache")
                for number, case in enumerate(cases)
                if case.kind == "key" and len(case.sent) < 1_000_000
            ),
        ]
        everything = spoken(project, *said)
        modes = {path.name: path.stat().st_mode & 0o777 for path in project.folder.rglob("*") if path.name in PRIVATE}

    assert f"Bearer {CANARY}" in server.heads[-1]
    record = [json.loads(line) for line in (project.folder / "a.jsonl").read_text().splitlines()]
    assert len(record) == len(rows), ended.err
    check_unspoken(everything)
    assert modes == dict.fromkeys(PRIVATE, 0o600)


DESCRIPTIONS: list[tuple[Protocol, str, Any]] = [
    ("openai", "/v1/models", {"data": [{"id": CANARY}, {"id": f"mini {CANARY}"}]}),
    ("openai", "/v1/models", {"data": [{"id": "mini", "owned_by": CANARY, "max_model_len": CANARY}]}),
    ("openai", "/v1/models", {"error": {"message": CANARY}}),
    ("openai", "/props", {"default_generation_settings": {"n_ctx": CANARY}, "build_info": CANARY}),
    ("ollama", "/api/tags", {"error": CANARY}),
    ("ollama", "/api/tags", {"models": [{"model": CANARY, "digest": CANARY, "size": 1}]}),
    ("ollama", "/api/tags", {"models": [LISTED | {"digest": CANARY}]}),
    ("ollama", "/api/ps", {"models": [{"model": CANARY}]}),
    ("ollama", "/api/version", {"version": CANARY}),
    ("ollama", "/api/version", {"version": [CANARY]}),
    ("ollama", "/api/show", {"error": CANARY}),
    (
        "ollama",
        "/api/show",
        {"capabilities": ["completion", CANARY], "template": CANARY, "model_info": {CANARY: CANARY}},
    ),
    ("ollama", "/api/show", {"capabilities": ["completion"], "model_info": {"a.context_length": CANARY}}),
]


@pytest.mark.attack("key")
@pytest.mark.parametrize(("protocol", "path", "given"), DESCRIPTIONS, ids=str)
def test_no_description_of_a_model_holds_the_key(
    project: Place, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, path: str, given: Any
) -> None:
    for name in ("OPENAI_API_KEY", "OLLAMA_API_KEY"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("PROMPTKIT_CACHE", str(project.folder / "cache"))
    project.write(FILES)

    with hostile_server(protocol, ()) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        server.given[path] = given
        said = [
            project.run("run", "sort", "--model", server.reference, "--record", "tape.jsonl", "--trace"),
            project.run("models", "list"),
            project.run("models", "show", server.reference, "--json"),
            project.run("models", "pull", server.reference),
        ]

    assert any(f"Bearer {CANARY}" in head for head in server.heads)
    check_unspoken(spoken(project, *said))
