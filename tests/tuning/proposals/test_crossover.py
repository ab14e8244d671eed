"""Merging two candidates that are each the better on other rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from promptkit.runtimes.base import Request
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.prompt_edits import edit_sections, section_source
from promptkit.tuning.proposals.proposer import crossover
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.engine.helpers import Folder, said
from tests.evaluation.suites import Bench
from tests.tuning.evaluators import open_evaluator, places

START = Candidate()
ROWS = [{"text": f"row {number}", "expect": "bad"} for number in range(4)]


def by_wording(request: Request) -> str:
    """Be right on the rows that a candidate is the better on: `TONE` on the first two, `SHORT` on the last."""
    text, row = said(request), int(said(request).rpartition("row ")[2][0])
    return "bad" if ("TONE" in text and row < 2) or ("SHORT" in text and row == 3) else "good"


@pytest.fixture
async def field(folder: Folder) -> AsyncIterator[Evaluator]:
    async with open_evaluator(Bench(folder, ROWS), by_wording) as opened:
        yield opened.evaluator


def worded(evaluator: Evaluator, sections: Mapping[str, str], of: Candidate = START) -> Candidate:
    changes = edit_sections(evaluator.variant(of).pipeline, "mood", sections)
    return of.with_choice("mood.wording", Choice("/".join(sections.values()), changes))


def sections(evaluator: Evaluator, candidate: Candidate, *names: str) -> list[str | None]:
    prompt = evaluator.variant(candidate).pipeline.steps["mood"].prompt
    assert prompt is not None
    return [section_source(prompt, name) for name in names]


async def merged(
    evaluator: Evaluator, first: Candidate, second: Candidate, parent: Candidate = START
) -> Candidate | None:
    await evaluator.evaluate([first, second], places(evaluator))
    return crossover(evaluator, places(evaluator), parent, first, second)


async def test_each_section_is_of_whom_has_changed_it(field: Evaluator) -> None:
    first, second = worded(field, {"instructions": "TONE"}), worded(field, {"cue": "SHORT"})

    found = await merged(field, first, second)

    assert found is not None
    assert sections(field, found, "instructions", "cue", "input") == ["TONE", "SHORT", "{{ text }}"]


@pytest.mark.parametrize("turned", [False, True])
async def test_a_section_that_both_have_changed_is_that_of_the_better(field: Evaluator, turned: bool) -> None:
    first = worded(field, {"instructions": "TONE", "recap": "Once more."})
    second = worded(field, {"instructions": "Briefly.", "cue": "SHORT"})

    found = await (merged(field, second, first) if turned else merged(field, first, second))

    assert found is not None
    assert sections(field, found, "instructions", "cue", "recap") == ["TONE", "SHORT", "Once more."]


async def test_a_section_that_one_has_dropped_stays_dropped(field: Evaluator) -> None:
    parent = worded(field, {"constraints": "Be strict.", "persona": "A critic."})
    first = worded(field, {"constraints": "", "instructions": "TONE"}, parent)
    second = worded(field, {"cue": "SHORT"}, parent)

    found = await merged(field, first, second, parent)

    assert found is not None
    assert sections(field, found, "instructions", "cue", "constraints", "persona") == [
        "TONE",
        "SHORT",
        None,
        "A critic.",
    ]


async def test_another_axis_is_of_whom_has_changed_it(field: Evaluator) -> None:
    first = worded(field, {"instructions": "TONE"}).with_choice(
        "mood.layout", Choice("prefix", {"mood.layout": "prefix"})
    )
    second = worded(field, {"instructions": "SHORT"}).with_choice("mood.cue", Choice("none", {"mood.cue": "none"}))

    found = await merged(field, first, second)

    assert found is not None
    assert found.record() == {"mood.layout": "prefix", "mood.cue": "none", "mood.wording": "TONE + SHORT"}


async def test_what_a_wording_changes_beside_the_prompt_is_kept(field: Evaluator) -> None:
    first, second = worded(field, {"instructions": "TONE"}), worded(field, {"cue": "SHORT"})
    wording = first.choices["mood.wording"]
    first = first.with_choice("mood.wording", Choice("defined", {**wording.changes, "mood.answer": "text"}))

    found = await merged(field, first, second)

    assert found is not None
    assert found.changes["mood.answer"] == "text"


async def test_one_that_is_nowhere_the_better_is_not_merged(field: Evaluator) -> None:
    assert await merged(field, worded(field, {"instructions": "TONE"}), worded(field, {"persona": "Other."})) is None


async def test_nothing_is_merged_where_one_has_all_that_the_other_has(field: Evaluator) -> None:
    short = worded(field, {"cue": "SHORT"})
    tone = worded(field, {"instructions": "TONE", "cue": "Mood:"}, short)

    assert await merged(field, tone, short, short) is None
