"""What promptkit adds to a call, in CPU and in time, over what it stands on; all sides in the same run.

    python benchmarks/overhead.py [--calls 2000] [--in-flight 20] [--latency 0.0] [--repeat 5] [--profile]

Sides, each asking one loopback server of fixed latency for the same chats: a bare aiohttp client, which
sends and reads; the Ollama adapter; a Client around it; a Client with a store; that store's replies
again, which ask nothing; and the engine: a pipeline of one step with `for_each` over as many reviews, which renders
a prompt with four examples, parses each answer and traces each call. The requests of the other
sides are those that the engine made. CPU is that of this process with all its threads, the store's writer among them.

Bounds: the engine adds at most 0.2 ms a call to its runtime (the Client), a Client at most 0.2 ms to its adapter; a
store answers 3,000 requests a second.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from server import MODEL, Server, ollama_server

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.run import run
from promptkit.project import Project
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.storage.store import Store

ENGINE_BOUND_MS = 0.2
CLIENT_BOUND_MS = 0.2
CACHED_BOUND = 3000
PIPELINE = """\
name: reviews
inputs:
  reviews: {type: list}
steps:
  moods:
    for_each: "{{ reviews }}"
    as: text
    prompt: mood
output: "{{ moods }}"
"""
PROMPT = """\
---
inputs: {text: {}}
answer: {label: [positive, negative]}
messages: turns
decide: generate
examples:
  - {input: {text: "A slow and pointless story that goes nowhere."}, output: negative}
  - {input: {text: "Beautifully acted, and moving to the last scene."}, output: positive}
  - {input: {text: "The jokes fall flat, and so does everything else."}, output: negative}
  - {input: {text: "A clever and charming surprise."}, output: positive}
---
{% block persona %}You read film reviews for a newspaper.{% endblock %}
{% block instructions %}Classify the sentiment of the review as positive or negative.{% endblock %}
{% block input %}{{ text }}{% endblock %}
{% block cue %}Sentiment:{% endblock %}
"""

Ask = Callable[[Request], Awaitable[object]]


@dataclass
class Cost:
    """What one call took on one side, in milliseconds."""

    cpu: float = 0.0
    wall: float = 0.0


@contextmanager
def costing(calls: int) -> Iterator[Cost]:
    """Measure a block that makes so many calls."""
    cost = Cost()
    cpu, wall = time.process_time(), time.perf_counter()
    yield cost
    cost.cpu = (time.process_time() - cpu) * 1000 / calls
    cost.wall = (time.perf_counter() - wall) * 1000 / calls


async def measured(ask: Ask, requests: Sequence[Request], in_flight: int) -> Cost:
    """Ask all requests, so many at once, and return the cost of each."""
    waiting = iter(requests)

    async def work() -> None:
        for request in waiting:
            await ask(request)

    await ask(Request(messages=(Message("user", "warm up"),)))
    with costing(len(requests)) as cost:
        await asyncio.gather(*(work() for _ in range(in_flight)))
    return cost


def reviews(calls: int, turn: int) -> list[str]:
    """Return reviews of which no two are the same, in this turn or another."""
    return [f"Review {turn}.{number}: a fine film with a slow middle and a moving end." for number in range(calls)]


async def bare(server: Server, requests: Sequence[Request], in_flight: int) -> Cost:
    """Measure a client that does no more than send and read."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def ask(request: Request) -> object:
            body = {
                "model": MODEL,
                "messages": [{"role": turn.role, "content": turn.content} for turn in request.messages],
                "stream": False,
                "options": {"temperature": 0, "num_predict": request.max_tokens},
            }
            async with client.post(f"{server.url}/api/chat", json=body) as response:
                response.raise_for_status()
                return await response.json()

        return await measured(ask, requests, in_flight)


