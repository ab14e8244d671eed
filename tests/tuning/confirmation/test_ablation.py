"""The contribution of each change: measured if the budget allows, otherwise estimated, otherwise skipped by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from promptkit.runtimes.base import Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.confirmation.ablation import ablate
from promptkit.tuning.search.contributions import screened_contributions
from promptkit.tuning.search.effects import Effects
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from tests.engine.helpers import Folder
from tests.tuning.evaluators import Opened, open_evaluator
from tests.tuning.tunings import PROMPT, TuneBench, luck, row_of, truth

ROWS = range(60)
MARKDOWN = Choice("markdown", {"mood.layout": "markdown"}, "with headings")
CUE = Choice("cue", {"mood.cue": "Mood:"})
PICK = Candidate({"mood.layout": MARKDOWN, "mood.decide": CUE})
AXES = (
    Parameter(name="mood.layout", step="mood", kind="layout", choices=(Choice("as written"), MARKDOWN)),
    Parameter(name="mood.decide", step="mood", kind="decide", choices=(Choice("as written"), CUE)),
)
EFFECTS = Effects(
    mean=0.5,
    added={"mood.layout": {"as written": -0.1, "markdown": 0.1}, "mood.decide": {"as written": 0.0, "cue": 0.02}},
    parameters=AXES,
    rows=5.0,
    errors={"mood.layout": {"as written": 0.0, "markdown": 0.04}, "mood.decide": {"as written": 0.0, "cue": 0.04}},
)


def answer(request: Request) -> str:
    """The layout is worth 30 points, the cue 10."""
    text = request_text(request)
    share = 0.5 + 0.3 * ("##" in text) + 0.1 * ("Mood:" in text)
    return truth(row_of(request) + (not luck(row_of(request), share)))


@asynccontextmanager
async def confirmed(folder: Folder, calls: float = inf) -> AsyncIterator[Opened]:
    bench = TuneBench(folder, len(ROWS))
    async with open_evaluator(bench, answer, bench.start(), budget=Budget(2 * len(ROWS) + calls)) as opened:
        await opened.evaluator.evaluate([Candidate(), PICK], ROWS)
        yield opened


async def told(opened: Opened, pick: Candidate = PICK, effects: Effects | None = EFFECTS) -> list[dict[str, Any]]:
    known = screened_contributions(pick, effects)
    return [contribution.record() for contribution in await ablate(opened.evaluator, pick, ROWS, known)]


async def test_an_estimate_is_in_the_units_of_the_metric(folder: Folder) -> None:
    bench = TuneBench(folder, len(ROWS))
    folder.write("own.py", "def score(output, expected):\n    return 5 if output == expected else 1\n")
    metric = "{python: {function: '../own.py:score', bounds: [1, 5]}}"
    suite = bench.start(f"data: rows.jsonl\ntarget: mood\nmetrics: {{rating: {metric}}}\n")
    async with open_evaluator(bench, answer, suite, budget=Budget(2 * len(ROWS))) as opened:
        await opened.evaluator.evaluate([Candidate(), PICK], ROWS)
        records = await told(opened)

    assert [entry["axis"] for entry in records] == ["mood.layout", "mood.decide"]
    assert sum(entry["difference"] for entry in records) == pytest.approx(4 * 0.35, abs=0.4)
    assert [entry["low"] < entry["difference"] < entry["high"] for entry in records] == [True, True]


async def test_each_change_is_measured_against_the_pick_without_it_the_greatest_first(folder: Folder) -> None:
    async with confirmed(folder) as opened:
        records = await told(opened)

    assert [entry["axis"] for entry in records] == ["mood.layout", "mood.decide"]
    assert [entry["on"] for entry in records] == ["confirm", "confirm"]
    assert records[0]["difference"] == pytest.approx(0.3, abs=0.1)
    assert records[0]["low"] < records[0]["difference"] < records[0]["high"]
    assert (records[0]["level"], records[0]["about"], records[0]["skipped"]) == ("markdown", "with headings", None)


async def test_what_the_budget_does_not_hold_is_estimated_from_the_screen(folder: Folder) -> None:
    async with confirmed(folder, calls=60) as opened:
        records = await told(opened)

        assert len(opened.runtime.requests) == 3 * len(ROWS)
    assert [(entry["axis"], entry["on"]) for entry in records] == [
        ("mood.layout", "confirm"),
        ("mood.decide", "search"),
    ]
    assert records[1]["low"] < 0.1 < records[1]["high"]
    assert records[1]["skipped"] == "the budget has no calls left"


async def test_what_is_estimated_adds_up_to_about_the_lead_over_the_start(folder: Folder) -> None:
    low = {"mood.layout": {"as written": -0.05, "markdown": 0.05}, "mood.decide": {"as written": 0.0, "cue": 0.01}}
    async with confirmed(folder, calls=0) as opened:
        lead = opened.evaluator.scores(PICK, ROWS).mean() - opened.evaluator.scores(Candidate(), ROWS).mean()
        records = await told(opened, effects=replace(EFFECTS, added=low))

    assert lead > 0.3
    assert sum(entry["difference"] for entry in records) == pytest.approx(lead, abs=0.12)


async def test_rows_that_the_confirmation_did_not_reach_are_left_out(folder: Folder) -> None:
    async with confirmed(folder, calls=1000) as opened:
        records = await ablate(opened.evaluator, PICK, range(30), screened_contributions(PICK, EFFECTS))
        asked = len(opened.runtime.requests)
        again = await ablate(opened.evaluator, PICK, [*range(30), 999], screened_contributions(PICK, EFFECTS))

        assert asked == 2 * len(ROWS) + 2 * 30 == len(opened.runtime.requests)
    assert again == records


async def test_without_a_screen_it_is_skipped_by_name(folder: Folder) -> None:
    async with confirmed(folder, calls=0) as opened:
        records = await told(opened, effects=None)

    assert [(entry["difference"], entry["on"]) for entry in records] == [(None, None)] * 2
    assert {entry["skipped"] for entry in records} == {"the budget has no calls left"}


async def test_a_single_change_costs_nothing_for_without_it_is_the_start(folder: Folder) -> None:
    single = Candidate({"mood.layout": MARKDOWN})
    bench = TuneBench(folder, len(ROWS))
    async with open_evaluator(bench, answer, bench.start(), budget=Budget(2 * len(ROWS))) as opened:
        await opened.evaluator.evaluate([Candidate(), single], ROWS)
        records = await told(opened, single)

        assert len(opened.runtime.requests) == 2 * len(ROWS)
    assert records[0]["on"] == "confirm"


async def test_a_change_that_another_needs_is_skipped_and_nothing_breaks(folder: Folder) -> None:
    folder.write("templates/prompts/other.j2", PROMPT.replace("text", "words"))
    needed = Candidate(
        {
            "mood.prompt": Choice("other", {"mood.prompt": "other"}),
            "mood.with": Choice("words", {"mood.with": {"words": "{{ text }}"}}),
        }
    )
    async with confirmed(folder) as opened:
        await opened.evaluator.evaluate([needed], ROWS)
        records = await told(opened, needed)

    skipped = {entry["axis"]: entry["skipped"] for entry in records}
    assert skipped["mood.with"] is not None
    assert skipped["mood.with"].startswith("not possible without it: ")
