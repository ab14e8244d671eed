"""Servers of OpenAI's protocol, by small ones that know more or less of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from promptkit.errors import (
    AccessDenied,
    BadReply,
    ConnectionFailed,
    ContextOverflow,
    InputError,
    ModelMissing,
    PromptkitError,
    RequestRefused,
    ServerBusy,
    ServerFailed,
    Unsupported,
)
from promptkit.runtimes.api_keys import api_key_for
from promptkit.runtimes.base import Alternative, Message, Request, Thought, Token
from promptkit.runtimes.servers.openai import OpenAI
from tests.runtimes.servers.openai_server import LM_STUDIO, OLD_VLLM, OPENAI, VLLM, OpenAIServer, serving

CAPABLE = {"chat", "system", "sampling", "stop", "seed"}
MAKES_UP = Request(messages=(Message("user", "Name a colour."),), max_tokens=8)


@asynccontextmanager
async def opened(url: str, name: str = "mini") -> AsyncIterator[OpenAI]:
    runtime = OpenAI(name, base_url=url)
    try:
        yield runtime
    finally:
        await runtime.close()


class Endless(OpenAIServer):
    """Generates until nobody reads any more."""

    def __init__(self) -> None:
        super().__init__()
        self.left = asyncio.Event()

    async def stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["max_tokens"] < 5_000:  # a probe
            return await super().stream(request, body)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b'data: {"choices": [{"delta": {"content": "on and on "}}]}\n\n')
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise


async def test_cancelling_closes_the_connection_while_the_server_generates() -> None:
    arrived = asyncio.Event()
    async with serving(server := Endless()), opened(server.url) as runtime, asyncio.timeout(10):
        task = asyncio.create_task(runtime.answer(replace(MAKES_UP, max_tokens=5_000), lambda piece: arrived.set()))
        await arrived.wait()
        assert not server.left.is_set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.left.wait()


# what is found out by asking

FOUND: list[tuple[str, OpenAIServer, set[str]]] = [
    ("nothing, all else ignored", OpenAIServer(), set()),
    ("nothing, all else refused", OpenAIServer(strict=True), set()),
    (
        "all that vLLM can",
        OpenAIServer(VLLM),
        {"continue", "complete", "logprobs", "schema", "grammar", "choice", "regex"},
    ),
    (
        "all that vLLM could before 0.12",
        OpenAIServer(OLD_VLLM),
        {"continue", "complete", "logprobs", "schema", "grammar", "choice", "regex"},
    ),
    ("what OpenAI can", OpenAIServer(OPENAI, strict=True), {"logprobs", "object_schema", "json_object"}),
    ("what LM Studio can", OpenAIServer(LM_STUDIO), {"complete", "object_schema"}),
    ("any JSON object", OpenAIServer(frozenset({"json_object"})), {"json_object"}),
    ("a grammar by its plain name", OpenAIServer(frozenset({"grammar"})), {"grammar"}),
    ("embeddings", OpenAIServer(frozenset({"embeddings"})), {"embeddings"}),
]


@pytest.mark.parametrize(("what", "server", "capabilities"), FOUND, ids=[row[0] for row in FOUND])
async def test_only_what_is_seen_to_work_counts(what: str, server: OpenAIServer, capabilities: set[str]) -> None:
    async with serving(server), opened(server.url) as runtime:
        model = await runtime.model()
    assert model.capabilities == CAPABLE | capabilities
    assert model.context == 512


async def test_a_request_is_sent_in_the_protocols_words() -> None:
    server = OpenAIServer(frozenset({"continue", "structured_outputs", "logprobs"}))
    async with serving(server), opened(server.url) as runtime:
        await runtime.model()
        request = Request(
            messages=(Message("system", "Be brief."),),
            begun="A:",
            grammar='root ::= "a"',
            seed=1,
            stop=("\n",),
            alternatives=99,
        )
        await runtime.answer(request)
    assert server.seen[-1] == {
        "model": "mini",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "A:"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 512,
        "temperature": 0.0,
        "seed": 1,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 20,
        "structured_outputs": {"grammar": 'root ::= "a"'},
        "continue_final_message": True,
        "add_generation_prompt": False,
    }


# what comes back


async def test_a_reply_has_text_thoughts_counts_and_log_probabilities() -> None:
    server = OpenAIServer(
        frozenset({"logprobs"}), says=[{"reasoning_content": "hm"}, {"content": "é"}], finish="length"
    )
    heard: list[str] = []
    async with serving(server), opened(server.url) as runtime:
        reply = await runtime.answer(Request(messages=MAKES_UP.messages, alternatives=1), heard.append)
    assert (reply.text, reply.thoughts, reply.finish, heard) == ("é", "hm", "length", ["hm", "é"])
    assert [type(piece) for piece in heard] == [Thought, str]
    assert (reply.tokens_in, reply.tokens_out, reply.tokens_thought) == (10, 2, 1)
    assert [(token.piece, token.alternatives) for token in reply.tokens] == [("é".encode(), (Alternative(b"a", -1.0),))]


async def test_the_log_probabilities_of_a_raw_text_come_in_openais_older_form_too() -> None:
    class Older(OpenAIServer):
        def parts(self, body: dict[str, Any]) -> list[dict[str, Any]]:
            if "prompt" not in body:
                return super().parts(body)
            older = {"tokens": [" a"], "token_logprobs": [-0.5], "top_logprobs": [{" a": -0.5, " b": -1.5}]}
            choices = [{"text": " a", "logprobs": older}, {"text": "", "logprobs": None, "finish_reason": "stop"}]
            return [{"choices": [choice]} for choice in choices]

    server = Older(frozenset({"completions", "logprobs"}))
    async with serving(server), opened(server.url) as runtime:
        reply = await runtime.answer(Request(prompt="Say", alternatives=2, max_tokens=1))
    assert reply.tokens == (Token(b" a", -0.5, (Alternative(b" a", -0.5), Alternative(b" b", -1.5))),)


async def test_a_count_larger_than_the_window_is_not_a_count() -> None:
    server = OpenAIServer(entry={"max_model_len": 9})
    async with serving(server), opened(server.url) as runtime:
        await runtime.model()
        reply = await runtime.answer(MAKES_UP)
    assert (reply.tokens_in, reply.tokens_out) == (None, 2)


async def test_a_server_that_counts_nothing_still_completes_and_still_lacks_log_probabilities() -> None:
    class Uncounted(OpenAIServer):
        def parts(self, body: dict[str, Any]) -> list[dict[str, Any]]:
            return super().parts(body)[:-1]

    server = Uncounted(frozenset({"completions"}))
    async with serving(server), opened(server.url) as runtime:
        assert (await runtime.model()).capabilities == CAPABLE | {"complete"}
        with pytest.raises(Unsupported):
            await runtime.answer(Request(messages=MAKES_UP.messages, alternatives=1))


async def test_embeddings_come_in_the_order_of_the_texts() -> None:
    server = OpenAIServer(frozenset({"embeddings"}))
    async with serving(server), opened(server.url) as runtime:
        assert await runtime.embed(["a", "bbb"]) == [[1, 1], [3, 1]]
    server.able = frozenset()
    async with serving(server), opened(server.url) as runtime:
        with pytest.raises(Unsupported):
            await runtime.embed(["a"])


FAILURES: list[tuple[str, dict[str, Any], type[PromptkitError]]] = [
    ("a full window", {"refusal": (400, {"error": {"message": "maximum context length is 8192"}})}, ContextOverflow),
    ("another refusal", {"refusal": (400, {"error": {"message": "no"}})}, RequestRefused),
    ("no key", {"refusal": (401, {"error": {"message": "no key"}})}, AccessDenied),
    ("no such model", {"refusal": (404, {"error": {"message": "The model does not exist"}})}, ModelMissing),
    ("too many requests", {"refusal": (429, {"error": {"message": "slow down"}})}, ServerBusy),
    ("a fault", {"refusal": (500, {"error": {"message": "oops"}})}, ServerFailed),
    ("no end", {"finish": None}, BadReply),
    ("no protocol", {"says": [{"content": 7}]}, BadReply),
    ("no log-probabilities", {"says": [{"content": "yes"}]}, Unsupported),
]


@pytest.mark.parametrize(("what", "changes", "error"), FAILURES, ids=[row[0] for row in FAILURES])
async def test_a_failure_is_our_error(what: str, changes: dict[str, Any], error: type[PromptkitError]) -> None:
    server = OpenAIServer(frozenset({"logprobs"}))
    async with serving(server), opened(server.url) as runtime:
        await runtime.model()
        for name, value in {"able": frozenset(), **changes}.items():
            setattr(server, name, value)
        with pytest.raises(error):
            await runtime.answer(Request(messages=MAKES_UP.messages, alternatives=1))


async def test_a_misspelt_model_gets_the_nearest_name() -> None:
    server = OpenAIServer(refusal=(404, {"error": {"message": "The model `minni` does not exist"}}))
    async with serving(server), opened(server.url, "minni") as runtime:
        with pytest.raises(ModelMissing) as caught:
            await runtime.model()
    assert caught.value.hint == "did you mean `mini`?"


async def test_a_server_that_is_down_is_noticed_at_once(unused_tcp_port: int) -> None:
    async with opened(f"http://127.0.0.1:{unused_tcp_port}/v1") as runtime:
        with pytest.raises(ConnectionFailed):
            await runtime.model()


def test_an_address_without_a_scheme_is_an_error_of_the_input() -> None:
    with pytest.raises(InputError):
        OpenAI("mini", base_url="127.0.0.1:8080/v1")


# keys

HERE, THERE, OPENAIS = "http://127.0.0.1:1/v1", "https://elsewhere.example/v1", "https://api.openai.com/v1"
KEYS: list[tuple[dict[str, str], str, str | None]] = [
    ({}, HERE, None),
    ({"OPENAI_API_KEY": " a\n"}, HERE, "a"),
    ({"OPENAI_API_KEY": "a"}, OPENAIS, "a"),
    ({"OPENAI_API_KEY": "a"}, THERE, None),
    ({"OPENAI_API_KEY": "a", "OPENAI_BASE_URL": THERE}, THERE, "a"),
    ({"OPENAI_API_KEY": "a", "PROMPTKIT_OPENAI_KEY": "b"}, HERE, "b"),
    ({"PROMPTKIT_OPENAI_KEY": "b"}, THERE, "b"),
]


@pytest.mark.attack("key")
@pytest.mark.parametrize(("variables", "url", "key"), KEYS)
def test_a_key_goes_only_to_whom_it_belongs(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, key: str | None
) -> None:
    for name in ("OPENAI_API_KEY", "PROMPTKIT_OPENAI_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert api_key_for(url) == key


@pytest.mark.attack("key")
async def test_a_key_is_sent_and_is_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "planted-key")
    server = OpenAIServer()
    async with serving(server), opened(server.url) as runtime:
        model = await runtime.model()
        server.refusal = (401, {"error": {"message": "key refused"}})
        with pytest.raises(AccessDenied) as caught:
            await runtime.answer(MAKES_UP)
        assert set(server.keys) == {"Bearer planted-key"}
        assert "planted-key" not in f"{model!r} {runtime!r} {vars(runtime)} {caught.value} {caught.value!r}"


@pytest.mark.attack("key")
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTKIT_OPENAI_KEY", "plänted\nkey")
    with pytest.raises(AccessDenied) as caught:
        api_key_for(HERE)
    assert "plänted" not in str(caught.value)


# what is optional


OPTIONAL = ["/v1/models", "/props", "/v1/embeddings", "/v1/completions"]


@pytest.mark.attack("server")
@pytest.mark.parametrize("dropped", [*([path] for path in OPTIONAL), OPTIONAL], ids=str)
async def test_a_server_that_drops_what_it_does_not_know_still_chats(dropped: list[str]) -> None:
    async with serving(OpenAIServer(drops=frozenset(dropped))) as server, opened(server.url) as runtime:
        model = await runtime.model()
        reply = await runtime.answer(MAKES_UP)
    assert model.capabilities == CAPABLE and reply.text == "hello"


@pytest.mark.attack("server")
async def test_a_server_that_never_answers_what_it_does_not_know_still_chats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.runtimes.servers.openai.DESCRIBE_SECONDS", 0.1)
    monkeypatch.setattr("promptkit.runtimes.servers.probes.PROBE_SECONDS", 0.1)
    async with serving(OpenAIServer(hangs=frozenset(OPTIONAL))) as server, opened(server.url) as runtime:
        model = await runtime.model()
        reply = await runtime.answer(MAKES_UP)
    assert model.capabilities == CAPABLE and reply.text == "hello"


async def test_a_server_that_loads_its_model_is_not_taken_for_another_one() -> None:
    async with serving(OpenAIServer(busy=frozenset({"/props"}))) as server, opened(server.url) as runtime:
        with pytest.raises(ServerBusy, match="Loading model"):
            await runtime.model()
        server.busy = frozenset()
        assert (await runtime.model()).capabilities == CAPABLE


@pytest.mark.attack("server")
async def test_a_server_that_drops_chats_is_gone() -> None:
    drops = frozenset({*OPTIONAL, "/v1/chat/completions"})
    async with serving(OpenAIServer(drops=drops)) as server, opened(server.url) as runtime:
        with pytest.raises(ConnectionFailed):
            await runtime.model()
