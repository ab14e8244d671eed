"""The cost of a row: as measured, else as the requests and their length say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.costs import CandidateCosts, RowCost, relative_requests, row_cost
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.engine.helpers import Folder
from tests.tuning.evaluators import Opened, open_evaluator
from tests.tuning.planted import noted
from tests.tuning.tunings import TuneBench, row_of, truth

START = Candidate()
LAYOUT = Candidate({"mood.layout": Choice("markdown", {"mood.layout": "markdown"})})
THINKING = Candidate({"mood.technique": Choice("thinks", {"mood.technique": "chain_of_thought"}, requests=2.0)})
SHOWN = [{"input": {"text": "row 7 was good, and this is a long example of it"}, "output": "good"}] * 4
EXAMPLES = Candidate({"mood.examples": Choice("4 examples", {"mood.examples": SHOWN})})
ROW = RowCost(calls=1.0, tokens=20.0, seconds=0.5, judge_tokens=5.0)
ROWS = range(6)


def answer(request: Request) -> Reply:
    dearer = 3 if "##" in request_text(request) else 1
    return Reply(text=truth(row_of(request)), tokens_in=20 * dearer, tokens_out=0, seconds=0.5 * dearer)


@asynccontextmanager
async def opened(folder: Folder, *, sized: bool = True) -> AsyncIterator[tuple[Opened, CandidateCosts]]:
    bench = TuneBench(folder, 20)
    async with open_evaluator(bench, answer, bench.start()) as found:
        yield found, CandidateCosts(found.evaluator, ROWS, ROW, sized=sized)


async def test_a_candidate_without_results_costs_as_its_requests_say(folder: Folder) -> None:
    async with opened(folder, sized=False) as (_, costs):
        thinking, examples = await costs.of(THINKING), await costs.of(EXAMPLES)

    assert thinking == RowCost(calls=2.0, tokens=40.0, seconds=1.0, judge_tokens=5.0)
    assert examples == ROW


async def test_longer_requests_take_more_tokens_and_time_and_are_not_sent_to_know_it(folder: Folder) -> None:
    async with opened(folder) as (found, costs):
        cost = await costs.of(EXAMPLES)

        assert found.runtime.requests == []
    assert cost.calls == 1.0
    assert cost.tokens > 2 * ROW.tokens
    assert cost.seconds / ROW.seconds == pytest.approx(cost.tokens / ROW.tokens)
    assert cost.judge_tokens == ROW.judge_tokens


async def test_what_was_measured_is_taken_before_what_was_expected(folder: Folder) -> None:
    async with opened(folder) as (found, costs):
        await found.evaluator.evaluate([START, LAYOUT], [0, 1])
        cost = await costs.of(LAYOUT)

    assert (cost.calls, cost.tokens) == (1.0, 60.0)
    assert cost.seconds == pytest.approx(3 * ROW.seconds)


async def test_the_time_of_a_row_is_what_passed_and_at_least_what_its_requests_take(folder: Folder) -> None:
    async with opened(folder) as (found, _):
        await found.evaluator.evaluate([START], [0, 1])
        results = list(found.evaluator.results(START, [0, 1]))

    assert row_cost(results, seconds=4.0, parallel=2) == RowCost(calls=1.0, tokens=20.0, seconds=2.0)
    assert row_cost(results, seconds=0.0, parallel=2).seconds == pytest.approx(0.25)


def test_a_dear_step_is_dear_for_its_share_of_the_target(folder: Folder) -> None:
    bench, target = noted(folder, 20, "{note.layout: [xml]}")
    pipeline = bench.start("data: rows.jsonl\ntarget: noted\nmetrics: {accuracy: label}\n", target=target)
    both = Candidate(
        {**THINKING.choices, "note.technique": Choice("four", {"note.technique": "vanilla"}, requests=4.0)}
    )

    assert relative_requests(THINKING, pipeline.baseline.pipeline) == (1 + 2) / 2
    assert relative_requests(both, pipeline.baseline.pipeline) == (4 + 2) / 2
    assert relative_requests(START, pipeline.baseline.pipeline) == 1
