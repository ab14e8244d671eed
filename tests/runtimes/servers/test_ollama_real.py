"""The adapter against a real Ollama server, where `PROMPTKIT_OLLAMA` names its address.

The server needs a chat model; `PROMPTKIT_OLLAMA_MODEL` names it, `smollm2` otherwise.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from math import exp
from time import time
from typing import Any

import pytest

from promptkit.errors import ContextOverflow, ModelMissing
from promptkit.runtimes.base import FunctionCall, Message, Request, ToolDefinition
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.ollama_server import installed_models

HOST = os.environ.get("PROMPTKIT_OLLAMA", "")
NAME = os.environ.get("PROMPTKIT_OLLAMA_MODEL", "smollm2")
REVIEW = (Message("user", "Is this review positive or negative? I loved the film."),)

pytestmark = pytest.mark.skipif(not HOST, reason="PROMPTKIT_OLLAMA names no Ollama server")


@pytest.fixture
async def ollama() -> AsyncIterator[Ollama]:
    runtime = Ollama(NAME, host=HOST, context=2048)
    await runtime.model()
    yield runtime
    await runtime.close()


async def test_the_server_describes_its_model(ollama: Ollama) -> None:
    model = await ollama.model()
    assert model.capabilities >= {"chat", "complete", "continue", "logprobs", "schema", "seed", "stop", "template"}
    assert model.context and model.size and model.parallel >= 2
    found = {listed.name: listed for listed in await installed_models(HOST, timeout=5) or ()}
    listed = found[NAME if ":" in NAME else f"{NAME}:latest"]
    assert listed.digest in model.digest
    assert listed.parameters and listed.quantization and "completion" in listed.reported
    assert listed.loaded is not None
    assert listed.loaded.until > time()
    assert listed.loaded.context == 2048


async def test_a_chat_a_raw_text_and_a_system_message_are_answered_in_pieces(ollama: Ollama) -> None:
    system = Message("system", "Answer in one word.")
    for request in (
        Request(messages=REVIEW, max_tokens=8),
        Request(messages=(system, *REVIEW), max_tokens=8),
        Request(prompt="The capital of France is", max_tokens=8),
    ):
        heard: list[str] = []
        reply = await ollama.answer(request, heard.append)
        assert reply.text and reply.text == "".join(heard)
        assert reply.tokens_in and reply.tokens_out and reply.context == 2048


SCHEMAS: list[tuple[str, dict[str, Any], Any]] = [
    ("a label", {"enum": ["positive", "negative"]}, ("positive", "negative")),
    ("a list", {"type": "array", "items": {"enum": ["positive", "negative"]}, "minItems": 1, "maxItems": 2}, list),
    ("an integer", {"type": "integer", "minimum": 1, "maximum": 5}, range(1, 6)),
    ("a truth value", {"type": "boolean"}, (True, False)),
    ("a pattern", {"type": "string", "pattern": "^[A-C]{3}$"}, str),
    ("a date", {"type": "string", "format": "date"}, str),
    ("either", {"anyOf": [{"enum": ["x"]}, {"type": "boolean"}]}, ("x", True, False)),
]


@pytest.mark.parametrize("begun", ["", "Answer: "], ids=["a new turn", "a begun turn"])
@pytest.mark.parametrize(("what", "schema", "allowed"), SCHEMAS, ids=[row[0] for row in SCHEMAS])
async def test_a_schema_of_any_root_is_enforced(
    ollama: Ollama, what: str, schema: dict[str, Any], allowed: Any, begun: str
) -> None:
    reply = await ollama.answer(Request(messages=REVIEW, begun=begun, schema=schema, max_tokens=40))
    value = json.loads(reply.text)
    assert isinstance(value, allowed) if isinstance(allowed, type) else value in allowed


async def test_properties_keep_their_order(ollama: Ollama) -> None:
    properties = {"why": {"enum": ["so"]}, "answer": {"type": "boolean"}}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    reply = await ollama.answer(Request(messages=REVIEW, schema=schema, max_tokens=40))
    assert list(json.loads(reply.text)) == ["why", "answer"]


async def test_log_probabilities_begin_with_the_begun_turns_next_token(ollama: Ollama) -> None:
    reply = await ollama.answer(Request(messages=REVIEW, begun="The review is", max_tokens=3, alternatives=20))
    first = reply.tokens[0]
    assert reply.text.startswith(first.piece.decode())
    assert len(first.alternatives) == 20
    assert 0 < sum(exp(other.logprob) for other in first.alternatives) <= 1.001


async def test_the_rendered_text_costs_the_tokens_of_the_chat(ollama: Ollama) -> None:
    text = await ollama.template(REVIEW)
    chat = await ollama.answer(Request(messages=REVIEW, max_tokens=1))
    raw = await ollama.answer(Request(prompt=text, max_tokens=1))
    assert chat.tokens_in == raw.tokens_in


async def test_a_seed_repeats_a_sample_and_a_stop_string_ends_it(ollama: Ollama) -> None:
    sampled = [
        (await ollama.answer(Request(messages=REVIEW, temperature=1.5, seed=seed, max_tokens=12))).text
        for seed in (1, 1, 1, 2)
    ]
    assert sampled[1] == sampled[2] != sampled[3]  # the first filled the prompt cache, which changes rounding
    counted = await ollama.answer(Request(prompt="1, 2, 3, 4,", stop=("7",), max_tokens=20))
    assert (counted.text.strip(), counted.finish) == ("5, 6,", "stop")


async def test_an_answer_is_cut_at_its_limit(ollama: Ollama) -> None:
    reply = await ollama.answer(Request(prompt="1, 2, 3, 4,", max_tokens=3))
    assert (reply.finish, reply.tokens_out) == ("length", 3)


@pytest.mark.parametrize("schema", [None, {"enum": ["a"]}], ids=["a chat", "a rendered chat"])
async def test_a_prompt_that_is_too_long_is_refused(ollama: Ollama, schema: dict[str, Any] | None) -> None:
    long = (Message("user", "word " * 3000),)
    with pytest.raises(ContextOverflow, match="2048"):
        await ollama.answer(Request(messages=long, schema=schema, max_tokens=4))


async def test_cancelling_frees_the_slot(ollama: Ollama) -> None:
    begun = asyncio.Event()
    endless = Request(prompt="1, 2, 3, 4,", max_tokens=1500)
    tasks = [asyncio.create_task(ollama.answer(endless, lambda _: begun.set())) for _ in range(3)]
    await begun.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(60):
        assert (await ollama.answer(Request(prompt="1, 2, 3, 4,", max_tokens=2))).text


async def test_two_requests_at_once_are_answered(ollama: Ollama) -> None:
    requests = (Request(prompt="1, 2, 3, 4,", max_tokens=4), Request(prompt="a, b, c, d,", max_tokens=4))
    numbers, letters = await asyncio.gather(*map(ollama.answer, requests))
    assert numbers.text.strip().startswith("5") and letters.text.strip().startswith("e")


TOOLS = (
    ToolDefinition(
        name="get_weather",
        description="Get the current weather in a city.",
        parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    ),
)


async def test_a_model_with_tools_calls_one_and_reads_its_result(ollama: Ollama) -> None:
    if "function_calls" not in (await ollama.model()).capabilities:
        pytest.skip(f"{NAME} takes no tools")
    roman = FunctionCall(id="call00001", name="get_weather", arguments='{"city": "Rome"}')
    asked = Request(
        messages=(
            Message("user", "What is the weather in Rome?"),
            Message("assistant", "", (roman,)),
            Message("tool", "sunny", (), roman.id, roman.name),
            Message("assistant", "It is sunny."),
            Message("user", "What is the weather in Paris? Call the tool."),
        ),
        tools=TOOLS,
        max_tokens=60,
    )
    shown = await ollama.template(asked.messages, "", asked.tools)
    assert shown and "Get the current weather" in shown and "sunny" in shown
    # Small models call by an example, or only without one.
    replies = [
        await ollama.answer(replace(asked, messages=messages)) for messages in (asked.messages, asked.messages[4:])
    ]
    reply = next(reply for reply in replies if reply.calls)
    assert [(call.name, json.loads(call.arguments)) for call in reply.calls] == [("get_weather", {"city": "Paris"})]
    turns = (
        Message("assistant", reply.text, reply.calls),
        Message("tool", "rain", (), reply.calls[0].id, "get_weather"),
    )
    after = Request(messages=(*asked.messages, *turns), schema={"enum": ["sunny", "rain"]}, max_tokens=20)
    assert json.loads((await ollama.answer(after)).text) in ("sunny", "rain")


async def test_a_missing_model_gives_the_command_that_fetches_it() -> None:
    runtime = Ollama("not-here:1b", host=HOST)
    with pytest.raises(ModelMissing) as caught:
        await runtime.model()
    assert caught.value.hint == "promptkit models pull ollama/not-here:1b"
    await runtime.close()
