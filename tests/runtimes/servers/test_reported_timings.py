"""What servers report of their own speed, slots and memory, as their runtimes read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promptkit.runtimes.base import Memory, Message, Reply, Request
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.openai import OpenAI
from tests.runtimes.servers.ollama_server import FakeModel, OllamaServer
from tests.runtimes.servers.openai_server import OpenAIServer, serving

ASKED = Request(messages=(Message("user", "Name a colour."),), max_tokens=8)
PROPERTIES = {"default_generation_settings": {"n_ctx": 512}, "total_slots": 3, "chat_template": "{{ messages }}"}
TIMINGS = {"cache_n": 4, "prompt_n": 6, "prompt_ms": 500.0, "predicted_n": 2, "predicted_ms": 250.0}


async def answers(server: OpenAIServer, *requests: Request) -> tuple[list[Reply], int | None]:
    """Return the replies to requests, and the slots of the model; the server has seen these requests alone."""
    async with serving(server):
        runtime = OpenAI("mini", base_url=server.url)
        try:
            slots = (await runtime.model()).slots
            server.seen.clear()
            return [await runtime.answer(request) for request in requests], slots
        finally:
            await runtime.close()


async def test_llama_server_reports_its_timings_and_slots() -> None:
    server = OpenAIServer(described={"/props": PROPERTIES}, served={"timings": TIMINGS})
    (reply,), slots = await answers(server, ASKED)
    assert slots == 3
    assert (reply.tokens_reused, reply.prompt_seconds, reply.output_seconds) == (4, 0.5, 0.25)
    assert reply.tokens_a_second == 4.0 and reply.prompt_tokens_a_second == 12.0


@pytest.mark.parametrize(("is_llama", "sent"), [(True, [None, False]), (False, [None, None])])
async def test_llama_server_alone_is_told_to_read_the_whole_prompt(is_llama: bool, sent: list[Any]) -> None:
    server = OpenAIServer(described={"/props": PROPERTIES} if is_llama else {}, strict=False)
    await answers(server, ASKED, replace(ASKED, reuse_prefix=False))
    assert [body.get("cache_prompt") for body in server.seen] == sent


@pytest.mark.parametrize("timings", ["fast", {"prompt_ms": -1, "cache_n": "4", "predicted_ms": None}])
async def test_timings_that_cannot_be_true_leave_the_answer_as_it_is(timings: Any) -> None:
    server = OpenAIServer(described={"/props": PROPERTIES}, served={"timings": timings})
    (reply,), _ = await answers(server, ASKED)
    assert reply.text == "hello"
    assert (reply.tokens_reused, reply.prompt_seconds, reply.output_seconds) == (None, None, None)


async def test_another_server_reports_no_slots() -> None:
    replies, slots = await answers(OpenAIServer(), ASKED)
    assert slots is None and replies[0].output_seconds is None and replies[0].first_token is not None


async def test_ollama_reports_its_durations_and_memory() -> None:
    with OllamaServer(FakeModel("tiny")) as server:
        runtime = Ollama("tiny", host=server.url)
        try:
            reply = await runtime.answer(ASKED)
            assert (reply.tokens_reused, reply.prompt_seconds, reply.output_seconds) == (None, 0.001, 0.002)
            assert await runtime.memory() == Memory(98_362_432, "as Ollama counts it", gpu=0)
        finally:
            await runtime.close()


async def test_the_memory_of_a_model_that_ollama_has_not_loaded_is_not_known() -> None:
    with OllamaServer(FakeModel("tiny")) as server:
        runtime = Ollama("tiny", host=server.url)
        try:
            assert await runtime.memory() is None
        finally:
            await runtime.close()
