"""The cost of a request to `promptkit serve`, over a bare aiohttp handler; all sides in the same run.

    python benchmarks/serve.py [--requests 1000] [--in-flight 20] [--rounds 7]

Sides: a bare handler, which reads JSON and answers with JSON of the same size; the JSON endpoint of a pipeline of one
step; its chat completion; the same streamed; and the run of the pipeline without HTTP. The model is a function that
answers at once, and nothing is cached. One client in the same process asks all of them, in rounds that rotate over the
sides. CPU is that of the process, so it includes the client's, which is the same for all but the streamed side.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from unittest.mock import patch

from aiohttp import ClientSession, TCPConnector, web

from promptkit.api.session import ModelOptions
from promptkit.runtimes import models
from promptkit.runtimes.scripted import Scripted
from promptkit.server.http.access import AccessLog
from promptkit.server.http.catalog import Catalog
from promptkit.server.http.options import HttpOptions
from promptkit.server.http.server import HttpServer

PIPELINE = """\
inputs: {text: {}}
steps:
  answer: {prompt: "Answer the question of the visitor. {{ text }}"}
"""
ANSWER = "The museum is open from nine to five, except on Mondays, when it stays closed."
QUESTION = "When is the museum open, and what does it cost to come in?"

Ask = Callable[[int], Awaitable[object]]


async def bare_handler(request: web.Request) -> web.Response:
    """Answer a request with as much JSON as the endpoint of the pipeline does."""
    await request.json()
    usage = {"prompt_tokens": 31, "completion_tokens": 17, "total_tokens": 48}
    return web.json_response({"output": ANSWER, "usage": usage, "warnings": []})


async def listening(app: web.Application) -> tuple[web.AppRunner, str]:
    """Start a bare server and return it with its address."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def cost(ask: Ask, requests: int, in_flight: int) -> tuple[float, float]:
    """Return the CPU and the time of a request, in milliseconds."""
    numbers = iter(range(requests))

    async def work() -> None:
        for number in numbers:
            await ask(number)

    gc.collect()
    cpu, clock = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return (
        (time.process_time() - cpu) / requests * 1000,
        (time.perf_counter() - clock) / requests * 1000,
    )


async def measure(folder: Path, requests: int, in_flight: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the costs of each side, by round."""
    (folder / "museum.yaml").write_text(PIPELINE)

    async def opened(*_: object, **__: object) -> Scripted:
        return Scripted(lambda _: ANSWER, parallel=1000, keep_requests=False)

    app = web.Application()
    app.add_routes([web.post("/bare", bare_handler)])
    with patch.object(models, "open_runtime", opened):
        options = ModelOptions(model="openai/test@http://127.0.0.1:9/v1", no_cache=True)
        async with (
            Catalog((str(folder / "museum.yaml"),), options) as catalog,
            HttpServer(catalog, HttpOptions(port=0, max_requests=1000), AccessLog(quiet=True)) as server,
            ClientSession(connector=TCPConnector(limit=0)) as client,
        ):
            await catalog.warm_up()
            runner, bare = await listening(app)

            async def post(url: str, body: object) -> bytes:
                async with client.post(url, json=body) as response:
                    assert response.status == 200, await response.text()
                    return await response.read()

            def chat(number: int, stream: bool) -> dict[str, object]:
                messages = [{"role": "user", "content": f"{QUESTION} {number}"}]
                return {"model": "museum", "messages": messages, "stream": stream}

            sides: dict[str, Ask] = {
                "bare handler": lambda number: post(f"{bare}/bare", {"inputs": {"text": f"{QUESTION} {number}"}}),
                "JSON endpoint": lambda number: post(
                    f"{server.url}/pipelines/museum", {"inputs": {"text": f"{QUESTION} {number}"}}
                ),
                "chat completion": lambda number: post(f"{server.url}/v1/chat/completions", chat(number, False)),
                "streamed": lambda number: post(f"{server.url}/v1/chat/completions", chat(number, True)),
                "run without HTTP": lambda number: catalog.run(
                    catalog.find("museum"), {"text": f"{QUESTION} {number}"}
                ),
            }
            costs: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
            names = list(sides)
            for number in range(rounds):
                for name in names[number % len(names) :] + names[: number % len(names)]:
                    costs[name].append(await cost(sides[name], requests, in_flight))
            await runner.cleanup()
    return costs


def report(costs: dict[str, list[tuple[float, float]]]) -> None:
    """Print the median of each side, and the ratios to the bare handler in the same round."""
    bare = costs["bare handler"]
    print(f"{'side':<18} {'CPU ms':>8} {'wall ms':>8} {'× bare (CPU)':>13}")
    for name, rounds in costs.items():
        ratio = median(mine[0] / other[0] for mine, other in zip(rounds, bare, strict=True))
        print(f"{name:<18} {median(c for c, _ in rounds):>8.3f} {median(w for _, w in rounds):>8.3f} {ratio:>13.2f}")
    own = [
        endpoint[0] - run[0] - handler[0]
        for endpoint, run, handler in zip(costs["JSON endpoint"], costs["run without HTTP"], bare, strict=True)
    ]
    print(f"the server's own, beside the run and a bare handler: {median(own):.3f} ms CPU a request")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="requests a side and round")
    parser.add_argument("--in-flight", type=int, default=20, help="requests at once")
    parser.add_argument("--rounds", type=int, default=7, help="rounds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(asyncio.run(measure(Path(folder), given.requests, given.in_flight, given.rounds)))


if __name__ == "__main__":
    main()
