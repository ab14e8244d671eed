"""The embedded runtime through a `Client`, against bare xllamacpp with the same requests in the same run.

Both sides load the same file with the same window, slots and threads, and take turns, each with fresh rows in each
round, so that neither profits from the other's work or from a quiet moment of the machine. Two kinds of request:
labels under a grammar (a shared prefix, a few tokens out) and short answers (32 tokens out). On a machine that does
other work too, the ratio by CPU says more than that by the clock.

    python benchmarks/embedded.py [--data DIR] [--rounds 4] [--batch 16]

DIR holds `sst2/dev.jsonl`, with a field `text`; without it the rows are sentences made here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.in_process.llama_cpp import load_library, usable_cores
from promptkit.runtimes.in_process.weights import default_weights

CONTEXT, SLOTS = 1024, 4
GRAMMAR = 'root ::= "positive" | "negative"'
LABEL = "Classify the sentiment of this film review. Answer with one word, positive or negative.\n\nReview: {}"
ANSWER = "Say in one sentence what this film review praises or blames.\n\nReview: {}"

Side = Callable[[list[Request]], Awaitable[int]]
"""Answers requests, all at once, and returns how many tokens came out."""


def rows(data: Path | None, count: int) -> list[str]:
    """Return the texts to ask about: the first of the data, else made ones."""
    if data is None:
        return [
            f"The {number}th scene moved me, though the {number * 7}th minute felt slow ." for number in range(count)
        ]
    with (data / "sst2/dev.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in islice(file, count)]
    if len(texts) < count:
        raise SystemExit(f"{data}: {count} rows are needed, there are {len(texts)}; try fewer rounds")
    return texts


def labels(texts: list[str]) -> list[Request]:
    return [Request(messages=(Message("user", LABEL.format(text)),), grammar=GRAMMAR, max_tokens=8) for text in texts]


def answers(texts: list[str]) -> list[Request]:
    return [Request(messages=(Message("user", ANSWER.format(text)),), max_tokens=32) for text in texts]


def bare(path: Path) -> Side:
    """Return bare xllamacpp, with as many requesting threads as it has slots."""
    library = load_library()
    parameters = library.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = CONTEXT * SLOTS
    parameters.n_parallel = SLOTS
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = usable_cores()
    parameters.verbosity = 0
    server = library.Server(parameters)
    threads = ThreadPoolExecutor(SLOTS)

    def ask(request: Request) -> int:
        query: dict[str, Any] = {
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": 0,
        }
        if request.grammar:
            query["grammar"] = request.grammar
        return int(server.handle_chat_completions(query)["usage"]["completion_tokens"])

    async def batch(requests: list[Request]) -> int:
        loop = asyncio.get_running_loop()
        return sum(await asyncio.gather(*(loop.run_in_executor(threads, ask, request) for request in requests)))

    return batch


def ours(client: Client) -> Side:
    """Return promptkit's way to the same model."""

    async def batch(requests: list[Request]) -> int:
        return sum([reply.tokens_out or 0 for reply in await asyncio.gather(*map(client.ask, requests))])

    return batch


@dataclass
class Spent:
    """What one side's batches took: seconds by the clock and of CPU, a number a round, and tokens in all."""

    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    tokens: int = 0

    async def run(self, side: Side, requests: list[Request]) -> None:
        clock, cpu = time.perf_counter(), time.process_time()
        self.tokens += await side(requests)
        self.clock.append(time.perf_counter() - clock)
        self.cpu.append(time.process_time() - cpu)


async def measure(
    sides: dict[str, Side], kind: Callable[[list[str]], list[Request]], texts: list[str], size: int
) -> None:
    """Ask each side the same batches in turn, the other side first each round, and print both and the ratio."""
    for side in sides.values():  # the shared prefix is read once, outside the measurement
        await side(kind(["Fine ."]))
    spent = {name: Spent() for name in sides}
    for number in range(len(texts) // size):
        requests = kind(texts[number * size : (number + 1) * size])
        for name in sides if number % 2 else reversed(sides):
            await spent[name].run(sides[name], requests)
    for name, took in spent.items():
        total = sum(took.clock)
        rates = f"{len(texts) / total:6.2f} requests/s  {took.tokens / total:6.1f} tokens/s"
        print(f"  {name:10} {rates}  {total:6.2f} s  {sum(took.cpu):6.2f} s of CPU")
    bare_side, ours_side = spent["bare"], spent["promptkit"]
    clock, cpu = sum(bare_side.clock) / sum(ours_side.clock), sum(bare_side.cpu) / sum(ours_side.cpu)
    middle = statistics.median(bare / ours for bare, ours in zip(bare_side.clock, ours_side.clock, strict=True))
    print(f"  ratio      {clock:.3f} by the clock (median round {middle:.3f}), {cpu:.3f} by CPU")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    path = default_weights()
    texts = rows(options.data, options.rounds * options.batch)
    client = Client(Embedded(path, reference="embedded/smollm2", context=CONTEXT, slots=SLOTS))
    sides = {"bare": bare(path), "promptkit": ours(client)}
    await client.model()
    print(f"{options.rounds} rounds of {options.batch} requests, {SLOTS} slots, {usable_cores()} threads")
    print("labels under a grammar")
    await measure(sides, labels, texts, options.batch)
    print("answers of 32 tokens")
    await measure(sides, answers, texts, options.batch)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
