"""The gain of weights over their prompt: a second hypothesis, which needs the first one to be shown."""

from __future__ import annotations

from math import inf

import pytest

from promptkit.runtimes.base import Request
from promptkit.runtimes.budget import Budget
from promptkit.tuning.confirmation.confirm import Confirmation, confirm
from promptkit.tuning.confirmation.weights_gain import WeightsGain, weights_gain
from promptkit.tuning.data_split import read_data_split
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.tunings import TuneBench, right_where

ROWS = 140
CUE = Choice("cue", {"mood.cue": "Mood:"})
START, PROMPT = Candidate(), Candidate({"mood.decide": CUE})
WEIGHTS = Candidate({"mood.decide": CUE, "mood.weights": Choice("head", {"mood.cue": "Taught:"})})


async def gained(
    folder: Folder, *, weights: float, prompt: float = 0.7, start: float = 0.4, further: float = inf
) -> tuple[Confirmation, WeightsGain]:
    """Confirm weights that are right on this share of rows, and compare them with their prompt within further calls."""

    def share(text: str) -> float:
        return weights if "Taught:" in text else prompt if "Mood:" in text else start

    def script(request: Request) -> str:
        return right_where(share)(request)

    bench, budget = TuneBench(folder, ROWS), Budget(inf)
    split = read_data_split(bench.start(), pooled=False)
    async with open_evaluator(bench, script, budget=budget) as opened:
        found = await confirm(opened.evaluator, START, WEIGHTS, split, ordinal=1)
        budget.most = budget.spent + further
        return found, await weights_gain(opened.evaluator, PROMPT, WEIGHTS, split, found)


async def test_a_gain_of_the_weights_is_shown_at_a_look_after_that_over_the_start(folder: Folder) -> None:
    confirmation, gain = await gained(folder, weights=0.92)

    assert (confirmation.outcome, gain.shown) == ("improved", True)
    assert gain.difference is not None
    assert confirmation.look < confirmation.looks
    assert gain.difference.n > len(confirmation.rows)
    assert (gain.difference.level, gain.difference.low > 0) == (0.95, True)


async def test_weights_that_bring_nothing_over_their_prompt_are_not_shown(folder: Folder) -> None:
    confirmation, gain = await gained(folder, weights=0.71)

    assert (confirmation.outcome, gain.shown) == ("improved", False)


async def test_without_the_gain_over_the_start_nothing_is_shown_however_large_it_is(folder: Folder) -> None:
    confirmation, gain = await gained(folder, weights=0.95, prompt=0.3, start=0.97)

    assert (confirmation.outcome, gain.shown) == ("not shown", False)
    assert gain.difference is not None
    assert gain.difference.low > 0


@pytest.mark.parametrize(("further", "measured"), [(0, False), (40, True)])
async def test_a_budget_that_ends_leaves_the_rows_that_it_held(folder: Folder, further: int, measured: bool) -> None:
    confirmation, gain = await gained(folder, weights=0.75, further=further)

    assert confirmation.outcome == "improved"
    assert not gain.shown
    assert (gain.difference is not None) == measured
    assert gain.difference is None or gain.difference.n == further
