"""A race on a field: whose rows are asked, what they are said to cost, and what is left where it is broken off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from promptkit.errors import BudgetSpent, RequestRefused
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import Script
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search.race_runner import RaceRunner
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.trials import Estimates
from tests.engine.helpers import Folder
from tests.evaluation.suites import PROMPT, Bench, echo, moods, number_of
from tests.tuning.evaluators import Opened, open_evaluator

ROWS = range(20)
START = Candidate()
MARKDOWN = Candidate().with_choice("mood.layout", Choice("markdown", {"mood.layout": "markdown"}))
SAME = Candidate().with_choice("mood.layout", Choice("another name for it", {"mood.layout": "markdown"}))
THINKS = Candidate().with_choice(
    "mood.technique", Choice("thinks", {"mood.technique": "chain_of_thought"}, requests=2.0)
)


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(len(ROWS)))


@asynccontextmanager
async def opened(bench: Bench, script: Script = echo, budget: float = 1_000) -> AsyncIterator[Opened]:
    async with open_evaluator(bench, script, budget=Budget(budget)) as found:
        yield found


def racing(opened: Opened, candidates: Sequence[Candidate], calls: float, **how: Any) -> RaceRunner:
    estimates = Estimates(opened.evaluator, CandidateCalibration(opened.evaluator, None))
    return RaceRunner(estimates, ROWS, candidates, calls=calls, **how)


async def test_candidates_that_change_the_same_are_one(bench: Bench) -> None:
    async with opened(bench) as there:
        assert racing(there, [START, MARKDOWN, SAME], 100).candidates == (START, MARKDOWN)


async def test_one_that_sent_the_same_requests_so_far_is_dropped_after_its_first_block(bench: Bench) -> None:
    # Its wording differs on a row that the model never comes to, and so do no requests.
    odd = PROMPT.replace("or bad.", "or bad.{% if text == 'never' %} Think.{% endif %}")
    bench.folder.write("templates/prompts/odd.j2", odd)
    repeat = Candidate({"mood.wording": Choice("odd", {"mood.prompt": "odd"})})
    async with opened(bench) as there:
        ran = racing(there, [START, MARKDOWN, repeat], 100)
        blocks = [block async for block in ran.blocks()]
        entry = ran.race.entries[2]

        assert (entry.why, entry.dropped_at, entry.rows) == ("repeats", SMOKE_ROWS, SMOKE_ROWS)
        assert all(2 not in block.alive for block in blocks[1:])
        assert there.budget.spent == 2 * len(ROWS) + SMOKE_ROWS


async def test_one_with_the_same_answers_to_other_requests_races_on(bench: Bench) -> None:
    async with opened(bench, lambda request: "bad") as there:
        ran = racing(there, [START, MARKDOWN], 100)
        assert [block.alive async for block in ran.blocks()][-1] == (0, 1)


async def test_it_ends_with_its_pick_first_of_those_alive(bench: Bench) -> None:
    async with opened(bench) as there:
        ran = racing(there, [START, MARKDOWN], 100)
        rows = [block.rows async for block in ran.blocks()]

        assert (rows[0].start, rows[-1].stop) == (0, len(ROWS))
        assert ran.incumbent == MARKDOWN  # Of those that are equal it takes the fewest tokens.
        assert ran.finalists == [MARKDOWN, START]
        assert len(there.runtime.requests) == there.budget.spent == 2 * len(ROWS)


async def test_what_is_known_is_not_asked_again_and_costs_nothing(bench: Bench) -> None:
    async with opened(bench) as there:
        await there.evaluator.evaluate([START], ROWS)
        ran = racing(there, [START, MARKDOWN], 100)
        blocks = [block async for block in ran.blocks()]

        assert len(blocks) > 1
        assert ran.race.budget_left == 100 - len(ROWS)


async def test_a_candidate_costs_what_its_known_rows_took_else_what_its_techniques_say(bench: Bench) -> None:
    async with opened(bench) as there:
        assert racing(there, [START, THINKS], 40, calls_a_request=3).race.entries[1].why == "too costly"
        await there.evaluator.evaluate([THINKS], ROWS[:2])
        assert racing(there, [START, THINKS], 80, calls_a_request=3).race.entries[1].why is None


async def test_a_budget_of_which_a_screen_took_a_part_holds_what_the_whole_holds(bench: Bench) -> None:
    async with opened(bench) as there:
        assert racing(there, [START, THINKS], 60).race.entries[1].why == "too costly"
        assert racing(there, [START, THINKS], 60, spent=20).race.entries[1].why is None


async def test_a_request_that_the_model_refused_is_paid(bench: Bench) -> None:
    async with opened(bench, lambda request: RequestRefused("too long") if number_of(request) == 3 else "bad") as there:
        ran = racing(there, [START, MARKDOWN], 100)
        assert [block async for block in ran.blocks()]

        assert ran.race.budget_left == 100 - there.budget.spent == 100 - len(there.runtime.requests)


async def test_a_block_that_the_budget_breaks_off_is_not_given(bench: Bench) -> None:
    async with opened(bench, budget=20) as there:
        ran = racing(there, [START, MARKDOWN], 100)
        with pytest.raises(BudgetSpent):
            [block async for block in ran.blocks()]

        assert [entry.rows for entry in ran.race.entries] == [8, 8]
        assert ran.race.ask() is not None
        assert ran.incumbent in (START, MARKDOWN)
