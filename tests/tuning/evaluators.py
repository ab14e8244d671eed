"""An evaluator over a small project, on a scripted model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.suite import Suite
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import Script, Scripted
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.tuning.evaluator import Evaluator
from tests.evaluation.suites import Bench, Given


@dataclass
class Opened:
    """An evaluator with what it works on."""

    evaluator: Evaluator
    runtime: Scripted
    budget: Budget
    store: Store
    suite: Suite
    models: Models


@asynccontextmanager
async def open_evaluator(
    bench: Bench, script: Script | Scripted, suite: Suite | None = None, *, budget: Budget | None = None, **how: Any
) -> AsyncIterator[Opened]:
    """Open the store and an evaluator over all rows of a suite (None: the bench's own)."""
    suite = suite or bench.suite()
    runtime = script if isinstance(script, Scripted) else Scripted(script)
    spend = budget or Budget(inf)
    binder = Binder(suite)
    rows = [binder.bind(row, index) for index, row in enumerate(suite.data.rows())]
    with Store.open(bench.store_folder) as store, ReplyCache(store) as replies, frozen_files():
        number = store.begin_run("tune", suite.target, model={})
        models = Given(runtime, replies)
        evaluator = Evaluator(suite, rows, models=models, store=store, budget=spend, number=number, **how)
        yield Opened(evaluator, runtime, spend, store, suite, models)


def places(evaluator: Evaluator) -> Sequence[int]:
    """Return the places of all rows of an evaluator."""
    return range(len(evaluator.rows))
