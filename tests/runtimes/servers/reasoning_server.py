"""A scripted reasoning model behind both protocols.

Limit and stop strings fall on all that it generates, thoughts included, as they do on the servers' completion paths.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.runtimes.servers.constraints import constrained_text
from tests.runtimes.servers.ollama_server import Answer, FakeModel, OllamaServer, pieces

Mind = Callable[[str], tuple[str, str]]
"""From the text of a request to thoughts and answer."""
Switch = Literal["template", "effort", "type", ""]


def text_of(body: dict[str, Any]) -> str:
    """Return the text of a request's messages."""
    return "\n".join(message["content"] for message in body["messages"])


@dataclass
class ReasoningServer:
    """OpenAI's protocol. `switch` turns thoughts off. With `named` they arrive in a field of their own, and a schema
    holds for the answer alone, and `hidden` ones are only counted; else between `<think>` marks, and a schema forbids
    them. With `opened` the chat
    template has written the first mark. `llama`: it is llama-server.
    """

    mind: Mind
    switch: Switch = "template"
    thinks: bool = True
    named: bool = True
    hidden: bool = False
    opened: bool = False
    llama: bool = False
    wants_modern_limit: bool = False
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    cancelled: int = 0

    def is_thinking(self, body: dict[str, Any]) -> bool:
        """Tell whether a request is answered after thoughts."""
        found = {
            "template": (body.get("chat_template_kwargs") or {}).get("enable_thinking"),
            "effort": None if "reasoning_effort" not in body else body["reasoning_effort"] != "none",
            "type": None if "thinking" not in body else body["thinking"]["type"] == "enabled",
            "": None,
        }[self.switch]
        return self.thinks if found is None else found

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": "reasoner"}]})
        if request.path == "/props" and self.llama:
            template = "{% if enable_thinking %}<think>{% endif %}"
            settings = {"default_generation_settings": {"n_ctx": 32768}, "chat_template": template, "total_slots": 2}
            return web.json_response(settings)
        if request.path != "/v1/chat/completions":
            return web.json_response({"error": {"message": "no such route"}}, status=404)
        body = await request.json()
        self.seen.append(body)
        if self.wants_modern_limit and "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return web.json_response({"error": {"message": message}}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for event in self.events(body):
                await response.write(f"data: {json.dumps(event)}\n\n".encode())
                await asyncio.sleep(0)
            await response.write(b"data: [DONE]\n\n")
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        return response

    def events(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events of an answer."""
        thoughts, answer = self.mind(text_of(body))
        constrained = constrained_text(body, frozenset({"schema"}))
        if constrained is not None:
            answer = _within(answer, constrained)
        thinking = self.is_thinking(body) and not (constrained is not None and not self.named)
        deltas = [("reasoning_content", piece) for piece in pieces(thoughts)] if thinking and self.named else []
        if thinking and not self.named:
            ending = f"</think>\n\n{answer}" if answer else ""
            answer = f"{'' if self.opened else '<think>'}{thoughts}{ending}"
        deltas += [("content", piece) for piece in pieces(answer)]
        limit = body.get("max_completion_tokens", body.get("max_tokens", 10**6))
        kept: list[dict[str, Any]] = []
        finish, said = "stop", ""
        for name, piece in deltas:
            if len(kept) == limit:
                finish = "length"
                break
            said += piece
            if any(stop in said for stop in body.get("stop") or ()):
                break
            kept.append({"choices": [{"delta": {name: piece}, "finish_reason": None}]})
        spent = sum("reasoning_content" in event["choices"][0]["delta"] for event in kept)
        if self.hidden:
            kept = kept[spent:]
        tokens = 10 + 5 * (body["messages"][-1]["role"] == "assistant")
        usage: dict[str, Any] = {"prompt_tokens": tokens, "completion_tokens": len(kept)}
        if self.hidden:
            usage["completion_tokens"] += spent
            usage["completion_tokens_details"] = {"reasoning_tokens": spent}
        return [*kept, {"choices": [{"delta": {}, "finish_reason": finish}]}, {"choices": [], "usage": usage}]


def _within(answer: str, constrained: str) -> str:
    """Return an answer in the JSON that a schema asks for; the smallest such JSON where the answer is not JSON."""
    smallest = json.loads(constrained)
    try:
        value = json.loads(answer)
    except ValueError:
        return constrained
    return json.dumps({"answer": value}) if isinstance(smallest, dict) and "answer" in smallest else answer


@asynccontextmanager
async def reasoning_openai(mind: Mind, **settings: Any) -> AsyncIterator[ReasoningServer]:
    """Run the model behind OpenAI's protocol."""
    server = ReasoningServer(mind, **settings)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}/v1"
        yield server
    finally:
        await runner.cleanup()


def reasoning_ollama(mind: Mind) -> OllamaServer:
    """Return the model behind Ollama's protocol; its window holds any thoughts of the tests."""

    async def respond(prompt: str, body: dict[str, Any]) -> Answer:
        thoughts, answer = mind(text_of(body) if "messages" in body else prompt)
        return Answer(answer, thoughts=thoughts)

    model = FakeModel(
        "reasoner", respond=respond, capabilities=("completion", "thinking"), context_length=65536, leaves_open=False
    )
    return OllamaServer(model)
