"""Answers of every type on every kind of server: the form is enforced, and its reply is read.

llama-server is the embedded library's own. vLLM, OpenAI and LM Studio are stand-ins that follow their documentation. A
real Ollama is asked where PROMPTKIT_OLLAMA names its address, as OLLAMA_HOST does; its first model that chats answers.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from promptkit.answers.base import AnswerType
from promptkit.answers.build import build_answer_type, instruction
from promptkit.answers.constraints.forms import reply_form
from promptkit.runtimes.base import Message, Request, Runtime
from promptkit.runtimes.client import Client
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.ollama_server import installed_models
from promptkit.runtimes.servers.openai import OpenAI
from tests.runtimes.servers.openai_server import LM_STUDIO, OLD_VLLM, OPENAI, VLLM, OpenAIServer, serving
from tests.runtimes.servers.test_llama_server import llama, llama_server, notices  # noqa: F401
from tests.runtimes.servers.test_openai import opened

TYPES: list[Any] = [
    {"label": ["a warm film", "cold, and long"]},
    {"labels": ["plot", "price"]},
    {"choice": ["one", "two"]},
    {"number": {"min": 3, "max": 7, "decimals": 0}},
    "boolean",
    {"list": {"of": "boolean", "max": 2}},
    {"list": {"max": 1, "of": {"label": ["x", "y"]}}},
    {"json": {"type": "object", "properties": {"n": {"enum": [1, 2]}, "m": {"type": "boolean"}}, "required": ["n"]}},
    {"json": {"enum": ["left", "right"]}},
]
IDS = [spec if isinstance(spec, str) else next(iter(spec)) for spec in TYPES]
STAND_INS = {
    "vLLM": OpenAIServer(VLLM),
    "vLLM before 0.12": OpenAIServer(OLD_VLLM),
    "OpenAI": OpenAIServer(OPENAI, strict=True),
    "LM Studio": OpenAIServer(LM_STUDIO),
}


async def asked(runtime: Runtime, answer: AnswerType) -> tuple[Any, str]:
    """Ask for an answer in the strongest form that the model enforces; return its value, and the reply."""
    client = Client(runtime)
    form = reply_form(answer, (await client.model()).capabilities)
    assert form.form.holds, f"nothing holds {answer.name}"
    words = f"Name any of them.\n{instruction(answer, form.writing)}"
    request = Request(messages=(Message("user", words),), max_tokens=80)
    reply = await client.ask(form.constrain(request))
    return form.read(reply.text), reply.text


@pytest.mark.parametrize("server", STAND_INS)
@pytest.mark.parametrize("spec", TYPES, ids=IDS)
async def test_a_stand_in_of_each_dialect_takes_the_form_and_is_read(server: str, spec: Any) -> None:
    stand_in, answer = STAND_INS[server], build_answer_type(spec)
    async with serving(stand_in), opened(stand_in.url) as runtime:
        value, text = await asked(runtime, answer)
    assert text != "hello", "what the stand-in says where nothing constrains it"
    assert answer.parse(answer.write(value)) == value


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("form", ["grammar", "schema"])
@pytest.mark.parametrize("spec", TYPES, ids=IDS)
async def test_a_real_llama_server_keeps_to_the_form(llama: OpenAI, spec: Any, form: Any) -> None:  # noqa: F811
    answer = build_answer_type(spec)
    reply_in = reply_form(answer, {form})
    words = f"Name any of them.\n{instruction(answer, reply_in.writing)}"
    request = reply_in.constrain(Request(messages=(Message("user", words),), max_tokens=80))
    reply = await llama.answer(request)
    value = reply_in.read(reply.text)
    assert answer.parse(answer.write(value)) == value


@asynccontextmanager
async def real_ollama() -> AsyncIterator[Ollama]:
    host = os.environ.get("PROMPTKIT_OLLAMA")
    if not host:
        pytest.skip("PROMPTKIT_OLLAMA names no server")
    name = next(model.name for model in await installed_models(host=host, timeout=5) or () if model.completes)
    runtime = Ollama(name, host=host)
    try:
        yield runtime
    finally:
        await runtime.close()


@pytest.mark.parametrize("spec", TYPES, ids=IDS)
async def test_a_real_ollama_keeps_to_the_form(spec: Any) -> None:
    answer = build_answer_type(spec)
    async with real_ollama() as runtime:
        value, _ = await asked(runtime, answer)
    assert answer.parse(answer.write(value)) == value
