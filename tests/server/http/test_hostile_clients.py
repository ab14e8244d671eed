"""Clients that send too much, too slowly, nothing, or what is not HTTP or JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from promptkit.runtimes.base import Reply, Request
from promptkit.server.http import stream
from promptkit.server.http.body import MAX_DEPTH
from tests.server.http.serving import Gate, Served, chat, serving, write_project

MEGABYTE = 1 << 20


def reply(request: Request) -> str:
    return "billing"


def head(length: int | str | None, *more: str, path: str = "/pipelines/topic") -> bytes:
    """Return the head of a POST of JSON."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


async def still_serves(served: Served) -> bool:
    """Tell whether the server still answers others."""
    status, record = await served.post("/pipelines/topic", {"inputs": {"text": "a refund"}})
    return status == 200 and record["output"] == "billing"


async def test_a_body_of_100_megabytes_is_refused_by_its_length(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        response = await served.raw(head(100 * MEGABYTE) + b"{")
        assert status_of(response) == 413
        assert b"larger than 1,048,576 bytes" in response
        assert await still_serves(served)


async def test_a_body_that_grows_without_a_length_is_refused_at_the_limit(tmp_path: Path) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * MEGABYTE

    async with serving(write_project(tmp_path), reply) as served:
        try:
            async with served.client.post(
                f"{served.url}/pipelines/topic", data=chunks(), headers={"Content-Type": "application/json"}
            ) as response:
                assert response.status == 413
        except OSError:
            pass  # the server closed while the client was writing
        assert sent < 100
        assert await still_serves(served)


async def test_the_largest_body_is_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    body = json.dumps({"inputs": {"text": "a refund"}}).encode()
    async with serving(write_project(tmp_path), reply, max_body=len(body)) as served:
        fits = await served.raw(head(len(body), "Connection: close") + body)
        too_large = await served.raw(head(len(body) + 1, "Connection: close") + body + b" ")
    assert (status_of(fits), status_of(too_large)) == (200, 413)


HANGING: list[tuple[bytes, int | None]] = [
    (head(1000) + b'{"inputs": ', 408),  # the length is a lie: less comes
    (head(None, "Transfer-Encoding: chunked") + b"5\r\n{\r\n", 408),
    (b"POST /pipelines/topic HTTP/1.1\r\nHost: local", None),  # the head never ends
    (b"", None),  # nothing comes
]


async def test_a_client_that_hangs_is_cut_off(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply, read_timeout=0.05) as served:
        responses = await asyncio.gather(*(served.raw(sent) for sent, _ in HANGING))
        assert [status_of(response) if response else None for response in responses] == [code for _, code in HANGING]
        assert await still_serves(served)


async def test_a_client_that_drips_is_cut_off(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply, read_timeout=0.1) as served:
        for start in (head(1000), b"GET /healthz HTTP/1.1\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(start)
            dripping = asyncio.create_task(drip(writer))
            async with asyncio.timeout(10):
                with suppress(ConnectionResetError):  # what is dripped on is not read any more
                    assert b"200 OK" not in await reader.read()
            dripping.cancel()
            writer.close()
        assert await still_serves(served)


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a letter every now and then, for ever."""
    while True:
        writer.write(b"a")
        await asyncio.sleep(0.01)


NOT_HTTP: list[bytes] = [
    head(12, "Transfer-Encoding: chunked") + b"{}",
    head("many") + b"{}",
    head(-3) + b"{}",
    head(None, "Transfer-Encoding: chunked") + b"nonsense\r\n{}\r\n",
    head(None, "Transfer-Encoding: chunked") + b"2\r\n{}XX\r\n0\r\n\r\n",
    head(2, *(f"X-{number}: y" for number in range(200))) + b"{}",
    head(2, f"X-Long: {'y' * 20_000}") + b"{}",
    b"POST " + b"/a" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"hello\r\n\r\n",
]


async def test_what_is_not_http_gets_status_400(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply, read_timeout=0.5) as served:
        for sent in NOT_HTTP:
            response = await served.raw(sent)
            assert status_of(response) == 400, sent
            assert str(tmp_path).encode() not in response
        assert await still_serves(served)


def nested(depth: int) -> str:
    """Return a body of so many levels."""
    return '{"inputs": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


NOT_PLAIN_JSON: list[tuple[str | bytes, str]] = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[]", "must be a JSON object"),
    ('{"inputs": {}, "inputs": {}}', "given twice"),
    ('{"inputs": NaN}', "NaN is not JSON"),
    ('{"inputs": 1e999}', "too large"),
    (nested(MAX_DEPTH + 1), "nested deeper"),
    (nested(MAX_DEPTH), "`inputs` must be an object"),
    (nested(100_000), "nested too deep"),
    ('{"inputs": {"text": "\\ud800"}}', "half of a surrogate pair"),
    (b"\xff\xfe{}", "not JSON"),
]


async def test_what_is_not_plain_json_gets_status_400(tmp_path: Path) -> None:
    headers = {"Content-Type": "application/json"}
    async with serving(write_project(tmp_path), reply) as served:
        for body, message in NOT_PLAIN_JSON:
            async with served.client.post(f"{served.url}/pipelines/topic", data=body, headers=headers) as response:
                record = await response.json()
            assert response.status == 400, body
            assert message in record["error"]["message"]


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "text/plain"}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}]
)
async def test_other_types_and_compressed_bodies_are_refused_unread(tmp_path: Path, headers: dict[str, str]) -> None:
    async with (
        serving(write_project(tmp_path), reply) as served,
        served.client.post(f"{served.url}/pipelines/topic", data=b"{}", headers=headers) as response,
    ):
        assert response.status == 415


async def test_a_run_ends_with_its_client(tmp_path: Path) -> None:
    gate = Gate()
    async with serving(write_project(tmp_path), gate) as served:
        for body in (chat("The capital?"), chat("The capital of?", stream=True)):
            data = json.dumps(body).encode()
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            before = gate.cancelled
            writer.write(head(len(data), path="/v1/chat/completions") + data)
            await gate.until_asked(before + 1)
            writer.close()
            async with asyncio.timeout(10):
                while gate.cancelled == before:
                    await asyncio.sleep(0.001)
    assert gate.cancelled == 2


async def test_a_client_that_does_not_read_its_stream_is_cut_off_at_the_deadline(tmp_path: Path) -> None:
    text = "word " * 400_000
    async with serving(write_project(tmp_path), lambda _: Reply(text=text), deadline=0.2) as served:
        data = json.dumps(chat("x", stream=True)).encode()
        with patch.object(stream, "LAST_EVENT_SECONDS", 0.1):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1)
            writer.write(head(len(data), path="/v1/chat/completions") + data)
            async with asyncio.timeout(20):
                while len(served.runtime.requests) == 0 or RUNNING in (await served.get("/metrics"))[1]:
                    await asyncio.sleep(0.01)
        writer.close()


RUNNING = "promptkit_requests_running 1"
