"""A model that answers otherwise when it is asked again: measured on the start, and told with the verdict."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from promptkit.reports.tuning.report import tuning_text
from promptkit.runtimes.base import Request
from promptkit.tuning.confirmation.verdict import paired_gain
from promptkit.tuning.costs import RowCost
from promptkit.tuning.data_split import read_data_split
from promptkit.tuning.repeatability import is_asked_again
from tests.engine.helpers import Folder
from tests.tuning.tunings import Ran, TuneBench, luck, right_where, row_of

CALLS = 260


def steady(request: Request) -> str:
    return right_where(lambda text: 0.95 if "Mood:" in text else 0.5)(request)


def unsteady(request: Request) -> str:
    """Answer a repeated request otherwise on about half of the rows."""
    number = row_of(request)
    again = request.sample != "0" and luck(number, 0.5, "unsteady")
    return steady(request) if not again else "good" if steady(request) == "bad" else "bad"


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 60)


def reported(ran: Ran) -> str:
    return " ".join(tuning_text(ran.tuned.record).split())


async def test_the_start_is_asked_twice_on_its_first_rows_within_the_budget(bench: TuneBench) -> None:
    ran = await bench.tune(steady, calls=CALLS, only=("decide",))

    assert Counter(request.sample for request in ran.runtime.requests)["0+1"] == 8
    assert ran.record["calls"] == len(ran.runtime.requests)
    assert ran.record["repeatability"] == {
        "rows": 8,
        "changed": 0,
        "margin": None,
        "start_kept": 0,
        "incumbent_kept": 0,
    }
    assert "asked again" not in reported(ran)


async def test_answers_that_change_are_told_with_what_they_mean_for_a_second_run(bench: TuneBench) -> None:
    ran = await bench.tune(unsteady, calls=CALLS, only=("decide",))
    found, confirmed = ran.record["repeatability"], ran.record["confirmation"]["rows"]

    assert 1 <= found["changed"] <= 8
    assert found["margin"] == pytest.approx(1.96 * (2 * found["changed"] / 8 / 2 / confirmed) ** 0.5, rel=1e-3)
    changed, points = f"{found['changed']} of 8 rows", f"±{100 * found['margin']:.0f} points"
    assert f"the model answered {changed} otherwise when asked again: a score on the confirm rows" in reported(ran)
    assert f"may differ by about {points} in a second run; the interval includes this" in reported(ran)


async def test_confirm_answers_of_an_earlier_run_on_one_side_are_told(bench: TuneBench) -> None:
    await bench.tune(unsteady, calls=CALLS, only=("layout",))
    ran = await bench.tune(unsteady, calls=CALLS, only=("decide",))

    asked = ran.record["confirmation"]["rows"]
    assert ran.record["repeatability"]["start_kept"] == asked
    assert f"answers of an earlier run: {asked} of the start, 0 of the incumbent" in reported(ran)


async def test_the_repeats_of_a_suite_stand_in_place_of_asking_again(bench: TuneBench) -> None:
    text = "data: rows.jsonl\ntarget: mood\nmetrics: {accuracy: label}\nrepeat: 2\n"
    ran = await bench.tune(unsteady, text=text, calls=400, only=("decide",))

    assert {request.sample for request in ran.runtime.requests} == {"0", "1"}
    assert ran.record["repeatability"]["rows"] > 8
    assert ran.record["repeatability"]["changed"] > 0


@pytest.mark.parametrize(("left", "is_asked"), [(79, False), (80, True)])
@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_small_budget_is_kept_for_the_search_whatever_its_unit(
    bench: TuneBench, limit: int, left: int, is_asked: bool
) -> None:
    split, cost = read_data_split(bench.start()), RowCost(calls=1.0, tokens=90.0, judge_tokens=10.0, seconds=0.5)
    limits = np.full(3, np.inf)
    limits[limit] = (2 * len(split.holdout) + left) * cost.amounts[limit]

    assert is_asked_again(split, cost, limits, rows=8) == is_asked


def test_the_paired_interval_includes_that_both_sides_are_asked_once_a_row() -> None:
    chance = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        start = chance.beta(2, 1, 100)  # The shares of answers to a row that are right.
        incumbent = np.clip(start + 0.1 * (chance.random(100) < 0.5), 0, 1)
        once = [(chance.random(100) < shares).astype(float) for shares in (incumbent, start)]
        found = paired_gain(*once)
        covered += found.low <= (incumbent - start).mean() <= found.high

    assert covered >= 0.93 * 300
