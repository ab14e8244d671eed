"""The CPU of an evaluated row, all in (rendered, asked, read, traced, scored, stored), beside a bare client's.

    python benchmarks/eval.py [--rows 500 5000] [--latency 0 0.05] [--in-flight 20] [--turns 3] [--profile]
    python benchmarks/eval.py --grow 1000 10000 100000 1000000

Both sides ask one loopback server of fixed latency for the same chats, in turn: a suite of one prompt with four
examples, one variant and one exact-match metric, by a function call and by the command; and a bare aiohttp client that
sends the requests of that run and reads the replies. The cost of a further row is that of the most rows less that of
the fewest, by row, so that starting is not counted. What a store holds is counted there afterwards. Then the same
again, which asks nothing.

With `--grow` a model in the process answers at once: time and memory of so many rows, over those of the number before,
and what the process has written (Linux's `write_bytes`) over what the store holds at its end. Ends with 1 beyond them.

Bounds: a further row takes 3 times the CPU of the bare client's; the time that the server's latency allows and 10 %
more; 20,000 known cells a second; 100 bytes of memory a further cell; 5 bytes written for each that the store holds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from overhead import PROMPT, bare
from server import MODEL, Server, ollama_server

from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.suite.reader import load_suite
from promptkit.project import Project
from promptkit.runtimes.base import Message, Model, OnText, Reply, Request
from promptkit.runtimes.client import Cache, Client
from promptkit.runtimes.models import Models
from promptkit.storage.database import Database
from promptkit.storage.store import Store

TIMES_BARE = 3.0
OVER_FLOOR = 1.1
KNOWN_A_SECOND = 20_000
BYTES_A_CELL = 100
WRITTEN_TIMES_HELD = 5
REFERENCE = f"ollama/{MODEL}"
SUITE = """\
name: bench
data: rows.jsonl
target: mood.j2
expect: "{{ row.label }}"
metrics: {right: exact}
"""
# Linux counts the memory of the process that starts another among the other's, so a small one starts it.
_LAUNCHER = """\
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
wall = time.perf_counter() - started
used = {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "peak": usage.ru_maxrss * 1024}
with open(sys.argv[1], "w") as file:
    json.dump(used, file)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Used:
    """What something took: seconds of CPU and of time, and the most bytes of memory."""

    cpu: float
    wall: float
    peak: int = 0


@dataclass(frozen=True)
class Stored:
    """What a store holds of a run, and in how many commits that was written."""

    rows: int
    traces: int
    commits: int


@dataclass(frozen=True)
class Side:
    """What one side took for each number of rows."""

    name: str
    used: Mapping[int, Used]

    @property
    def further_ms(self) -> float:
        """CPU of a further row in milliseconds."""
        few, many = min(self.used), max(self.used)
        return (self.used[many].cpu - self.used[few].cpu) * 1000 / (many - few)


def measured(command: Sequence[str], *, folder: Path, variables: Mapping[str, str]) -> tuple[Used, str]:
    """Run a command to its end and return what it took, with the processes that it waited for, and what it printed."""
    with tempfile.NamedTemporaryFile() as used:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, used.name, *command],
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return Used(**json.loads(Path(used.name).read_text())), done.stdout


def write_suite(folder: Path, rows: int) -> Path:
    """Write a project with a suite of so many rows, and return the suite's file."""
    folder.mkdir()
    (folder / "promptkit.yaml").write_text("")
    (folder / "mood.j2").write_text(PROMPT)
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(rows):
            text = f"Review {number}: a fine film with a slow middle and a moving end."
            file.write(json.dumps({"text": text, "label": "positive"}) + "\n")
    suite = folder / "bench.yaml"
    suite.write_text(SUITE)
    return suite


async def evaluate(suite: Path, models: Models, store: Store, in_flight: int, profile: cProfile.Profile | None) -> Used:
    """Evaluate a suite and return what that took, from when it is open."""
    evaluation = Evaluation(
        load_suite(suite, Project.find(suite)),
        models=models,
        store=store,
        options=EvalOptions(in_flight=in_flight),
    )
    await evaluation.open()
    gc.collect()
    gc.freeze()  # as the command does, and that
    gc.set_threshold(10_000)
    if profile:
        profile.enable()
    cpu, wall = time.process_time(), time.perf_counter()
    evaluated = await evaluation.run()
    used = Used(time.process_time() - cpu, time.perf_counter() - wall)
    if profile:
        profile.disable()
    gc.unfreeze()
    (variant,) = evaluated.record.variants
    assert evaluated.status == "done" and variant.metrics["right"].mean == 1.0, evaluated
    return used


