"""Limits on requests at once, and the end of the server: nothing that began is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from promptkit.runtimes.base import Request
from tests.server.http.serving import Gate, Served, chat, serving, write_project


async def asked(served: Served, number: int, **more: Any) -> tuple[int, Any]:
    return await served.post("/v1/chat/completions", chat(f"The capital {number}?", **more))


async def test_of_200_requests_in_flight_none_is_lost_when_the_server_stops(tmp_path: Path) -> None:
    gate = Gate()
    async with serving(write_project(tmp_path), gate, max_requests=150, max_waiting=50) as served:
        tasks = [asyncio.create_task(asked(served, number)) for number in range(200)]
        await gate.until_asked(150)
        while "promptkit_requests_waiting 50" not in (await served.get("/metrics"))[1]:
            await asyncio.sleep(0.001)
        stopping = asyncio.create_task(served.server.stop())
        while (await served.get("/readyz"))[0] == 200:
            await asyncio.sleep(0)
        late, refusal = await asked(served, 201)
        assert (await served.get("/healthz"))[0] == 200
        gate.opened.set()
        assert await stopping == 0
        results = await asyncio.gather(*tasks)
    assert Counter(status for status, _ in results) == {200: 150, 503: 50}
    assert {record["choices"][0]["message"]["content"] for status, record in results if status == 200} == {"Paris"}
    assert (late, refusal["error"]["code"]) == (503, "server_stopping")
    assert len(gate.asked) == 150


async def test_what_runs_longer_than_the_grace_gets_an_error(tmp_path: Path) -> None:
    gate = Gate()
    async with serving(write_project(tmp_path), gate, grace=0.05) as served:
        whole = asyncio.create_task(asked(served, 1))
        streamed = asyncio.create_task(asked(served, 2, stream=True))
        await gate.until_asked(2)
        assert await served.server.stop() == 2
        for status, record in (await whole, await streamed):
            assert (status, record["error"]["code"]) == (503, "server_stopping")
    assert gate.cancelled == 2


async def test_running_requests_can_be_ended_before_their_grace(tmp_path: Path) -> None:
    gate = Gate()
    async with serving(write_project(tmp_path), gate, grace=1000) as served:
        running = asyncio.create_task(asked(served, 1))
        await gate.until_asked(1)
        stopping = asyncio.create_task(served.server.stop())
        await asyncio.sleep(0)
        served.server.end()
        await stopping
        assert (await running)[0] == 503


async def test_more_requests_than_may_wait_are_turned_away_for_now(tmp_path: Path) -> None:
    gate = Gate()
    async with serving(write_project(tmp_path), gate, max_requests=1, max_waiting=1) as served:
        first = asyncio.create_task(asked(served, 1))
        await gate.until_asked(1)
        second = asyncio.create_task(asked(served, 2))
        while "promptkit_requests_waiting 1" not in (await served.get("/metrics"))[1]:
            await asyncio.sleep(0.001)
        async with served.client.post(f"{served.url}/v1/chat/completions", json=chat("third")) as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "2"
        assert len(gate.asked) == 1
        gate.opened.set()
        assert [(await first)[0], (await second)[0]] == [200, 200]


async def test_a_request_ends_at_its_deadline_and_its_wait_counts(tmp_path: Path) -> None:
    gate = Gate()
    async with serving(write_project(tmp_path), gate, max_requests=1, deadline=0.1) as served:
        results = await asyncio.gather(*(asked(served, number) for number in range(3)))
        assert {(status, record["error"]["code"]) for status, record in results} == {(504, "request_timeout")}
        gate.opened.set()
        assert (await asked(served, 4))[0] == 200  # the places are free again


async def test_a_comment_keeps_a_waiting_stream_open(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("promptkit.server.http.stream.KEEP_ALIVE_SECONDS", 0.02)
    gate = Gate()
    async with serving(write_project(tmp_path), gate) as served:
        body = chat("x", stream=True)
        async with served.client.post(f"{served.url}/v1/chat/completions", json=body) as response:
            first = await response.content.readuntil(b": keep-alive\n\n")
            gate.opened.set()
            rest = await response.text()
    assert b'"role":"assistant"' in first
    assert '"content":"Paris"' in rest
    assert rest.endswith("data: [DONE]\n\n")


async def test_an_error_in_a_stream_that_has_begun_is_its_last_event(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("promptkit.server.http.stream.KEEP_ALIVE_SECONDS", 0.02)

    async def fail(request: Request) -> Exception:
        await asyncio.sleep(0.05)
        return ValueError("no")

    async with (
        serving(write_project(tmp_path), fail) as served,
        served.client.post(f"{served.url}/v1/chat/completions", json=chat("x", stream=True)) as response,
    ):
        text = await response.text()
    assert response.status == 200
    [error, end] = [part for part in text.split("\n\n") if part][-2:]
    assert '"code":"internal_error"' in error
    assert end == "data: [DONE]"
