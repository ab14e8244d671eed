"""A key in the environment is sent to its server, and written nowhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.journeys.project import finish, make_project
from tests.runtimes.openai_server import OpenAIServer

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
    assert done.returncode == (3 if fails else 0), done.stderr
    written = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert KEY.encode() not in written
    assert KEY not in done.stdout + done.stderr
