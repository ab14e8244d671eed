"""A server that is silent or says nothing without an end is left at the deadline, whatever it does meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from promptkit.errors import DeadlinePassed
from promptkit.runtimes.base import Message, Model, Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.openai import OpenAI
from tests.runtimes.servers.fault_server import Misdeed, again_and_again, drip, faulty, silence

SECONDS = 0.3
ASKED = Request(messages=(Message("user", "hello"),))
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
PART = b'data: {"choices": [{"index": 0, "delta": {"content": ""}}]}\n\n'
MISDEEDS: dict[str, Misdeed] = {
    "silence": silence,
    "a byte now and then": drip,
    "100 Continue, again and again": again_and_again(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
    "a head without an end": again_and_again(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.02),
    "a body that does not begin": again_and_again(STREAM, b"", 0.02),
    "comments": again_and_again(STREAM, b": wait\n\n", 0.001),
    "blank lines": again_and_again(STREAM, b"\n" * 100, 0.001),
    "events without text": again_and_again(STREAM, PART, 0.001),
    "a line without an end": again_and_again(STREAM, b"data: ", 0.001),
    "an error without an end": again_and_again(b"HTTP/1.1 500 Error\r\n\r\n", b" ", 0.001),
}


class Known(OpenAI):
    """A model that needs no describing."""

    async def model(self) -> Model:
        return Model(reference=self._reference, digest="d", capabilities=frozenset({"chat"}))


@pytest.mark.attack("server")
@pytest.mark.parametrize("misdeed", MISDEEDS.values(), ids=MISDEEDS.keys())
async def test_a_request_ends_at_its_deadline(misdeed: Misdeed) -> None:
    async with asyncio.timeout(10 * SECONDS), faulty(misdeed) as server:
        client = Client(Known("mini", base_url=server.url), deadline=SECONDS)
        with pytest.raises(DeadlinePassed, match=f"within {SECONDS} seconds"):
            await client.ask(ASKED)
        await client.close()


@pytest.mark.attack("server")
@pytest.mark.parametrize("protocol", ["openai", "ollama"])
@pytest.mark.parametrize("misdeed", [silence, drip], ids=["silence", "a byte now and then"])
async def test_describing_a_model_ends_at_the_same_deadline(protocol: str, misdeed: Misdeed) -> None:
    async with asyncio.timeout(10 * SECONDS), faulty(misdeed) as server:
        host = server.url.removesuffix("/v1")
        runtime = OpenAI("mini", base_url=server.url) if protocol == "openai" else Ollama("tiny", host=host)
        client = Client(runtime, deadline=SECONDS)
        with pytest.raises(DeadlinePassed):
            await client.ask(ASKED)
        await client.close()


@pytest.mark.attack("server")
@pytest.mark.parametrize("ended", [True, False])
async def test_an_answer_that_is_whole_does_not_wait_for_the_connections_end(
    ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptkit.runtimes.reply_reader.GRACE_SECONDS", 0.05)
    said = b'data: {"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\n'

    async def misdeed(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + said + (b"data: [DONE]\n\n" if ended else b""))
        await silence(writer)

    async with faulty(misdeed) as server:
        client = Client(Known("mini", base_url=server.url), deadline=SECONDS)
        if ended:
            assert (await client.ask(ASKED)).text == "hi"
        else:
            with pytest.raises(DeadlinePassed):
                await client.ask(ASKED)
        await client.close()


@pytest.mark.attack("server")
async def test_a_stream_past_its_limit_is_cut_at_once() -> None:
    part = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
    closed = asyncio.Event()

    async def misdeed(writer: asyncio.StreamWriter) -> None:
        try:
            await again_and_again(STREAM, part, 0)(writer)
        finally:
            closed.set()

    async with asyncio.timeout(20), faulty(misdeed) as server:
        client = Client(Known("mini", base_url=server.url))
        reply = await client.ask(Request(messages=ASKED.messages, max_tokens=5))
        await closed.wait()
        await client.close()
    assert (reply.finish, reply.tokens_out) == ("length", 5)
