"""A server in a thread that describes itself honestly, and answers a chat about `case N` as that case says."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tests.runtimes.servers.hostile_replies import Case, Protocol, answer

CASE = re.compile(r"case (\d+)")
MODEL = "mini"
LISTED = {"name": f"{MODEL}:latest", "model": f"{MODEL}:latest", "digest": "d" * 64, "size": 1}
GIVEN: dict[str, Any] = {
    "/v1/models": {"data": [{"id": MODEL}]},
    "/api/tags": {"models": [LISTED]},
    "/api/ps": {"models": []},
    "/api/version": {"version": "0.33.0"},
    "/api/show": {"capabilities": ["completion"], "template": "{{ .Prompt }}", "model_info": {}},
}


class HostileServer:
    """`given` is what paths answer with, `heads` the heads of all requests."""

    def __init__(self, protocol: Protocol, cases: Sequence[Case]) -> None:
        self.url = ""
        self.given = dict(GIVEN)
        self.heads: list[str] = []
        self._protocol: Protocol = protocol
        self._cases = cases

    @property
    def reference(self) -> str:
        return f"openai/{MODEL}@{self.url}/v1" if self._protocol == "openai" else f"ollama/{MODEL}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1]) if length else 0)
            status, content = self._answer(head.split(" ")[1], body.decode())
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode())
            writer.write(content)
            await writer.drain()
        writer.close()

    def _answer(self, path: str, body: str) -> tuple[int, bytes]:
        if path in ("/v1/chat/completions", "/api/chat"):
            if named := CASE.search(body):
                case = self._cases[int(named[1])]
                return case.status, case.sent
            return 200, answer(self._protocol)
        if path in self.given:
            return 200, json.dumps(self.given[path]).encode()
        return 404, b'{"error": "no such route"}'


@contextmanager
def hostile_server(protocol: Protocol, cases: Sequence[Case]) -> Iterator[HostileServer]:
    """Run the server on loopback for as long as the block lasts."""
    hostile, loop, ready, stop = (
        HostileServer(protocol, cases),
        asyncio.new_event_loop(),
        threading.Event(),
        asyncio.Event(),
    )

    async def serve() -> None:
        server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        hostile.url = f"http://{host}:{port}"
        ready.set()
        await stop.wait()
        server.close()
        await server.wait_closed()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield hostile
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
