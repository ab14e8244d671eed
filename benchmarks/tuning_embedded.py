"""promptkit's search against DSPy's on a real model, from a plain prompt with the default cue, at equal calls."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

from pydantic import BaseModel
from tuned_tasks import TASKS

from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.statistics.interval import t_quantile, wilson
from promptkit.evaluation.statistics.paired import paired_binary
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.project import Project
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.models import Models
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.options import Limits, Optimizer, TuneOptions
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.tune import Tuning

CONFIRMATION: Final = "confirm"
START: Final = "start"


class TunedRun(BaseModel):
    """A finished tuning, or the start alone: a line of the file that is kept.

    `right` holds the score of each unseen row. `calls` and `tokens` are of the whole tuning; the confirmation and what
    follows it took `confirm_calls` of the calls. `held_out` is the difference that the confirmation reports, with its
    interval. `seconds` is wall-clock time, of the last part alone where the tuning was `resumed`.
    """

    task: str
    model: str
    optimizer: str
    seed: int
    search_calls: int
    rows: int
    right: list[float]
    pick: str = "as written"
    verdict: str = ""
    held_out: tuple[float, float, float] | None = None
    calls: int = 0
    confirm_calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    resumed: bool = False
    on: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells runs apart: the same run is not made again."""
        of_search = () if self.optimizer == START else (self.seed, self.search_calls)
        return self.task, self.model, self.optimizer, self.rows, len(self.right), *of_search

    @property
    def share(self) -> float:
        """The share of the unseen rows that are right."""
        return mean(self.right)


class Comparison:
    """Tunings of one task on one model, in a folder: the project, a store for each tuning, and the finished runs.

    A further run on the same folder goes on where it stopped.
    """

    def __init__(self, options: argparse.Namespace, home: Path) -> None:
        self._options = options
        self._task = TASKS[options.task]
        self._project = home / f"{options.task}-{options.rows}"
        self._task.write(self._project, options.data, options.rows, options.unseen)
        model = re.sub(r"\W+", "-", options.model.rpartition("/")[2])
        self._stores = home / "stores" / f"{options.task}-{options.rows}-{options.calls}-{model}"
        self._file = home / "tunings.jsonl"
        self._unseen = self._suite("unseen").data.count().rows

    def finished(self) -> dict[tuple[Any, ...], TunedRun]:
        """Return the finished runs of the file, by their keys."""
        lines = self._file.read_text("utf-8").splitlines() if self._file.is_file() else []
        return {run.key: run for run in map(TunedRun.model_validate_json, lines)}

    async def run(self, optimizer: str, seed: int) -> TunedRun:
        """Return a finished run: from the file, or made now and appended to it."""
        run = TunedRun(
            task=self._options.task,
            model=self._options.model,
            optimizer=optimizer,
            seed=seed,
            search_calls=self._options.calls,
            rows=self._options.rows,
            right=[0.0] * self._unseen,
            on=str(date.today()),
        )
        if run.key in (finished := self.finished()):
            return finished[run.key]
        async with self._opened(f"{optimizer}-{seed}") as (store, models):
            made = {} if optimizer == START else await self._tuned(run, store, models)
            candidate = made.pop("candidate", Candidate())
            right = await self._unseen_scores(candidate, store, models)
        run = run.model_copy(update={**made, "right": right})
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{run.model_dump_json()}\n")
        return run

    async def _tuned(self, run: TunedRun, store: Store, models: Models) -> dict[str, Any]:
        """Tune, and return what the run's line says of it, with the candidate."""
        suite, resumed = self._suite("tuned"), bool(store.runs(limit=1))
        optimizer: Optimizer = run.optimizer  # type: ignore[assignment]  # checked by TuneOptions
        held_out = (await Tuning(suite, models=models, store=store).plan()).holdout
        limits = Limits(calls=run.search_calls + 2 * held_out)
        options = TuneOptions(optimizer=optimizer, seed=run.seed, limits=limits, cold=True)
        begun = time.monotonic()
        tuned = await Tuning(suite, models=models, store=store, options=options).run()
        if tuned.failure is not None:
            raise tuned.failure
        record = tuned.record
        names = [stage.name for stage in record.stages]
        confirmed = record.stages[names.index(CONFIRMATION) :] if CONFIRMATION in names else []
        difference = record.difference
        return {
            "candidate": tuned.candidate or Candidate(),
            "pick": tuned.candidate.name if tuned.candidate else "as written",
            "verdict": record.verdict,
            "held_out": (difference.mean, difference.low, difference.high) if difference else None,
            "calls": record.calls,
            "confirm_calls": sum(stage.calls for stage in confirmed),
            "tokens": record.tokens,
            "seconds": time.monotonic() - begun,
            "resumed": resumed,
        }

    async def _unseen_scores(self, candidate: Candidate, store: Store, models: Models) -> list[float]:
        suite = self._suite("unseen")
        binder = Binder(suite)
        rows = [binder.bind(row, index) for index, row in enumerate(suite.data.rows())]
        number = store.begin_run("eval", suite.name, model={})
        evaluator = Evaluator(suite, rows, models=models, store=store, budget=Budget(10**9), number=number)
        await evaluator.evaluate([candidate], range(len(rows)))
        store.end_run(number, "done", {})
        # A row without an answer is not right.
        scores = evaluator.scores(candidate, range(len(rows))).tolist()
        return [score if score == score else 0.0 for score in scores]

    def _suite(self, name: str) -> Suite:
        start = self._project / f"pipelines/{self._task.name}.yaml"
        return load_suite(self._project / f"evals/{name}.yaml", Project.find(self._project), start=start)

    @asynccontextmanager
    async def _opened(self, name: str) -> AsyncIterator[tuple[Store, Models]]:
        """Open a tuning's own store and the model: no tuning finds the answers of another."""
        folder = self._stores / name
        folder.mkdir(parents=True, exist_ok=True)
        with Store.open(folder) as store, ReplyCache(store) as replies, frozen_files():
            async with Models(self._options.model, store=replies) as models:
                yield store, models


