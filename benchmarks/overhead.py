"""What promptkit adds to a call, in CPU and in time, over what it stands on; both sides in the same run.

    python benchmarks/overhead.py [--calls 2000] [--in-flight 20] [--latency 0.0] [--repeat 3]

Sides, each asking one loopback server of fixed latency for the same chats: a bare httpx client over the same
transport; the Ollama adapter; an Asker around it; an Asker with a store; and that store's replies again, which ask
nothing. CPU is that of this process with all its threads, the store's writer among them.
Bound: an Asker adds at most 0.2 ms a call to its adapter; a store answers 3,000 requests a second.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from server import MODEL, Server, ollama_server

from promptkit.runtimes import Asker, Message, Ollama, Request
from promptkit.storage import Store

ASKER_BOUND_MS = 0.2
CACHED_BOUND = 3000
INSTRUCTIONS = "Say whether the review is positive or negative. " * 10

Ask = Callable[[Request], Awaitable[object]]


@dataclass(frozen=True)
class Cost:
    """What one call took on one side, in milliseconds."""

    cpu: float
    wall: float


async def measured(ask: Ask, requests: Sequence[Request], in_flight: int) -> Cost:
    """Ask all requests, so many at once, and return the cost of each."""
    waiting = iter(requests)

    async def work() -> None:
        for request in waiting:
            await ask(request)

    await ask(Request(messages=(Message("user", "warm up"),)))
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    scale = 1000 / len(requests)
    return Cost(cpu=(time.process_time() - cpu) * scale, wall=(time.perf_counter() - wall) * scale)


def prepared(calls: int, turn: int) -> list[Request]:
    """Return requests of which no two are the same, in this turn or another."""
    return [
        Request(messages=(Message("user", f"{INSTRUCTIONS}\nReview {turn}.{number}: a fine film"),))
        for number in range(calls)
    ]


async def bare(server: Server, requests: Sequence[Request], in_flight: int) -> Cost:
    """Measure a client that does no more than send and read."""
    import httpx
    from httpx_aiohttp import AiohttpTransport

    async with httpx.AsyncClient(transport=AiohttpTransport(), base_url=server.url, timeout=60) as client:

        async def ask(request: Request) -> object:
            body = {
                "model": MODEL,
                "messages": [{"role": each.role, "content": each.content} for each in request.messages],
                "stream": False,
                "options": {"temperature": 0, "num_predict": request.max_tokens},
            }
            response = await client.post("/api/chat", json=body)
            return response.raise_for_status().json()

        return await measured(ask, requests, in_flight)


async def sides(server: Server, *, calls: int, in_flight: int, turn: int) -> dict[str, Cost]:
    """Measure every side once."""
    requests = prepared(calls, turn)
    costs = {"bare httpx": await bare(server, requests, in_flight)}
    runtime = Ollama(MODEL, host=server.url)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        plain = Asker(runtime, concurrency=in_flight)
        kept = Asker(runtime, concurrency=in_flight, store=store)
        for name, ask in {"adapter": runtime.answer, "asker": plain.ask, "asker and store": kept.ask}.items():
            costs[name] = await measured(ask, requests, in_flight)
        before = server.requests()
        costs["kept replies"] = await measured(kept.ask, requests, in_flight)
        assert server.requests() == before, "a kept reply was asked for again"
    await runtime.close()
    return costs


def show(turns: Sequence[dict[str, Cost]]) -> None:
    """Print each side, its ratio to the bare client, and the bounds."""
    costs = {
        name: Cost(median(turn[name].cpu for turn in turns), median(turn[name].wall for turn in turns))
        for name in turns[0]
    }
    base = costs["bare httpx"]
    print(f"{'side':18}{'CPU ms/call':>13}{'ratio':>8}{'wall ms/call':>14}{'calls/s':>10}")
    for name, cost in costs.items():
        print(f"{name:18}{cost.cpu:13.3f}{cost.cpu / base.cpu:8.2f}{cost.wall:14.3f}{1000 / cost.wall:10.0f}")
    added = median(turn["asker"].cpu - turn["adapter"].cpu for turn in turns)
    print(f"\nan asker adds {added:.3f} ms of CPU a call (bound {ASKER_BOUND_MS})")
    print(f"kept replies: {1000 / costs['kept replies'].wall:.0f} a second (bound {CACHED_BOUND})")


async def main(arguments: argparse.Namespace) -> None:
    """Measure so many times, the sides in turn, and print the medians."""
    with ollama_server(latency=arguments.latency) as server:
        show(
            [
                await sides(server, calls=arguments.calls, in_flight=arguments.in_flight, turn=turn)
                for turn in range(arguments.repeat)
            ]
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server takes to answer")
    parser.add_argument("--repeat", type=int, default=3)
    asyncio.run(main(parser.parse_args()))
