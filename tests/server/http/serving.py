"""A server of a small project on loopback, in the test's own event loop, whose model is a function of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiohttp import ClientSession, TCPConnector

from promptkit.api.session import ModelOptions
from promptkit.runtimes import models
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import CAPABILITIES, Script, Scripted, request_text
from promptkit.server.http import server as server_module
from promptkit.server.http.access import AccessLog
from promptkit.server.http.catalog import Catalog
from promptkit.server.http.options import HttpOptions
from promptkit.server.http.server import HttpServer

PIPELINES = {
    "topic": """\
about: The topic of a message.
inputs: {text: {about: A customer's message, example: I want a refund}}
steps:
  topic: {prompt: "Give the topic. {{ text }}", answer: {label: [billing, other]}}
""",
    "answer": """\
inputs: {question: {}, history: {type: messages, default: []}}
steps:
  answer: {prompt: chat}
""",
    "person": """\
inputs: {text: {}, style: {}}
steps:
  person:
    prompt: "Find the person. {{ text }} {{ style }}"
    answer: {json: {type: object, properties: {name: {type: string}, age: {type: integer}}, required: [name, age]}}
""",
    "double": """\
inputs: {number: {type: number}, rows: {type: table, default: []}}
steps:
  say: {prompt: "Double {{ number }}. {{ rows | length }}", answer: number}
""",
}
CHAT = """\
---
inputs: {question: {}, history: {type: messages}}
---
{% block user %}{{ question }}{% endblock %}
"""


@dataclass
class Gate:
    """A model whose replies wait until the gate opens. `asked` holds the texts of requests, `peak` how many waited."""

    text: str = "Paris"
    asked: list[str] = field(default_factory=list)
    cancelled: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Request) -> str:
        self.asked.append(request_text(request))
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.text

    async def until_asked(self, count: int) -> None:
        """Wait until the model has had so many requests."""
        async with asyncio.timeout(20):
            while len(self.asked) < count:
                await asyncio.sleep(0.001)


def write_project(folder: Path, pipelines: Mapping[str, str] = PIPELINES) -> Path:
    """Write a project and return its folder."""
    (folder / "pipelines").mkdir(parents=True, exist_ok=True)
    (folder / "templates" / "prompts").mkdir(parents=True, exist_ok=True)
    (folder / "templates" / "prompts" / "chat.j2").write_text(CHAT)
    (folder / "promptkit.yaml").write_text("model: openai/test@http://127.0.0.1:9/v1\n")
    for name, text in pipelines.items():
        (folder / "pipelines" / f"{name}.yaml").write_text(text)
    return folder


@dataclass
class Served:
    """A server with a client of it. `opened` are the models that it has opened."""

    server: HttpServer
    client: ClientSession
    runtime: Scripted
    catalog: Catalog
    opened: list[str]

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Post JSON and return the status and the JSON of the response."""
        async with self.client.post(self.url + path, json=body, **more) as response:
            return response.status, await response.json()

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        """Get a path and return the status and the JSON, or the text, of the response."""
        async with self.client.get(self.url + path, **more) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    async def raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own and return all that comes until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(20):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    folder: Path,
    answers: Script,
    *,
    targets: tuple[str, ...] = (),
    model: ModelOptions | None = None,
    log: AccessLog | None = None,
    keep_runs: bool = False,
    parallel: int = 1000,
    **options: Any,
) -> AsyncIterator[Served]:
    """Serve the pipelines of a project by a model that a function is."""
    runtime = Scripted(answers, capabilities=CAPABILITIES, parallel=parallel)

    references: list[str] = []

    async def opened(reference: str, **_: Any) -> Scripted:
        references.append(reference)
        return runtime

    named = targets or tuple(str(path) for path in sorted((folder / "pipelines").glob("*.yaml")))
    log = log or AccessLog(quiet=True)
    with patch.object(models, "open_runtime", opened), patch.object(server_module, "LINGERING_SECONDS", 0.05):
        async with (
            Catalog(named, model or ModelOptions(no_cache=True), keep_runs=keep_runs) as catalog,
            HttpServer(catalog, HttpOptions(port=0, **options), log) as server,
            ClientSession(connector=TCPConnector(limit=0)) as client,
        ):
            yield Served(server, client, runtime, catalog, references)


def chat(text: str, model: str = "answer", **more: Any) -> dict[str, Any]:
    """Return the body of a chat completion with one turn of the user."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
