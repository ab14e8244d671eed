"""Demonstrations that a tuning has the model make: of rows for it, of what ended right, within a share of the calls."""

from __future__ import annotations

import asyncio

import pytest

from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.search_space.bootstrap import GENERATION_SHARE
from tests.engine.helpers import Folder
from tests.tuning.logs import number_in, shown_in, sides
from tests.tuning.planted import noted
from tests.tuning.tunings import Ran, TuneBench, right_where, row_of, truth

CALLS = 1_000
SUITE = "data: rows.jsonl\ntarget: noted\nmetrics: {accuracy: label}\n"


def thinking(request: Request) -> str:
    """Think aloud of every third row wrongly, and decide as was thought."""
    text, number = request_text(request), row_of(request)
    right = truth(number) if number % 3 else truth(number + 1)
    return f"It sounds {right}." if "step by step" in text.lower() and request.grammar is None else right


def made(ran: Ran) -> list[dict[str, object]]:
    """Return the stages in which demonstrations were made."""
    return [entry for entry in ran.record["stages"] if entry["name"] == "examples"]


@pytest.fixture(scope="module")
def thought(tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneBench, Ran]:
    bench = TuneBench(Folder(tmp_path_factory.mktemp("tuning")), 100)
    return bench, asyncio.run(bench.tune(thinking, calls=CALLS))


def test_thoughts_are_made_within_a_share_of_the_calls_and_tried(thought: tuple[TuneBench, Ran]) -> None:
    _, ran = thought
    stages = made(ran)
    assert len(stages) == 1
    assert 0 < stages[0]["calls"] <= GENERATION_SHARE * CALLS  # type: ignore[operator]
    levels = {name for entry in ran.record["candidates"] for name in entry["choices"].values()}
    assert any("that it solved" in entry for entry in levels)


def test_only_rows_kept_for_it_that_ended_right_are_shown_with_thoughts(thought: tuple[TuneBench, Ran]) -> None:
    bench, ran = thought
    shown = [
        number
        for request in ran.runtime.requests
        if "It sounds" in request_text(request).rpartition(f"row {row_of(request)} was")[0]
        for number in shown_in(request)
    ]

    assert shown
    assert set(shown) <= set(sides(bench).pool)
    assert all(number % 3 for number in shown)


async def test_few_calls_are_not_spent_on_it(folder: Folder) -> None:
    ran = await TuneBench(folder, 100).tune(thinking, calls=300)

    assert made(ran) == []


async def test_nothing_is_made_where_examples_are_not_to_vary(folder: Folder) -> None:
    ran = await TuneBench(folder, 100).tune(thinking, calls=CALLS, only=("layout",))

    assert made(ran) == []


async def test_steps_without_labels_get_what_they_were_given_and_gave_in_runs_that_ended_right(folder: Folder) -> None:
    bench, target = noted(folder, 80, "{}")
    answer = right_where(lambda text: 0.7)

    def script(request: Request) -> str:
        is_note = "Note what is said" in request_text(request)
        return f"a note of {number_in(request_text(request))}" if is_note else answer(request)

    ran = await bench.tune(script, text=SUITE, target=target, calls=1_200)
    levels = {name for entry in ran.record["candidates"] for name in entry["choices"].values()}

    assert len(made(ran)) == 1
    assert any("from its own runs" in entry for entry in levels)
