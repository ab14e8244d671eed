"""Whether what a technique may send at once is sent at once: its time against the critical path of its calls.

    python benchmarks/techniques.py [--latency 0.2] [--repeat 3] [--only NAME]

A loopback server of fixed latency answers each request with the same three lines, which are a draft, a plan of three
questions, three thoughts, whatever is asked for. The critical path is the number of requests that must wait for each
other (the trace's deepest level) times the latency that one request alone takes, measured in the same run.

Bound: at most 1.1 times the critical path.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from server import MODEL, Server, ollama_server

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.results import Result
from promptkit.engine.run import run
from promptkit.project import Project
from promptkit.runtimes.models import Models

BOUND = 1.1
IN_FLIGHT = 20
ANSWER = "1. Who wrote it?\n2. When was it written?\n3. Where was it written?"
TECHNIQUES: dict[str, Any] = {
    "one request": "vanilla",
    "self_consistency, 10 samples": "{self_consistency: {samples: 10}}",
    "chain_of_verification, factored": "{chain_of_verification: {variant: factored}}",
    "tree_of_thoughts, bfs": "{tree_of_thoughts: {variant: bfs}}",
}
PIPELINE = """\
name: question
inputs: {{question: {{type: text}}}}
steps:
  answer:
    prompt: {{instructions: Answer the question., input: "{{{{ question }}}}"}}
    technique: {technique}
    decide: generate
    repairs: 0
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: its seconds, how many requests it made, and how many of them had to wait for each other."""

    seconds: float
    requests: int
    levels: int


async def measure(pipeline: Pipeline, server: Server, repeat: int) -> Measured:
    """Return the run of median time, after one that opens the connections."""
    found: list[Measured] = []
    os.environ["OLLAMA_HOST"] = server.url
    async with Models(f"ollama/{MODEL}", why="the benchmark", concurrency=IN_FLIGHT, no_cache=True) as models:
        for number in range(repeat + 1):
            started = time.perf_counter()
            result = await run(pipeline, {"question": f"Which book is it? ({number})"}, models=models)
            seconds = time.perf_counter() - started
            if number:
                found.append(Measured(seconds, result.totals.calls, deepest(result)))
    return sorted(found, key=lambda each: each.seconds)[len(found) // 2]


def deepest(result: Result) -> int:
    """Return the deepest level of a run's requests."""
    return max(call.level for node in result.trace.nodes() for call in node.calls)


def loaded(folder: Path, technique: str) -> Pipeline:
    """Return a pipeline of one step with a technique."""
    file = folder / "question.yaml"
    file.write_text(PIPELINE.format(technique=technique))
    return load_target(file, Project.find(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds that the server takes for each request")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each technique; the median is shown")
    parser.add_argument("--only", help="one technique, by the beginning of its name")
    options = parser.parse_args()
    print(f"{'technique':<34} {'requests':>8} {'levels':>6} {'seconds':>8} {'path':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder, ollama_server(latency=options.latency, answer=ANSWER) as server:
        alone = [asyncio.run(measure(loaded(Path(folder), "vanilla"), server, options.repeat)) for _ in range(2)]
        latency = median(each.seconds for each in alone)
        for name, technique in TECHNIQUES.items():
            if options.only and not name.startswith(options.only):
                continue
            found = asyncio.run(measure(loaded(Path(folder), technique), server, options.repeat))
            path = found.levels * latency
            counts = f"{name:<34} {found.requests:>8} {found.levels:>6}"
            over = "" if found.seconds <= BOUND * path else f"  over {BOUND}"
            print(f"{counts} {found.seconds:>8.3f} {path:>8.3f} {found.seconds / path:>6.2f}{over}")


if __name__ == "__main__":
    main()
