"""Small servers of OpenAI's protocol: one that knows much and one that knows little, for what the adapter finds out."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import web

from tests.runtimes.servers.constraints import Refused, constrained_text

_clock = count(1)
KNOWN = {"model", "messages", "stream", "stream_options", "max_tokens", "temperature", "top_p", "seed", "stop"}

VLLM = frozenset({"continue", "completions", "logprobs", "schema", "json_object", "structured_outputs"})
OLD_VLLM = VLLM - {"structured_outputs"} | {"guided"}
OPENAI = frozenset({"logprobs", "top_logprobs", "response_format", "object_schema", "json_object"})
LM_STUDIO = frozenset({"completions", "lm_studio"})
"""What servers enforce by their documentation."""


@dataclass
class OpenAIServer:
    """Says `says` to everything, and what a constraint admits under one that it enforces.

    `strict` refuses fields it does not know, as OpenAI does; else they are ignored. `able` names what works:
    completions, embeddings, logprobs, continue, and of constraints schema, object_schema (by OpenAI's strict rules),
    json_object, lm_studio, grammar, structured_outputs and guided. `drops` are paths at which the connection is closed,
    `hangs` those that are never answered, `busy` those that are answered by 503. `entry` belongs to the model's entry
    in the list of models, `described` is what other paths answer with, and `served` belongs to each part of an answer.
    `score` is the log-probability of each alternative, and a number in each vector. With `refusal_of_chats` only
    embeddings work. `calls` are deltas that answer requests with tools, which end by `calls_finish`.
    """

    able: frozenset[str] = frozenset()
    drops: frozenset[str] = frozenset()
    hangs: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()
    strict: bool = False
    says: list[dict[str, Any]] = field(default_factory=lambda: [{"content": "hel"}, {"content": "lo"}])
    score: float = -1.0
    entry: dict[str, Any] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)
    served: dict[str, Any] = field(default_factory=dict)
    finish: str | None = "stop"
    calls: list[dict[str, Any]] = field(default_factory=list)
    calls_finish: str = "tool_calls"
    refusal_of_chats: bool = False
    refusal: tuple[int, dict[str, Any]] | None = None
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self.keys.append(request.headers.get("Authorization"))
        if request.path in self.hangs:
            await asyncio.sleep(60)
        if request.path in self.drops and request.transport is not None:
            request.transport.close()
            return web.Response()
        if request.path == "/v1/models":
            entry = {"id": "mini", "created": next(_clock), "max_model_len": 512} | self.entry
            return web.json_response({"object": "list", "data": [entry]})
        if request.path in self.busy:
            return web.json_response({"error": {"message": "Loading model", "code": 503}}, status=503)
        if request.path in self.described:
            return web.json_response(self.described[request.path])
        body = await request.json() if request.can_read_body else {}
        self.seen.append(body)
        if self.refusal_of_chats and "messages" in body:
            return web.json_response({"error": {"message": "this model embeds"}}, status=400)
        if self.refusal:
            return web.json_response(self.refusal[1], status=self.refusal[0])
        if request.path == "/v1/embeddings" and "embeddings" in self.able:
            rows = [{"index": at, "embedding": [len(text), -self.score]} for at, text in enumerate(body["input"])]
            return web.json_response({"data": rows[::-1]})
        if request.path == "/v1/chat/completions" or (request.path == "/v1/completions" and "completions" in self.able):
            unknown = sorted(body.keys() - KNOWN - self.able)
            if self.strict and unknown:
                return web.json_response({"error": {"message": f"unknown field {unknown[0]}"}}, status=400)
            try:
                constrained_text(body, self.able)
                return await self.stream(request, body)
            except Refused as refused:
                return web.json_response({"error": {"message": str(refused)}}, status=400)
        return web.json_response({"error": {"message": "no such route"}}, status=404)

    async def stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        """Send an answer, an event a part."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in self.parts(body):
            await response.write(f"data: {json.dumps(part)}\n\n".encode())
        await response.write(b": a comment\n\ndata: [DONE]\n\n")
        return response

    def parts(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events of an answer."""
        constrained = constrained_text(body, self.able)
        said = self.says if constrained is None else [{"content": constrained}]
        is_called = bool(self.calls and "tools" in body)
        said = self.calls if is_called else said
        listed = [
            {"token": "é", "bytes": None, "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": self.score}]}
        ]
        scored = {"logprobs": {"content": listed}} if body.get("logprobs") and "logprobs" in self.able else {}
        choices: list[dict[str, Any]] = [{"delta": delta, "finish_reason": None} | scored for delta in said]
        if "prompt" in body:
            choices = [{"text": delta["content"], "finish_reason": None} | scored for delta in said]
        if self.finish:
            choices.append({"delta": {}, "finish_reason": self.calls_finish if is_called else self.finish})
        begun = body.get("messages", [{}])[-1].get("role") == "assistant"
        tokens = 10 + (1 if "continue" in self.able else 5) * begun
        usage = {"prompt_tokens": tokens, "completion_tokens": len(said), "total_tokens": tokens + len(said)}
        parts = [{"choices": [choice]} for choice in choices] + [{"choices": [], "usage": usage}]
        return [part | self.served for part in parts]


@asynccontextmanager
async def serving(server: OpenAIServer) -> AsyncIterator[OpenAIServer]:
    """Run a server on loopback."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}/v1"
        yield server
    finally:
        await runner.cleanup()


@contextmanager
def serving_in_thread(server: OpenAIServer) -> Iterator[OpenAIServer]:
    """Run a server on loopback in a thread, for a command that runs in this one."""
    ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with serving(server):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
