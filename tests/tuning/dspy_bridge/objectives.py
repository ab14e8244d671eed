"""A bed for DSPy's optimizers, on a model that reads closely when it is told to, or is shown how."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

from promptkit.runtimes.base import Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import Script, Scripted
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.data_split import DataSplit, read_data_split
from promptkit.tuning.dspy_bridge.extra import open_search
from promptkit.tuning.options import Optimizer
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.search.steps import Objective
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.trials import Estimates
from tests.evaluation.suites import SUITE, Bench
from tests.tuning.data_splits import reviews
from tests.tuning.evaluators import Opened, open_evaluator

GOOD = ("splendid", "lovely", "fresh")
PROPOSAL = "Read closely, and say whether it is good or bad."
MARKER = re.compile(r"`\[\[ ## (\w+) ## \]\]`")


def said(request: Request) -> str:
    """Return all that a request says."""
    return "\n".join(message.content for message in request.messages)


def is_proposal(request: Request) -> bool:
    """Tell whether an optimizer asks for itself."""
    return "[[ ## " in said(request)


def proposing(request: Request, text: str = PROPOSAL) -> str:
    """Answer an optimizer's own signature as its ChatAdapter wants it: each output is the text."""
    outputs = dict.fromkeys(MARKER.findall(request.messages[-1].content))
    outputs.pop("completed", None)
    return "".join(f"[[ ## {name} ## ]]\n{text}\n\n" for name in outputs)


def asked_for(request: Request) -> str:
    """Return the row's text in a request of the step."""
    return request.messages[-1].content.rpartition("<INPUT>\n")[2].partition("\n")[0]


def model(request: Request) -> str:
    """Answer right where the prompt says `closely` or shows examples; else always `bad`. Propose what helps."""
    if is_proposal(request):
        return proposing(request)
    if "closely" in said(request) or "<EXAMPLE>" in said(request):
        return "good" if asked_for(request).startswith(GOOD) else "bad"
    return "bad"


@dataclass
class Search:
    """A search of an optimizer that is ready to run, with what stands behind it."""

    opened: Opened
    objective: Objective
    split: DataSplit
    progress: TuningProgress
    run: Any
    search: Any

    @property
    def requests(self) -> list[Request]:
        return self.opened.runtime.requests

    def asked(self, candidate: Candidate) -> int:
        """Return how many search rows a candidate was asked."""
        return len(list(self.opened.evaluator.results(candidate, self.split.visible)))


@asynccontextmanager
async def opened(
    bench: Bench,
    name: Optimizer,
    script: Script | Scripted = model,
    *,
    suite: str = SUITE,
    rows: int = 60,
    seed: int = 0,
    budget: Budget | None = None,
) -> AsyncIterator[Search]:
    """Open a search of an optimizer over so many rows of reviews."""
    if rows:
        bench.rows(reviews(rows))
    read = bench.suite(suite)
    async with open_evaluator(bench, script, read, budget=budget or Budget(inf)) as field:
        split = read_data_split(read)
        objective = Objective(
            estimates=Estimates(field.evaluator, CandidateCalibration(field.evaluator, split.labels)), split=split
        )
        progress = TuningProgress(budget=field.budget)
        search = open_search(name, objective, progress=progress, models=field.models, seed=seed)
        yield Search(field, objective, split, progress, search.run, search)