async def engine(pipeline: Pipeline, texts: list[str], in_flight: int, profile: cProfile.Profile | None) -> Engine:
    """Measure the pipeline, and return also the requests that it made."""
    async with Models(f"ollama/{MODEL}", concurrency=in_flight) as models:
        await run(pipeline, {"reviews": ["warm up"]}, models=models)
        if profile:
            profile.enable()
        with costing(len(texts)) as cost:
            result = await run(pipeline, {"reviews": texts}, models=models)
        if profile:
            profile.disable()
    assert result.error is None and result.output == ["positive"] * len(texts), result.error
    return Engine(cost, [call.request for node in result.trace.nodes() for call in node.calls])


@dataclass(frozen=True)
class Engine:
    """The engine's cost, and the requests that it made."""

    cost: Cost
    requests: list[Request]


async def sides(server: Server, pipeline: Pipeline, arguments: argparse.Namespace, turn: int) -> dict[str, Cost]:
    """Measure every side once."""
    in_flight = arguments.in_flight
    profile = cProfile.Profile() if arguments.profile else None
    ran = await engine(pipeline, reviews(arguments.calls, turn), in_flight, profile)
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)
    requests = ran.requests
    costs = {"bare aiohttp": await bare(server, requests, in_flight)}
    runtime = Ollama(MODEL, host=server.url)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        plain = Client(runtime, concurrency=in_flight)
        kept = Client(runtime, concurrency=in_flight, store=store)
        for name, ask in {"adapter": runtime.answer, "client": plain.ask, "client and store": kept.ask}.items():
            costs[name] = await measured(ask, requests, in_flight)
        before = server.requests()
        costs["kept replies"] = await measured(kept.ask, requests, in_flight)
        assert server.requests() == before, "a kept reply was asked for again"
    await runtime.close()
    return costs | {"engine": ran.cost}


def show(turns: Sequence[dict[str, Cost]]) -> None:
    """Print each side, its ratio to the bare client, and the bounds."""
    costs = {
        name: Cost(median(turn[name].cpu for turn in turns), median(turn[name].wall for turn in turns))
        for name in turns[0]
    }
    base = costs["bare aiohttp"]
    print(f"{'side':18}{'CPU ms/call':>13}{'ratio':>8}{'wall ms/call':>14}{'calls/s':>10}")
    for name, cost in costs.items():
        print(f"{name:18}{cost.cpu:13.3f}{cost.cpu / base.cpu:8.2f}{cost.wall:14.3f}{1000 / cost.wall:10.0f}")

    def added(upper: str, lower: str) -> float:
        return median(turn[upper].cpu - turn[lower].cpu for turn in turns)

    print(f"\nthe engine adds {added('engine', 'client'):.3f} ms of CPU a call to its model (bound {ENGINE_BOUND_MS})")
    print(f"a client adds {added('client', 'adapter'):.3f} ms of CPU a call to its adapter (bound {CLIENT_BOUND_MS})")
    print(f"kept replies: {1000 / costs['kept replies'].wall:.0f} a second (bound {CACHED_BOUND})")


async def main(arguments: argparse.Namespace) -> None:
    """Measure so many times, the sides in turn, and print the medians."""
    with ollama_server(latency=arguments.latency) as server, tempfile.TemporaryDirectory() as folder:
        os.environ["OLLAMA_HOST"] = server.url
        file = Path(folder, "reviews.yaml")
        file.write_text(PIPELINE, encoding="utf-8")
        Path(folder, "mood.j2").write_text(PROMPT.replace("turns", arguments.messages), encoding="utf-8")
        pipeline = load_target(file, Project.find(file))
        gc.freeze()  # as the command does before it runs a pipeline
        show([await sides(server, pipeline, arguments, turn) for turn in range(arguments.repeat)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server takes to answer")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--messages", choices=["one", "system", "turns"], default="turns", help="as in a prompt")
    parser.add_argument("--profile", action="store_true", help="print where the engine's time goes")
    asyncio.run(main(parser.parse_args()))
