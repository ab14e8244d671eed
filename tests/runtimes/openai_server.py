"""Small servers of OpenAI's protocol: one that knows much and one that knows little, for what the adapter finds out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.runtimes.constraints import Refused, constrained_text

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
    `hangs` those that are never answered.
    """

    able: frozenset[str] = frozenset()
    drops: frozenset[str] = frozenset()
    hangs: frozenset[str] = frozenset()
    strict: bool = False
    says: list[dict[str, Any]] = field(default_factory=lambda: [{"content": "hel"}, {"content": "lo"}])
    finish: str | None = "stop"
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
            return web.json_response({"object": "list", "data": [{"id": "mini", "created": 1, "max_model_len": 512}]})
        body = await request.json() if request.can_read_body else {}
        self.seen.append(body)
        if self.refusal:
            return web.json_response(self.refusal[1], status=self.refusal[0])
        if request.path == "/v1/embeddings" and "embeddings" in self.able:
            rows = [{"index": at, "embedding": [len(text), 1]} for at, text in enumerate(body["input"])]
            return web.json_response({"data": rows[::-1]})
        if request.path == "/v1/chat/completions" or (request.path == "/v1/completions" and "completions" in self.able):
            unknown = sorted(body.keys() - KNOWN - self.able)
            if self.strict and unknown:
                return web.json_response({"error": {"message": f"unknown field {unknown[0]}"}}, status=400)
            try:
                return await self.stream(request, body, constrained_text(body, self.able))
            except Refused as refused:
                return web.json_response({"error": {"message": str(refused)}}, status=400)
        return web.json_response({"error": {"message": "no such route"}}, status=404)

    async def stream(self, request: web.Request, body: dict[str, Any], constrained: str | None) -> web.StreamResponse:
        """Send an answer, an event a part."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in self.parts(body, self.says if constrained is None else [{"content": constrained}]):
            await response.write(f"data: {json.dumps(part)}\n\n".encode())
        await response.write(b": a comment\n\ndata: [DONE]\n\n")
        return response

    def parts(self, body: dict[str, Any], said: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the events of an answer."""
        listed = [{"token": "é", "bytes": None, "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -1.0}]}]
        scored = {"logprobs": {"content": listed}} if body.get("logprobs") and "logprobs" in self.able else {}
        choices: list[dict[str, Any]] = [{"delta": delta, "finish_reason": None} | scored for delta in said]
        if "prompt" in body:
            choices = [{"text": delta["content"], "finish_reason": None} | scored for delta in said]
        if self.finish:
            choices.append({"delta": {}, "finish_reason": self.finish})
        begun = body.get("messages", [{}])[-1].get("role") == "assistant"
        tokens = 10 + (1 if "continue" in self.able else 5) * begun
        usage = {"prompt_tokens": tokens, "completion_tokens": len(said), "total_tokens": tokens + len(said)}
        return [{"choices": [choice]} for choice in choices] + [{"choices": [], "usage": usage}]


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