async def by_call(suite: Path, in_flight: int, profile: cProfile.Profile | None) -> tuple[Used, Used, Stored]:
    """Evaluate a suite in this process with a store of its own, and again; return both costs, and what is in there."""
    folder = suite.parent / "called"
    with commits() as count, Store.open(folder) as store:
        with ReplyCache(store) as replies:
            async with Models(REFERENCE, store=replies, concurrency=in_flight) as models:
                first = await evaluate(suite, models, store, in_flight, profile)
        made = count[0]
        with ReplyCache(store) as replies:
            async with Models(REFERENCE, store=replies, concurrency=in_flight) as models:
                again = await evaluate(suite, models, store, in_flight, None)
    return first, again, look_into(folder / "store.db", made)


@contextmanager
def commits() -> Iterator[list[int]]:
    """Count the transactions that stores commit."""
    count, transact = [0], Database._transact

    def counting(self: Database, changes: Any) -> Any:
        done = transact(self, changes)
        count[0] += 1
        return done

    Database._transact = counting  # type: ignore[method-assign]
    try:
        yield count
    finally:
        Database._transact = transact  # type: ignore[method-assign]


def look_into(file: Path, made: int) -> Stored:
    """Count a store's rows and traces."""
    with closing(sqlite3.connect(file)) as store:
        (rows,) = store.execute("select count(*) from run_cells where run = 1").fetchone()
        (traces,) = store.execute("select count(*) from traces").fetchone()
    return Stored(rows, traces, made)


def requests_of(folder: Path) -> list[Request]:
    """Return the requests of a run, as its traces hold them."""
    with Store.open(folder) as store:
        traces = [json.loads(store.cells.trace(cell.number) or b"{}") for cell in store.cells.of_run(1)]
    return [_request(call) for trace in traces for call in _calls(trace)]


