"""Races, verdicts and searches through the whole stack against the same over arrays, and what the stack costs."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tuning_simulated import Bound, at_most

from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder
from tests.tuning.array_searches import screened_and_raced
from tests.tuning.simulated import space
from tests.tuning.stack import KINDS, over_arrays, planted, through_stack
from tests.tuning.stack_space import searched_through_stack, space_axes
from tests.tuning.tunings import TuneBench, right_where

REQUEST_MS = 100
"""What a request to a small model on this machine takes at least: its prompt of some hundred tokens is read."""
CANDIDATES, ROWS, SHARES = (8, 16, 24), (100, 150, 200, 250), (1 / 2, 1 / 3)
START, SEARCH_ROWS, SEARCH_CALLS = 0.62, 100, 400
TUNINGS, TUNING_ROWS, TUNING_CALLS = 3, 200, 600

T = TypeVar("T")


@dataclass
class Tally:
    """Runs of one kind: how many decided the same as over arrays, their cells and requests, and CPU in seconds.

    `cpu` is that of the stack alone: what the script takes to answer is not in it.
    """

    runs: int = 0
    same: int = 0
    improved: int = 0
    cells: int = 0
    requests: int = 0
    cpu: float = 0.0

    def line(self, name: str) -> str:
        """Return it as a line of a table."""
        counts = f"{self.runs:6}{self.same:6}{self.improved:10}{self.cells:9}{self.requests:10}"
        return f"{name:<24}{counts}{1000 * self.cpu / self.cells:12.2f}{1000 * self.cpu / self.requests:15.2f}"


def timed(action: Callable[[], T]) -> tuple[T, float]:
    """Return what an action gives, and its CPU in seconds."""
    begun = time.process_time()
    found = action()
    return found, time.process_time() - begun


def race(kind: str, seed: int, tally: Tally, folder: Path) -> None:
    """Run one race both ways and add it to a tally."""
    plan = planted(
        kind,
        seed,
        candidates=CANDIDATES[seed % len(CANDIDATES)],
        rows=ROWS[seed % len(ROWS)],
        share=SHARES[seed % len(SHARES)],
    )
    ran, cpu = timed(lambda: asyncio.run(through_stack(plan, folder / "project")))
    _, answering = timed(lambda: [plan.answer(request) for request in ran.requests])
    decided = ran.decided
    tally.runs += 1
    tally.same += decided == over_arrays(plan, folder / "arrays") and ran.searching == decided.calls <= plan.calls
    tally.improved += decided.verdict == "improved"
    tally.cells += ran.cells
    tally.requests += len(ran.requests)
    tally.cpu += cpu - answering


def search(seed: int, tally: Tally, folder: Path) -> None:
    """Run one search of a space both ways and add it to a tally."""
    model = replace(space(seed, start=START, rows=SEARCH_ROWS), axes=space_axes())
    (pick, calls, asked), cpu = timed(lambda: asyncio.run(searched_through_stack(model, SEARCH_CALLS, folder)))
    tally.runs += 1
    tally.same += (pick, calls) == screened_and_raced(model, SEARCH_CALLS) and asked == calls <= SEARCH_CALLS
    tally.cells += asked
    tally.requests += asked
    tally.cpu += cpu


def tuning(seed: int, tally: Tally, folder: Path) -> None:
    """Run one tuning, from its plan to its verdict, and add it to a tally."""
    runtime = Scripted(right_where(lambda text: 0.9 if "Mood:" in text else 0.5))
    bench = TuneBench(Folder(folder), TUNING_ROWS)
    ran, cpu = timed(lambda: asyncio.run(bench.tune(runtime, calls=TUNING_CALLS, seed=seed)))
    tally.runs += 1
    tally.same += len(runtime.requests) == ran.record["calls"] <= TUNING_CALLS
    tally.improved += ran.record["verdict"] == "improved"
    tally.cells += len(runtime.requests)
    tally.requests += len(runtime.requests)
    tally.cpu += cpu


def in_folders(runs: Iterable[Callable[[Path], None]]) -> None:
    """Run each in a folder of its own."""
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder))


def stack(races: int) -> bool:
    """Measure all; print what differed and what it cost, and return whether all bounds are held."""
    in_folders(
        [lambda folder: race(KINDS[0], 0, Tally(), folder), lambda folder: tuning(0, Tally(), folder)]
    )  # imports
    kinds = {kind: Tally() for kind in KINDS}
    searches, tunings = Tally(), Tally()
    for number in range(races):
        kind, seed = KINDS[number % len(KINDS)], number // len(KINDS)
        in_folders([lambda folder, kind=kind, seed=seed: race(kind, seed, kinds[kind], folder)])
    in_folders([lambda folder, seed=seed: search(seed, searches, folder) for seed in range(max(1, races // 5))])
    in_folders([lambda folder, seed=seed: tuning(seed, tunings, folder) for seed in range(TUNINGS)])
    print(f"{'races with verdicts':<24}{'runs':>6}{'same':>6}{'improved':>10}{'cells':>9}{'requests':>10}", end="")
    print(f"{'ms a cell':>12}{'ms a request':>15}")
    for name, tally in {**kinds, "searches of a space": searches, "whole tunings": tunings}.items():
        print(tally.line(name))
    print(f"ms are CPU without a model; {TUNING_CALLS} calls a tuning, of which `same` are those the model got")
    bounds = list(promised(list(kinds.values()), searches, tunings))
    print(f"\n{'bound':<72}{'promised':>18}{'measured':>10}")
    for bound in bounds:
        print(bound.line())
    return all(bound.held for bound in bounds)


def promised(kinds: list[Tally], searches: Tally, tunings: Tally) -> Iterable[Bound]:
    """Yield what is promised."""
    differ = sum(each.runs - each.same for each in kinds)
    yield at_most("races that decide, or count, otherwise than over arrays", most=0, measured=differ, digits=0)
    differ = searches.runs - searches.same
    yield at_most("searches that do", most=0, measured=differ, digits=0)
    yield at_most("tunings that count otherwise than the model", most=0, measured=tunings.runs - tunings.same, digits=0)
    for name, tally in (("race", total(kinds)), ("search", searches), ("tuning", tunings)):
        share = 100 * (1000 * tally.cpu / tally.requests) / REQUEST_MS
        yield at_most(f"own CPU of a {name}, of requests of {REQUEST_MS} ms, %", most=10, measured=share)


def total(tallies: list[Tally]) -> Tally:
    """Return the requests and the CPU of all."""
    return Tally(requests=sum(each.requests for each in tallies), cpu=sum(each.cpu for each in tallies))
