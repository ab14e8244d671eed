"""The CPU that a technique's own work adds to a call, over a call of `vanilla`, on a scripted model.

    python benchmarks/technique_overhead.py [--runs 40] [--repeat 5] [--only NAME,NAME] [--profile NAME]

Each technique's shipped example is run on its scripted replies, so all that takes time is promptkit: the engine, the
templates, the reading of replies and the technique's code. CPU is that of this process; programs and queries that a
model wrote run in others, and what it costs to send them there counts here. A run's CPU is divided by its requests, and
that of one request of the same step under `vanilla` is taken off. Rounds of both alternate, and the least counts, since
other work on the machine only adds to it.

Bound: at most 0.2 ms a call over `vanilla`.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import pstats
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.results import Result
from promptkit.engine.run import Runner
from promptkit.engine.session import RunSettings
from promptkit.engine.step_rows import find_prompt_step
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.models import Models
from promptkit.storage.files import frozen_files

BOUND_MS = 0.2
BASELINE = "vanilla"
EXAMPLES = LIBRARY / "pipelines" / "techniques"
REPLIES = LIBRARY / "templates" / "techniques"


@dataclass(frozen=True, slots=True)
class Cost:
    """The CPU of one run in milliseconds, and its requests."""

    milliseconds: float
    requests: int

    @property
    def per_call(self) -> float:
        return self.milliseconds / self.requests


class Example:
    """A pipeline of one step with its scripted model."""

    def __init__(self, pipeline: Pipeline, model: str) -> None:
        self.pipeline = pipeline
        self._values = fill_inputs(pipeline).values
        self._model = model

    def measure(self, runs: int) -> Cost:
        """Run the example so often, each time with all of its replies, and return the least cost of a run."""
        return asyncio.run(self._measure(runs))

    def answer(self) -> str:
        """Return the last reply of a run."""
        result, _ = asyncio.run(self._run())
        if result.error is not None:
            raise result.error
        return max(
            (call for node in result.trace.nodes() for call in node.calls), key=lambda call: call.level
        ).reply.text

    async def _measure(self, runs: int) -> Cost:
        gc.collect()
        with frozen_files():  # As an evaluation has them.
            found = [await self._run() for _ in range(runs)]
        return min((Cost(spent, result.totals.calls) for result, spent in found), key=lambda cost: cost.milliseconds)

    async def _run(self) -> tuple[Result, float]:
        async with Models(self._model, why="this benchmark", base=Path.cwd()) as models:
            runner = Runner(self.pipeline, models=models, settings=RunSettings(repairs=0))
            await runner.open()
            started = time.process_time()
            result = await runner.run(self._values)
            return result, 1000 * (time.process_time() - started)


def shipped(name: str) -> Example:
    """Return the shipped example of a technique."""
    file = EXAMPLES / f"{name}.yaml"
    return Example(load_target(file, Project.find(file)), f"scripted:{REPLIES / name / 'replies.yaml'}")


def without_technique(example: Example, folder: Path) -> Example:
    """Return the same step under `vanilla`, on a model that gives the example's last reply to everything."""
    pipeline, reply = example.pipeline, folder / "reply.yaml"
    reply.write_text(f"otherwise: {json.dumps(example.answer())}\n", "utf-8")
    step = find_prompt_step(pipeline, None).name
    changed = load_target(pipeline.file, pipeline.project, sets=[f"{step}.technique={BASELINE}"])
    return Example(changed, f"scripted:{reply}")


def overhead(name: str, runs: int, repeat: int) -> tuple[Cost, float]:
    """Return the least cost of a technique's run, and the milliseconds that a call takes over one of `vanilla`."""
    example = shipped(name)
    with tempfile.TemporaryDirectory() as folder:
        baseline = without_technique(example, Path(folder))
        pairs = [(example.measure(runs), baseline.measure(runs)) for _ in range(repeat)]
    cost, other = (min(costs, key=lambda cost: cost.milliseconds) for costs in zip(*pairs, strict=True))
    return cost, cost.per_call - other.per_call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="runs of an example in a round")
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the cheapest run counts")
    parser.add_argument("--only", help="techniques, with commas between")
    parser.add_argument("--profile", metavar="NAME", help="show where a technique's CPU goes")
    options = parser.parse_args()
    if options.profile:
        example, profile = shipped(options.profile), cProfile.Profile()
        profile.runcall(example.measure, options.runs)
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
        return
    names = options.only.split(",") if options.only else sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
    above = []
    print(f"{'technique':26} requests  ms a run  ms a call  over {BASELINE}")
    for name in names:
        if not (REPLIES / name / "replies.yaml").is_file():
            continue
        cost, over = overhead(name, options.runs, options.repeat)
        print(f"{name:26} {cost.requests:8} {cost.milliseconds:9.2f} {cost.per_call:10.2f} {over:+13.2f}", flush=True)
        above += [name] if over > BOUND_MS else []
    print(f"over {BOUND_MS} ms a call: {', '.join(above) or 'none'}")


if __name__ == "__main__":
    main()
