"""The gain of weights over their prompt: a second hypothesis, which needs the first one to be shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptkit.runtimes.budget import Budget
from promptkit.tuning.confirmation.confirm import Confirmation
from promptkit.tuning.confirmation.weights_gain import weights_gain
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.tunings import TuneBench, right_where

ROWS = 80
PROMPT = Candidate({"mood.decide": Choice("cue", {"mood.cue": "Mood:"})})
WEIGHTS = Candidate(
    {"mood.decide": Choice("cue", {"mood.cue": "Mood:"}), "mood.weights": Choice("head", {"mood.cue": "Taught:"})}
)
IMPROVED = Confirmation(outcome="improved", why="", rows=tuple(range(ROWS)), level=0.95, look_level=0.978)

script = right_where(lambda text: 0.95 if "Taught:" in text else 0.7)


@pytest.mark.parametrize(
    ("confirmation", "calls", "shown"),
    [
        (IMPROVED, 1_000, True),
        (replace(IMPROVED, outcome="not shown"), 1_000, False),
        (replace(IMPROVED, look_level=0.999_999_9), 1_000, False),
        (IMPROVED, ROWS + ROWS - 1, False),
    ],
    ids=["after the first", "without the first", "at the level of its look", "on a part of the rows"],
)
async def test_it_is_shown_after_the_gain_over_the_start_at_the_level_of_the_look(
    folder: Folder, confirmation: Confirmation, calls: int, shown: bool
) -> None:
    async with open_evaluator(TuneBench(folder, ROWS), script, budget=Budget(calls)) as opened:
        await opened.evaluator.evaluate([WEIGHTS], range(ROWS))

        gain = await weights_gain(opened.evaluator, PROMPT, WEIGHTS, confirmation)

    assert gain.shown == shown
    assert gain.difference is not None
    assert gain.difference.mean > 0.15
    assert gain.difference.level == 0.95


async def test_a_budget_without_a_call_measures_nothing(folder: Folder) -> None:
    async with open_evaluator(TuneBench(folder, ROWS), script, budget=Budget(ROWS)) as opened:
        await opened.evaluator.evaluate([WEIGHTS], range(ROWS))

        gain = await weights_gain(opened.evaluator, PROMPT, WEIGHTS, IMPROVED)

    assert (gain.difference, gain.shown) == (None, False)