def _calls(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from node["calls"]
    for part in node["parts"]:
        yield from _calls(part)


def _request(call: Mapping[str, Any]) -> Request:
    turns = [Message(each["role"], each["content"]) for each in call["messages"]]
    begun = [Message("assistant", call["begun"])] if call["begun"] else []
    return Request(messages=(*turns, *begun), max_tokens=call["options"]["max_tokens"])


def by_command(suite: Path, server: Server, in_flight: int) -> tuple[Used, Used]:
    """Evaluate a suite by the command, and again; return both costs."""
    command = [sys.executable, "-m", "promptkit", "eval", suite.name, "-j", str(in_flight), "--json"]
    costs = []
    for _ in range(2):
        variables = {"OLLAMA_HOST": server.url, "PROMPTKIT_MODEL": REFERENCE}
        used, said = measured(command, folder=suite.parent, variables=variables)
        record = json.loads(said)
        assert record["status"] == "done" and record["variants"][0]["cases"] == record["rows"], record
        costs.append(used)
    return costs[0], costs[1]


async def turn(server: Server, arguments: argparse.Namespace) -> tuple[list[Side], Stored]:
    """Measure every side once for each number of rows."""
    costs: dict[str, dict[int, Used]] = {}
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            suite = write_suite(Path(folder, "bench"), rows)
            before = server.requests()
            profile = cProfile.Profile() if arguments.profile and rows == max(arguments.rows) else None
            called, called_again, stored = await by_call(suite, arguments.in_flight, profile)
            asked = server.requests() - before
            assert asked <= rows + 3, f"{rows} rows asked {asked} times"  # a new model is probed with two
            if profile:
                pstats.Stats(profile).sort_stats("tottime").print_stats(60)
            requests = requests_of(suite.parent / "called")
            gc.collect()
            cost = await bare(server, requests, arguments.in_flight)
            before = server.requests()
            commanded, commanded_again = await asyncio.to_thread(by_command, suite, server, arguments.in_flight)
            assert server.requests() - before <= rows + 3, "the second command asked again"
            found = {
                "bare aiohttp": Used(cost.cpu * rows / 1000, cost.wall * rows / 1000),
                "promptkit, called": called,
                "promptkit eval": commanded,
                "again, called": called_again,
                "again, the command": commanded_again,
            }
            for name, used in found.items():
                costs.setdefault(name, {})[rows] = used
    return [Side(name, used) for name, used in costs.items()], stored


def show(turns: Sequence[Sequence[Side]], stored: Stored, latency: float, in_flight: int) -> None:
    """Print the medians of each side, and the bounds."""
    by_name = {side.name: [each for turn in turns for each in turn if each.name == side.name] for side in turns[0]}
    most = max(turns[0][0].used)
    floor = most * latency / in_flight
    print(f"\nlatency {latency * 1000:.0f} ms, {in_flight} in flight, {most} rows")
    print(f"{'side':20}{'CPU ms a further row':>22}{'s for all':>11}{'over floor':>12}{'peak MB':>9}")
    for name, sides in by_name.items():
        wall = median(side.used[most].wall for side in sides)
        peak = median(side.used[most].peak for side in sides)
        over = f"{wall / floor:.3f}" if floor and "again" not in name else ""
        megabytes = f"{peak / 1e6:.0f}" if peak else ""
        print(f"{name:20}{median(side.further_ms for side in sides):22.3f}{wall:11.2f}{over:>12}{megabytes:>9}")

    called, plain = by_name["promptkit, called"], by_name["bare aiohttp"]
    times = median(ours.further_ms / theirs.further_ms for ours, theirs in zip(called, plain, strict=True))
    print(f"\na further row takes {times:.2f} times the CPU of the bare client (bound {TIMES_BARE})")
    if floor:
        wall = median(side.used[most].wall for side in called)
        print(f"{wall / floor:.3f} of the time that the latency allows (bound {OVER_FLOOR})")
    again = median(most / side.used[most].wall for side in by_name["again, called"])
    by_cpu = median(most / side.used[most].cpu for side in by_name["again, called"])
    print(f"known cells: {again:.0f} a second, {by_cpu:.0f} by CPU (bound {KNOWN_A_SECOND})")
    print(f"in the store: {stored.rows} rows, {stored.traces} traces, from {stored.commits} commits")


class AtOnce:
    """A model in this process that answers at once and keeps nothing."""

    described = Model(
        reference="bench", digest="bench", capabilities=frozenset({"chat", "continue", "system", "stop"}), parallel=20
    )

    async def model(self) -> Model:
        return self.described

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        await asyncio.sleep(0)
        return Reply(text="positive", tokens_in=100, tokens_out=1)

    async def close(self) -> None:
        """Nothing to release."""


class OneModel(Models):
    """The one model that there is."""

    def __init__(self, store: Cache) -> None:
        super().__init__(REFERENCE)
        self._client = Client(AtOnce(), store=store)  # type: ignore[arg-type]

    async def get(self, reference: str | None = None) -> Client:
        return self._client


async def grown(rows: int) -> dict[str, float]:
    """Evaluate so many rows in this process, and return what that took."""
    with tempfile.TemporaryDirectory() as folder:
        suite = write_suite(Path(folder, "bench"), rows)
        before = written()
        with Store.open(suite.parent / "called") as store, ReplyCache(store) as replies:
            used = await evaluate(suite, OneModel(replies), store, 20, None)
        wrote = written() - before
        size = (suite.parent / "called" / "store.db").stat().st_size
    status = Path("/proc/self/status").read_text()
    peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024
    return {"cpu": used.cpu, "wall": used.wall, "peak": peak, "disk": size, "written": wrote}


def written() -> int:
    """Return the bytes that this process has sent to the disk."""
    return int(Path("/proc/self/io").read_text().split("\nwrite_bytes: ")[1].split()[0])


def grow(numbers: Sequence[int]) -> int:
    """Print how time, memory and disk grow with the rows, each number in a process of its own; 1 beyond a bound."""
    print(f"{'rows':>9}{'CPU ms a row':>14}{'s':>9}{'peak MB':>9}{'bytes a cell more':>19}", end="")
    print(f"{'disk bytes a cell':>19}{'written over held':>19}")
    beyond, before, fewer = 0, None, 0
    for rows in numbers:
        command = [sys.executable, __file__, "--grown", str(rows)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        more = (found["peak"] - before["peak"]) / (rows - fewer) if before and rows > fewer else 0.0
        times = found["written"] / found["disk"]
        print(
            f"{rows:9}{found['cpu'] * 1000 / rows:14.3f}{found['wall']:9.1f}{found['peak'] / 1e6:9.1f}"
            f"{more:19.1f}{found['disk'] / rows:19.0f}{times:19.2f}",
            flush=True,
        )
        beyond |= more > BYTES_A_CELL or times > WRITTEN_TIMES_HELD
        before, fewer = found, rows
    print(f"bounds: {BYTES_A_CELL} bytes of memory a further cell, CPU a row the same,", end=" ")
    print(f"{WRITTEN_TIMES_HELD} bytes written for each in the store")
    return int(beyond)


async def main(arguments: argparse.Namespace) -> int:
    """Measure so many times, the sides in turn, and print the medians."""
    if arguments.grown:
        print(json.dumps(await grown(arguments.grown)))
        return 0
    if arguments.grow:
        return grow(arguments.grow)
    for latency in arguments.latency:
        with ollama_server(latency=latency) as server:
            os.environ["OLLAMA_HOST"] = server.url
            turns, stored = [], Stored(0, 0, 0)
            for _ in range(arguments.turns):
                sides, stored = await turn(server, arguments)
                turns.append(sides)
            show(turns, stored, latency, arguments.in_flight)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[500, 5000], metavar="N", help="the fewest and the most")
    parser.add_argument("--latency", type=float, nargs="+", default=[0.0, 0.05], metavar="SECONDS")
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="print where the time of the most rows goes")
    parser.add_argument("--grow", type=int, nargs="+", default=[], metavar="ROWS", help="measure growth instead")
    parser.add_argument("--grown", type=int, default=0, help=argparse.SUPPRESS)
    sys.exit(asyncio.run(main(parser.parse_args())))
