"""Function calling behind OpenAI's protocol: how it is found, sent and read, over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from promptkit.errors import BadReply, RequestRefused, Unsupported
from promptkit.runtimes.base import FunctionCall, Message, Request, ToolDefinition
from promptkit.runtimes.client import Client
from promptkit.runtimes.function_calls import MOST_ARGUMENTS, MOST_CALLS
from promptkit.runtimes.servers.openai import OpenAI
from tests.runtimes.servers.openai_server import OpenAIServer, serving

WEATHER = ToolDefinition(
    name="weather",
    description="The weather of a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
ROME, OSLO = '{"city": "Rome"}', '{"city": "Oslo"}'
ASKED = Request(messages=(Message("user", "How is it in Rome?"),), tools=(WEATHER,), max_tokens=300)
CALL = FunctionCall(id="a", name="weather", arguments=ROME)
TURNS = (*ASKED.messages, Message("assistant", "", (CALL,)), Message("tool", "sunny", (), "a", "weather"))


def called(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"tool_calls": [part]} for part in parts]


def whole(index: int, arguments: Any = ROME, **more: Any) -> dict[str, Any]:
    return {"index": index, "type": "function", "function": {"name": "weather", "arguments": arguments}, **more}


@asynccontextmanager
async def opened(server: OpenAIServer) -> AsyncIterator[OpenAI]:
    async with serving(server):
        runtime = OpenAI("mini", base_url=server.url)
        try:
            yield runtime
        finally:
            await runtime.close()


async def asked(server: OpenAIServer, request: Request = ASKED) -> Any:
    async with opened(server) as runtime:
        return await runtime.answer(request)


DIALECTS: list[tuple[str, list[dict[str, Any]], str, tuple[FunctionCall, ...]]] = [
    (
        "OpenAI",
        [
            {"role": "assistant", "content": None},
            *called(whole(0, "", id="a"), {"index": 0, "function": {"arguments": '{"city":'}}),
            *called({"index": 0, "function": {"arguments": ' "Rome"}'}}, whole(1, OSLO, id="b")),
        ],
        "tool_calls",
        (CALL, FunctionCall(id="b", name="weather", arguments=OSLO)),
    ),
    (
        "whole calls in one event, which ends by stop",
        [{"tool_calls": [{"function": {"name": "weather", "arguments": ROME}, "id": "a"}]}],
        "stop",
        (CALL,),
    ),
    (
        "Ollama's objects and empty ids",
        [{"tool_calls": [whole(0, {"city": "Rome"}, id="")]}],
        "tool_calls",
        (FunctionCall(id="call00001", name="weather", arguments='{"city":"Rome"}'),),
    ),
    (
        "the older function_call",
        [{"function_call": {"name": "weather", "arguments": ""}}, {"function_call": {"arguments": ROME}}],
        "function_call",
        (FunctionCall(id="call00001", name="weather", arguments=ROME),),
    ),
    (
        "a call as text",
        [{"content": '{"name": "weather",'}, {"content": ' "arguments": {"city": "Rome"}}'}],
        "stop",
        (FunctionCall(id="call00001", name="weather", arguments='{"city":"Rome"}'),),
    ),
    (
        "fields that nobody knows",
        [{"tool_calls": [whole(0, id="a", extra={"x": 1})], "annotations": []}],
        "tool_calls",
        (CALL,),
    ),
]


@pytest.mark.parametrize(("what", "calls", "finish", "expected"), DIALECTS, ids=[row[0] for row in DIALECTS])
async def test_calls_are_read_in_every_dialect(
    what: str, calls: list[dict[str, Any]], finish: str, expected: tuple[FunctionCall, ...]
) -> None:
    heard: list[str] = []
    async with opened(server := OpenAIServer(calls=called(whole(0)))) as runtime:
        assert "function_calls" in (await runtime.model()).capabilities
        server.calls, server.calls_finish = calls, finish
        reply = await runtime.answer(ASKED, heard.append)
    assert (reply.calls, reply.text, reply.finish, heard) == (expected, "", "stop", [])


async def test_a_reply_may_have_thoughts_text_and_calls() -> None:
    says = [{"reasoning_content": "Hm."}, {"content": "I look it up."}, *called(whole(0, id="a"))]
    reply = await asked(OpenAIServer(calls=says))
    assert (reply.thoughts, reply.text, reply.calls) == ("Hm.", "I look it up.", (CALL,))


async def test_a_call_that_the_limit_cuts_off_is_a_reply_that_was_cut() -> None:
    reply = await asked(OpenAIServer(calls=called(whole(0, '{"city": "Ro', id="a")), calls_finish="length"))
    assert (reply.finish, reply.calls[0].arguments) == ("length", '{"city": "Ro')


# what is sent


async def test_tools_calls_and_results_are_sent_in_the_protocols_words() -> None:
    server = OpenAIServer(calls=called(whole(0, id="a")))
    await asked(server, replace(ASKED, messages=TURNS, tool_choice="required"))
    sent = server.seen[-1]
    assert sent["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather of a city.",
                "parameters": dict(WEATHER.parameters),
            },
        }
    ]
    assert sent["tool_choice"] == "required"
    assert "parallel_tool_calls" not in sent  # some models of OpenAI refuse it
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": ROME}}],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "a", "name": "weather"},
    ]


async def test_a_request_without_tools_says_nothing_of_them() -> None:
    server = OpenAIServer()
    await asked(server, replace(ASKED, tools=()))
    assert not server.seen[-1].keys() & {"tools", "tool_choice", "parallel_tool_calls"}


@pytest.mark.parametrize("called_by", ["tool_calls", "function_call"])
async def test_a_call_where_no_tool_was_offered_is_the_servers_fault(called_by: str) -> None:
    function = {"name": "weather", "arguments": ROME}
    delta = {called_by: [{"function": function}] if called_by == "tool_calls" else function}
    server = OpenAIServer()
    async with opened(server) as runtime:
        await runtime.model()
        server.says = [delta]
        with pytest.raises(BadReply, match="none was offered"):
            await runtime.answer(replace(ASKED, tools=()))


# how it is found


class Shy(OpenAIServer):
    """Calls a tool only where it must."""

    def parts(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        given = self.calls
        self.calls = given if body.get("tool_choice") == "required" else []
        try:
            return super().parts(body)
        finally:
            self.calls = given


class Unflagged(OpenAIServer):
    """Refuses the free choice, as vLLM does without its flags."""

    async def stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body.get("tool_choice") == "auto":
            return web.json_response({"error": {"message": '"auto" tool choice requires a flag'}}, status=400)
        return await super().stream(request, body)


FOUND: list[tuple[str, OpenAIServer, bool, int]] = [
    ("that calls", OpenAIServer(calls=called(whole(0))), True, 1),
    ("that calls where it must", Shy(calls=called(whole(0))), True, 2),
    ("that ignores tools", OpenAIServer(), False, 2),
    ("that refuses tools", OpenAIServer(strict=True), False, 2),
    ("that refuses the free choice", Unflagged(calls=called(whole(0))), False, 2),
    ("that writes a call of another tool", OpenAIServer(calls=[{"content": json.dumps({"name": "zebra"})}]), False, 2),
]


@pytest.mark.parametrize(("what", "server", "calls", "probes"), FOUND, ids=[row[0] for row in FOUND])
async def test_a_server_calls_tools_where_a_probe_shows_it_and_is_probed_again_only_where_it_refused(
    what: str, server: OpenAIServer, calls: bool, probes: int
) -> None:
    if "another tool" in what:
        server.calls_finish = "stop"
    for _ in range(2):  # the second run knows the finding
        async with opened(server) as runtime:
            assert ("function_calls" in (await runtime.model()).capabilities) is calls
    assert sum("tools" in body for body in server.seen) == probes


class Failing(OpenAIServer):
    """Fails where tools are offered."""

    fails = True

    async def stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if self.fails and "tools" in body:
            return web.json_response({"error": {"message": "out of memory"}}, status=500)
        return await super().stream(request, body)


async def test_a_failure_of_the_probe_is_no_finding() -> None:
    server = Failing(calls=called(whole(0)))
    async with opened(server) as runtime:
        assert "function_calls" not in (await runtime.model()).capabilities
    server.fails = False
    async with opened(server) as runtime:
        assert "function_calls" in (await runtime.model()).capabilities


PROPERTIES = {"default_generation_settings": {"n_ctx": 512}, "total_slots": 1}


@pytest.mark.parametrize(
    ("stated", "calls", "probes"),
    [
        ({"supports_tools": True, "supports_tool_calls": True}, True, 1),
        ({"supports_tools": True, "supports_tool_calls": False}, False, 0),
        ({"supports_tools": False}, False, 0),
        (None, False, 2),
    ],
    ids=["both", "no calls", "no tools", "an older one, which states nothing"],
)
async def test_llama_server_states_what_its_template_knows(stated: Any, calls: bool, probes: int) -> None:
    properties = PROPERTIES if stated is None else {**PROPERTIES, "chat_template_caps": stated}
    server = OpenAIServer(described={"/props": properties})
    async with opened(server) as runtime:
        assert ("function_calls" in (await runtime.model()).capabilities) is calls
        assert sum("tools" in body for body in server.seen) == probes
        if calls:
            await runtime.answer(ASKED)
            assert server.seen[-1]["parallel_tool_calls"] is True


async def test_llama_server_without_jinja_takes_no_tools() -> None:
    server = Unflagged(
        described={
            "/props": {**PROPERTIES, "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True}}
        }
    )
    async with opened(server) as runtime:
        assert "function_calls" not in (await runtime.model()).capabilities


@pytest.mark.parametrize("request_", [ASKED, replace(ASKED, messages=TURNS, tools=())], ids=["tools", "a result"])
async def test_a_model_that_calls_nothing_is_offered_nothing(request_: Request) -> None:
    server = OpenAIServer()
    async with opened(server) as runtime:
        client = Client(runtime)
        await client.model()
        server.seen.clear()
        with pytest.raises(Unsupported, match="cannot call functions"):
            await client.ask(request_)
    assert not server.seen


# what a hostile server sends

HOSTILE: list[tuple[str, list[dict[str, Any]], str]] = [
    ("calls that are no list", [{"tool_calls": {"0": whole(0)}}], "does not speak"),
    ("a call that is a text", [{"tool_calls": ["weather"]}], "does not speak"),
    ("an index that is a text", called({**whole(0), "index": "0"}), "does not speak"),
    ("arguments that are a list", called(whole(0, ["Rome"])), "does not speak"),
    ("a call without a name", called({"index": 0, "function": {"arguments": ROME}}), "does not speak"),
    (
        "more calls than anyone makes",
        [{"tool_calls": [whole(at) for at in range(MOST_CALLS + 1)]}],
        "more than 64 tools",
    ),
    ("arguments without an end", called(whole(0, "x" * MOST_ARGUMENTS)), "characters in one reply"),
    ("an end by calls without one", [{"content": "hello"}], "no call came"),
]


@pytest.mark.attack("server")
@pytest.mark.parametrize(("what", "calls", "message"), HOSTILE, ids=[row[0] for row in HOSTILE])
async def test_calls_of_another_shape_are_the_servers_fault(
    what: str, calls: list[dict[str, Any]], message: str
) -> None:
    server = OpenAIServer(calls=called(whole(0)))
    async with opened(server) as runtime:
        await runtime.model()
        server.calls = calls
        with pytest.raises(BadReply, match=message):
            await runtime.answer(ASKED)


async def test_arguments_beyond_the_limit_of_tokens_end_the_reply() -> None:
    server = OpenAIServer(calls=called(whole(0, "", id="a"), *[{"index": 0, "function": {"arguments": "x" * 500}}] * 9))
    reply = await asked(server, replace(ASKED, max_tokens=10))
    assert reply.finish == "length"
    assert len(reply.calls[0].arguments) < 10 * 500


@pytest.mark.attack("key")
async def test_a_servers_key_in_a_call_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-CANARY/4f9a1c+KEY"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("PROMPTKIT_CALLS_KEY", key)
    server = OpenAIServer(calls=called(whole(0, json.dumps({"city": key}), id=key)))
    async with serving(server):
        runtime = OpenAI("mini", base_url=server.url, key_env="PROMPTKIT_CALLS_KEY")
        try:
            reply = await runtime.answer(ASKED)
        finally:
            await runtime.close()
    assert key in str(server.keys)
    assert key not in repr(reply) and reply.calls[0].arguments == '{"city": "…"}'


async def test_a_refusal_of_the_request_is_the_servers_words() -> None:
    server = OpenAIServer(calls=called(whole(0)))
    async with opened(server) as runtime:
        await runtime.model()
        server.refusal = (400, {"error": {"message": "Invalid schema for function 'weather'"}})
        with pytest.raises(RequestRefused, match="Invalid schema"):
            await runtime.answer(ASKED)
