"""Our search against DSPy's on a real model: the same rows, the same metric, and the same rows to confirm on."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.project import Project
from promptkit.runtimes.models import Models
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.tuning.budget import BudgetShares
from promptkit.tuning.data_split import POOL_ROWS, DataSplit, row_labels, row_order
from promptkit.tuning.options import Limits, TuneOptions
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.run import Setup, TuningRun
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.search_space.space import derive_search_space, step_models

if TYPE_CHECKING:
    from promptkit.tuning.options import Optimizer

OURS: Optimizer = "race"
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""The t quantile of a two-sided interval of 95 %, by the number of seeds."""
PIPELINE = """\
name: reviews
inputs: {text: {type: text}}
steps:
  sentiment:
    prompt: {instructions: Classify the sentiment of the review as positive or negative., input: "{{ text }}"}
    answer: {label: [positive, negative]}
    cue: none
"""
SUITE = """\
data: rows.jsonl
target: reviews
expect: "{{ row.label }}"
metrics: {accuracy: label}
"""


@dataclass(frozen=True, slots=True)
class Bed:
    """A project of its own with the rows: `search` of them are the first, the others are kept to confirm on."""

    folder: Path
    search: int

    def suite(self) -> Suite:
        """Read it."""
        project = Project.find(self.folder)
        return load_suite(self.folder / "evals/reviews.yaml", project, start=self.folder / "pipelines/reviews.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One search: the share right of the confirm rows (below 0: the start was picked), its calls and its seconds."""

    right: float
    calls: int
    seconds: float
    name: str


def make_bed(folder: Path, search: Sequence[Mapping[str, Any]], confirm: Sequence[Mapping[str, Any]]) -> Bed:
    """Write a project with a plain prompt and the rows."""
    for name in ("pipelines", "evals"):
        (folder / name).mkdir(parents=True)
    (folder / "promptkit.yaml").write_text("")
    (folder / "pipelines/reviews.yaml").write_text(PIPELINE)
    (folder / "evals/reviews.yaml").write_text(SUITE)
    rows = [{"text": each["text"], "label": each["label"]} for each in (*search, *confirm)]
    (folder / "evals/rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return Bed(folder, len(search))


def ground_of(suite: Suite, bed: Bed, seed: int) -> DataSplit:
    """Return the rows, split as the files are."""
    binder = Binder(suite)
    rows = tuple(binder.bind(row, index) for index, row in enumerate(suite.data.rows()))
    labels = row_labels([row.expected[0] for row in rows])
    ordered = row_order(bed.search, labels=labels[: bed.search] if labels else None, seed=seed)
    return DataSplit(
        suite=suite,
        rows=rows,
        search=tuple(ordered[POOL_ROWS:]),
        demo_pool=tuple(ordered[:POOL_ROWS]),
        holdout=tuple(range(bed.search, len(rows))),
        labels=labels,
        salt=0,
        share=0.0,
    )


@asynccontextmanager
async def opened(cells: Path, replies: Path, model: str) -> AsyncIterator[tuple[Store, Models]]:
    """Open a store for cells, and a model whose replies are kept in another."""
    with Store.open(cells) as store, Store.open(replies) as kept, ReplyCache(kept) as cache, frozen_files():
        async with Models(model, store=cache) as models:
            yield store, models


async def search(
    bed: Bed, cells: Path, replies: Path, model: str, optimizer: Optimizer, calls: int, seed: int
) -> tuple[Tuned, float]:
    """Search within so many calls, confirm, and return what was found and what the start gets right."""
    suite = bed.suite()
    async with opened(cells, replies, model) as (store, models):
        split = ground_of(suite, bed, seed)
        answering = await step_models(suite, models)
        options = TuneOptions(optimizer=optimizer, seed=seed, limits=Limits(calls=calls + 2 * len(split.holdout)))
        progress = TuningProgress()
        setup = Setup(
            model=answering["sentiment"],
            split=split,
            step_splits={},
            space=derive_search_space(split, answering, seed=seed),
            models=answering,
            space_with=lambda demos: derive_search_space(split, answering, seed=seed, generated=demos),
            smallest_gain=None,
        )
        kept = 2 * len(split.holdout)
        shares = BudgetShares(total=calls + kept, search=calls, confirmation=kept, most_requests=1.0)
        run = TuningRun(
            suite,
            setup,
            options=options,
            models=models,
            store=store,
            progress=progress,
            number=store.begin_run("tune", suite.name, model={}),
            eval_options=EvalOptions(),
            shares=lambda _: shares,
        )
        begun = time.monotonic()
        await run.run()
        took = time.monotonic() - begun
        record = run.end("done").record.to_json()
    best = record["best"]
    start = record["baseline"]["confirm"]
    name = " · ".join(f"{axis.rpartition('.')[2]}: {level}" for axis, level in best["choices"].items())
    right = best["confirm"]["mean"] if best["confirm"] else None
    tuned = Tuned(
        right=-1.0 if right is None else right,
        calls=sum(each["calls"] for each in record["stages"] if each["name"] not in ("confirm", "ablation")),
        seconds=took,
        name=name or "as written",
    )
    return tuned, -1.0 if start is None else start["mean"]


def interval(values: Sequence[float]) -> str:
    """Return the mean with its t interval over seeds, in points."""
    if len(values) < 2:
        return f"{100 * values[0]:+.1f}"
    half = T_95[len(values)] * stdev(values) / sqrt(len(values))
    return f"{100 * mean(values):+.1f} [{100 * (mean(values) - half):+.1f}, {100 * (mean(values) + half):+.1f}]"


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


async def start_alone(bed: Bed, folder: Path, model: str) -> float:
    """Return what the start gets right of the confirm rows."""
    from promptkit.runtimes.budget import Budget
    from promptkit.tuning.evaluator import Evaluator

    suite = bed.suite()
    async with opened(folder / "cells", folder / "replies", model) as (store, models):
        split = ground_of(suite, bed, 0)
        number = store.begin_run("tune", suite.name, model={})
        evaluator = Evaluator(
            suite, split.rows, models=models, store=store, budget=Budget(10**9), number=number, clusters=split.clusters
        )
        await evaluator.evaluate([Candidate()], split.holdout)
        return float(evaluator.scores(Candidate(), split.holdout).mean())


def embedded(
    data: Path, model: str, seeds: int, confirm: int, budgets: Mapping[Optimizer, int], folder: Path | None
) -> bool:
    """Tune by each optimizer with each seed, print what each gets right, and return whether our own work is small."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as made:
        home = folder or Path(made)
        bed_folder = home / "project"
        rows = read_rows(data / "dev.jsonl")[:confirm]
        train = read_rows(data / "train.jsonl")
        bed = Bed(bed_folder, len(train)) if bed_folder.exists() else make_bed(bed_folder, train, rows)
        start = asyncio.run(start_alone(bed, home, model))
        print(f"{date.today()}: {model}, {len(train)} rows to search on, {len(rows)} to confirm on")
        print(f"start: {100 * start:.1f} % right")
        found: dict[Optimizer, list[Tuned]] = {}
        share = 0.0
        for seed in range(seeds):
            for optimizer, calls in budgets.items():
                given = (bed, home / "cells", home / "replies", model, optimizer, calls, seed)
                tuned, _ = asyncio.run(search(*given))
                tuned = replace(tuned, right=start) if tuned.right < 0 else tuned
                found.setdefault(optimizer, []).append(tuned)
                told = f"{100 * tuned.right:.1f} % of {tuned.calls} calls, {tuned.seconds:.0f} s: {tuned.name}"
                print(f"{optimizer} seed {seed}: {told}", flush=True)
                if optimizer == OURS:
                    again = home / f"again-{seed}"
                    own, _ = asyncio.run(search(bed, again, home / "replies", model, optimizer, calls, seed))
                    share = max(share, own.seconds / tuned.seconds)
        for optimizer, runs in found.items():
            gains = [each.right - start for each in runs]
            print(
                f"{optimizer}: {100 * mean(each.right for each in runs):.1f} % right, over the start {interval(gains)}"
            )
        for optimizer, runs in found.items():
            if optimizer != OURS and OURS in found:
                ours = [ours.right - theirs.right for ours, theirs in zip(found[OURS], runs, strict=True)]
                print(
                    f"{OURS} at {budgets[OURS]} calls over {optimizer} at {budgets[optimizer]}: {interval(ours)} points"
                )
        print(f"our own work, with all replies kept: at most {share:.2f} of the time of a tuning (bound 0.10)")
    return share <= 0.10
