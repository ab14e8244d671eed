"""One GGUF file in the process, behind llama-server and behind Ollama: do the answers agree, and what does a call cost?

    python benchmarks/servers.py [--rows 20] [--gguf FILE]
    PROMPTKIT_OLLAMA=http://127.0.0.1:11434 python benchmarks/servers.py --ollama-model smollm2

The first rows of the shipped suites `sentiment`, `extraction` and `arithmetic` are asked on each side in turn, one
request at a time, with nothing kept. llama-server is the one that xllamacpp contains, in a process of its own. Ollama
is asked only where PROMPTKIT_OLLAMA names it, and must hold the same weights under the name that is given.

Equal answers: rows whose answer is that of the embedded runtime. They should agree, except where rounding decides, or a
side enforces an answer's form in another way. CPU is that of this process's event loop for a row, engine and prompts
included: the adapters' readers run there, the embedded model's threads do not. The first token is the time to the first
text of a call, as a ratio to the embedded runtime's: the median over the rows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

from promptkit.engine.run import Runner
from promptkit.errors import PromptkitError
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.project import Project
from promptkit.runtimes.base import Message, Model, OnText, Reply, Request, Runtime
from promptkit.runtimes.client import Client
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.in_process.llama_cpp import load_library, usable_cores
from promptkit.runtimes.in_process.weights import default_weights
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.openai import OpenAI
from promptkit.storage.strict_json import compact

ROOT = Path(__file__).resolve().parent.parent
SUITES = ["sentiment", "extraction", "arithmetic"]
CONTEXT = 4096


class Timed(Runtime):
    """A runtime that notes the seconds to the first text of each call, and the texts."""

    def __init__(self, runtime: Runtime) -> None:
        self.first: list[float] = []
        self.texts: list[str] = []
        self._runtime = runtime

    async def model(self) -> Model:
        return await self._runtime.model()

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        started = time.perf_counter()
        pieces: list[float] = []
        reply = await self._runtime.answer(request, lambda text: pieces.append(time.perf_counter() - started))
        self.first += pieces[:1]
        self.texts.append(reply.text)
        return reply

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        return await self._runtime.tokenize(text)

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        return await self._runtime.template(messages, begun)

    async def count(self, messages: Sequence[Message], begun: str = "") -> int | None:
        return await self._runtime.count(messages, begun)

    async def close(self) -> None:
        await self._runtime.close()


@dataclass
class Side:
    """One way to the weights, and what its rows gave: answers as JSON, texts of all calls, seconds."""

    name: str
    timed: Timed
    answers: list[str] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self._client = Client(self.timed, concurrency=1)

    async def get(self, reference: str | None = None) -> Client:
        """Return the client, as a run's source of models."""
        return self._client

    async def ask(self, runner: Runner, row: BoundRow) -> None:
        """Answer one row."""
        self.timed.first, self.timed.texts = [], []
        cpu = time.thread_time()
        result = await runner.run(row.inputs[0])
        self.cpu.append(time.thread_time() - cpu)
        self.answers.append(compact(result.output) if result.error is None else type(result.error).__name__)
        self.texts.append(self.timed.texts)
        self.first.append(median(self.timed.first or [0.0]))
        self.calls += len(self.timed.texts)

    def clear(self) -> None:
        self.answers, self.texts, self.first, self.cpu, self.calls = [], [], [], [], 0


async def measure(suite: Suite, sides: list[Side], count: int) -> None:
    """Ask each side the first rows of a suite, and print how far they agree."""
    binder = Binder(suite)
    rows = [binder.bind(row, index) for index, row in islice(enumerate(suite.data.rows()), count + 1)]
    runners = [Runner(suite.baseline.pipeline, models=side) for side in sides]
    for side, runner in zip(sides, runners, strict=True):
        await runner.open()
        await side.ask(runner, rows[-1])  # the shared beginning of the prompts is read once, outside the measurement
        side.clear()
    for row in rows[:-1]:
        for side, runner in zip(sides, runners, strict=True):
            await side.ask(runner, row)
    base = sides[0]
    print(f"{suite.name}: {len(rows) - 1} rows")
    for side in sides:
        answers, texts = (
            sum(one == other for one, other in zip(found, of_base, strict=True))
            for found, of_base in ((side.answers, base.answers), (side.texts, base.texts))
        )
        first = median(one / other for one, other in zip(side.first, base.first, strict=True) if other and one)
        cpu = median(one / other for one, other in zip(side.cpu, base.cpu, strict=True))
        print(
            f"  {side.name:13} {answers} equal answers, {texts} with equal replies; {side.calls} calls; "
            f"first token x {first:.2f} ({1000 * median(side.first):.0f} ms); "
            f"CPU x {cpu:.2f} ({1000 * sum(side.cpu) / side.calls:.2f} ms a call)"
        )
        for number, (found, of_base) in enumerate(zip(side.answers, base.answers, strict=True), 1):
            if found != of_base:
                print(f"      row {number}: {found[:60]} for {of_base[:60]}", flush=True)


def serve(file: str) -> None:
    """Run llama-server on a file until standard input is closed, and print its address."""
    library = load_library()
    parameters = library.CommonParams()
    parameters.model.path = file
    parameters.n_ctx, parameters.n_parallel, parameters.verbosity, parameters.ui = CONTEXT, 1, 0, False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = usable_cores()
    server = library.Server(parameters)
    server.handle_completions({"prompt": "a", "max_tokens": 1})
    print(server.listening_address, flush=True)
    sys.stdin.read()


async def compare(options: argparse.Namespace, llama_server: str) -> None:
    path = options.gguf or default_weights()
    sides = [
        Side("embedded", Timed(Embedded(path, reference="embedded", context=CONTEXT, slots=1))),
        Side("llama-server", Timed(OpenAI("gguf", base_url=f"{llama_server}/v1"))),
    ]
    if host := os.environ.get("PROMPTKIT_OLLAMA"):
        sides.append(Side("ollama", Timed(Ollama(options.ollama_model, host=host))))
    else:
        print("without Ollama: PROMPTKIT_OLLAMA names no server")
    project = Project.find(ROOT)
    for name in options.suites:
        try:
            await measure(load_suite(project.suite(name), project), sides, options.rows)
        except PromptkitError as error:
            print(f"{name}: not measured: {error}")
    for side in sides:
        await side.timed.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20, help="rows of each suite")
    parser.add_argument("--suites", nargs="+", default=SUITES, choices=SUITES)
    parser.add_argument("--gguf", type=Path, help="the weights (default: the embedded model's)")
    parser.add_argument("--ollama-model", default="smollm2", help="the name of the same weights in Ollama")
    parser.add_argument("--serve", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    command = [sys.executable, __file__, "--serve", str(options.gguf or default_weights())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdin is not None
        try:
            asyncio.run(compare(options, server.stdout.readline().strip()))
        finally:
            server.stdin.close()


if __name__ == "__main__":
    main()
