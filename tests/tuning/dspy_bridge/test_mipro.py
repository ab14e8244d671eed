"""MIPROv2 within a number of calls: which settings fit, and what it asks with them."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from promptkit.runtimes.base import Request
from promptkit.tuning.dspy_bridge.mipro import fitting_settings, trial_count
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench
from tests.tuning.dspy_bridge.objectives import GOOD, Search, asked_for, is_proposal, opened, proposing, said

MARK = "<EXAMPLE>"
EXAMPLE = re.compile(r"<EXAMPLE>\nInput:\s*(.*)")


def noisy(request: Request) -> str:
    """Answer right on half of the rows, on a few more with examples; each proposal differs."""
    number = int(sha256(f"{said(request)}{request.sample}".encode()).hexdigest(), 16)
    if is_proposal(request):
        return proposing(request, f"Say good or bad after reading it {number % 1_000} times.")
    is_right = number % 100 < 50 + 5 * said(request).count(MARK)
    return "good" if asked_for(request).startswith(GOOD) == is_right else "bad"


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder)


def asked(search: Search) -> list[Request]:
    """Return the requests of the step itself."""
    return [request for request in search.requests if not is_proposal(request)]


@pytest.mark.parametrize("calls", [100, 231])
async def test_it_spends_most_of_the_calls_on_trials_and_none_beyond(bench: Bench, calls: int) -> None:
    async with opened(bench, "miprov2", noisy, rows=150) as search:
        await search.run(calls)

        assert 0.85 * calls <= search.opened.budget.spent <= calls
        assert len(asked(search)) >= 0.8 * calls
        assert search.progress.notes == []


async def test_its_demonstrations_are_sent_and_come_from_the_first_fifth_of_the_rows(bench: Bench) -> None:
    async with opened(bench, "miprov2", noisy) as search:
        await search.run(100)

        rows = search.objective.estimates.evaluator.rows
        order = (*search.split.demo_pool, *search.split.search)
        texts = [str(rows[row].inputs[0]["text"]) for row in order]
        shown = [EXAMPLE.findall(said(request)) for request in asked(search)]
        assert {len(examples) for examples in shown} == {0, 3, 4}  # 3: without the row that is asked itself
        first = texts[: len(texts) - int(0.8 * len(texts))]
        assert {text for examples in shown for text in examples} <= set(first)


async def test_a_refused_instruction_takes_no_trial(bench: Bench) -> None:
    def quoting(request: Request) -> str:
        if is_proposal(request):
            return proposing(request, "Answer {{ this }} and that.")
        return noisy(request)

    async with opened(bench, "miprov2", quoting, rows=150) as search:
        found = await search.run(120)

        assert [note for note in search.progress.notes if "is not asked" in note]
        # The sets of demonstrations alone are combined, on rows enough for all of them.
        assert len([trial for trial in found.trials.values() if len(trial.rows) >= 18]) >= 4


@pytest.mark.parametrize(
    ("runs", "auto"),
    [(50, None), (200, None), (400, None), (600, "light"), (1_000, "light"), (2_000, "medium"), (4_000, "heavy")],
)
def test_an_automatic_setting_is_taken_where_the_calls_hold_it(runs: int, auto: str | None) -> None:
    assert fitting_settings(runs, rows=500, steps=1)["auto"] == auto


def test_with_fewer_calls_the_sets_of_light_are_compared_on_fewer_rows_and_then_fewer_sets() -> None:
    light = {"auto": None, "sets": 6, "instructions": 3, "trials": 10}
    few = {"auto": None, "sets": 4, "instructions": 2, "trials": 8}

    assert [fitting_settings(runs, rows=100, steps=1) for runs in (150, 160)] == [few, light]


def test_the_trials_are_as_many_as_dspy_takes() -> None:
    assert [trial_count(sets, 1) for sets in (6, 12, 18)] == [10, 18, 27]
    assert trial_count(6, 2) == 20