def interval(values: Sequence[float]) -> str:
    """Return the mean in points with its 95 % t interval over seeds."""
    if len(values) < 2:
        return f"{100 * values[0]:+.1f} points (one seed: no interval)"
    half = t_quantile(0.95, len(values) - 1) * stdev(values) / sqrt(len(values))
    return f"{100 * mean(values):+.1f} points [{100 * (mean(values) - half):+.1f}, {100 * (mean(values) + half):+.1f}]"


def rate(run: TunedRun) -> str:
    """Return the share of unseen rows that are right, with Wilson's interval."""
    low, high = wilson(round(sum(run.right)), len(run.right))
    return f"{100 * run.share:.1f} % [{100 * low:.0f}, {100 * high:.0f}]"


def line(run: TunedRun, start: TunedRun) -> str:
    """Return a finished tuning as a row of the table."""
    gain = paired_binary(run.right, start.right)
    over = f"{100 * gain.difference:+.1f} [{100 * gain.low:+.0f}, {100 * gain.high:+.0f}]"
    search, minutes = run.calls - run.confirm_calls, f"{'> ' if run.resumed else ''}{run.seconds / 60:.1f}"
    cells = (rate(run), over, run.verdict, search, run.confirm_calls, run.tokens, minutes, run.pick)
    return f"| {run.optimizer} {run.seed} | {' | '.join(map(str, cells))} |"


def summary(found: dict[str, list[TunedRun]], start: TunedRun) -> list[str]:
    """Return each optimizer's mean over seeds, and the differences between them by seed."""
    lines = []
    for name, runs in found.items():
        gain = interval([run.share - start.share for run in runs])
        calls = mean(run.calls - run.confirm_calls for run in runs)
        right = 100 * mean(run.share for run in runs)
        improved = sum(run.verdict == "improved" for run in runs)
        lines.append(f"{name}: {right:.1f} % right, {gain} over the start; improved {improved} of {len(runs)};")
        lines[-1] += f" {calls:.0f} calls of the search"
    first, *others = found
    for name in others:
        both = list(zip(found[first], found[name], strict=False))
        lines.append(f"{first} - {name}: {interval([ours.share - theirs.share for ours, theirs in both])}")
    if len(next(iter(found.values()))) > 1:
        lines.append("intervals over seeds are of the search on these rows, and not of other rows")
    return lines


async def compare(options: argparse.Namespace, home: Path) -> None:
    """Tune by each optimizer with each seed; print each as it ends, and what they amount to."""
    comparison = Comparison(options, home)
    start = await comparison.run(START, 0)
    print(f"{date.today()}: {options.task} on {options.model}, {options.rows} rows to tune on, ", end="")
    print(f"{len(start.right)} that no tuning has; {options.calls} calls for each search")
    print(f"start: {rate(start)}\n")
    print("| tuning | unseen rows right | over the start | verdict | calls: search | confirm | tokens | min | pick |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    found: dict[str, list[TunedRun]] = {name: [] for name in options.optimizers.split(",")}
    for seed in range(options.seeds):
        for optimizer, runs in found.items():
            runs.append(await comparison.run(optimizer, seed))
            print(line(runs[-1], start), flush=True)
    print("", *summary(found, start), sep="\n")


def embedded(options: argparse.Namespace) -> bool:
    """Compare the optimizers; nothing is promised of the numbers."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(compare(options, options.keep or Path(made)))
    return True
