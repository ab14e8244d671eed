"""Searches of a space of known truth through the whole stack: which configuration is asked is read out of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import ScriptedAnswer, request_text
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.search.search import Search
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from promptkit.tuning.trials import Estimates
from tests.tuning.evaluators import open_evaluator
from tests.tuning.simulated import Space
from tests.tuning.stack import LABELS, StackBench, number_of

LAYOUTS: Final = {"xml": "<INPUT>", "markdown": "## Input", "prefix": "OBJECTS:", "json": '"input"'}
"""By what a request shows its layout."""


def space_axes() -> list[Parameter]:
    """Return four axes whose levels show in what is asked: labels' definitions, examples, layout, cue."""
    kinds = [Choice(f"kind {n}", {"mood.answer": {"label": {"good": f"kind {n}", "bad": ""}}}) for n in range(1, 4)]
    readers = [
        Choice(f"reader {n}", {"mood.examples": [{"input": {"text": f"It is reader {n}"}, "output": "good"}]})
        for n in range(1, 12)
    ]
    layouts = [Choice(name, {"mood.layout": name}) for name in list(LAYOUTS)[1:]]
    marks = [Choice(f"mark {n}", {"mood.cue": f"Mark {n}:"}) for n in range(1, 6)]
    choices = {"decide": kinds, "examples": readers, "layout": layouts, "wording": marks}
    return [
        Parameter(name=f"mood.{name}", step="mood", kind="given", choices=(Choice("as written"), *group))
        for name, group in choices.items()
    ]


def place_of(text: str) -> tuple[int, ...]:
    """Return the numbers of the levels that what is asked shows, one an axis."""
    layout = next(at for at, sign in enumerate(LAYOUTS.values()) if sign in text)
    return number_of("kind", text), number_of("reader", text), layout, number_of("Mark", text)


async def searched_through_stack(model: Space, calls: int, folder: Path) -> tuple[Candidate, int, int]:
    """Search a space as a tuning does; return the pick, the calls that are counted, and those that the model got.

    The rows of the space are all rows of a project in a folder, in the order of the search.
    """
    bench = StackBench(folder, model.rows)
    suite, split, numbers = bench.read()
    order = (*split.search, *split.holdout)
    at = {numbers[row]: place for place, row in enumerate(order)}
    candidates: dict[tuple[int, ...], Candidate] = {}

    def answer(request: Request) -> ScriptedAnswer:
        text = request_text(request)
        row, place = number_of("row", text), place_of(text)
        if place not in candidates:
            chosen = zip(model.axes, place, strict=True)
            candidates[place] = Candidate(
                {parameter.name: parameter.choices[level] for parameter, level in chosen if level}
            )
        is_right = model.scores(candidates[place])[at[row]] > 0
        return Reply(text=LABELS[row % 2] if is_right else LABELS[1 - row % 2], tokens_in=10, tokens_out=1)

    async with open_evaluator(bench, answer, suite, budget=Budget(calls)) as opened:
        estimates = Estimates(opened.evaluator, CandidateCalibration(opened.evaluator, split.labels))
        search = Search(estimates, order, model.axes, progress=TuningProgress(), seed=model.seed)
        result = await search.run(calls)
        return result.incumbent, opened.budget.spent, len(opened.runtime.requests)
