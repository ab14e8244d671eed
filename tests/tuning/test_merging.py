"""Merging two candidates that are each the better on other rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from promptkit.runtimes import Request
from promptkit.tuning.candidate import Candidate, Level
from promptkit.tuning.edits import edited, section_source
from promptkit.tuning.field import Field
from promptkit.tuning.merging import merge
from tests.engine.helpers import Folder, said
from tests.evaluation.suites import Bench
from tests.tuning.fields import open_field, places

START = Candidate()
ROWS = [{"text": f"row {number}", "expect": "bad"} for number in range(4)]


def by_wording(request: Request) -> str:
    """Be right on the rows that a candidate is the better on: `TONE` on the first two, `SHORT` on the last."""
    text, row = said(request), int(said(request).rpartition("row ")[2][0])
    return "bad" if ("TONE" in text and row < 2) or ("SHORT" in text and row == 3) else "good"


@pytest.fixture
async def field(folder: Folder) -> AsyncIterator[Field]:
    async with open_field(Bench(folder, ROWS), by_wording) as opened:
        yield opened.field


def worded(field: Field, sections: Mapping[str, str], of: Candidate = START) -> Candidate:
    changes = edited(field.variant(of).pipeline, "mood", sections)
    return of.taking("mood.wording", Level("/".join(sections.values()), changes))


def sections(field: Field, candidate: Candidate, *names: str) -> list[str | None]:
    prompt = field.variant(candidate).pipeline.steps["mood"].prompt
    assert prompt is not None
    return [section_source(prompt, name) for name in names]


async def merged(field: Field, first: Candidate, second: Candidate, parent: Candidate = START) -> Candidate | None:
    await field.have([first, second], places(field))
    return merge(field, places(field), parent, first, second)


async def test_each_section_is_of_whom_has_changed_it(field: Field) -> None:
    first, second = worded(field, {"instructions": "TONE"}), worded(field, {"cue": "SHORT"})

    found = await merged(field, first, second)

    assert found is not None
    assert sections(field, found, "instructions", "cue", "input") == ["TONE", "SHORT", "{{ text }}"]


@pytest.mark.parametrize("turned", [False, True])
async def test_a_section_that_both_have_changed_is_that_of_the_better(field: Field, turned: bool) -> None:
    first = worded(field, {"instructions": "TONE", "recap": "Once more."})
    second = worded(field, {"instructions": "Briefly.", "cue": "SHORT"})

    found = await (merged(field, second, first) if turned else merged(field, first, second))

    assert found is not None
    assert sections(field, found, "instructions", "cue", "recap") == ["TONE", "SHORT", "Once more."]


async def test_a_section_that_one_has_dropped_stays_dropped(field: Field) -> None:
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


async def test_another_axis_is_of_whom_has_changed_it(field: Field) -> None:
    first = worded(field, {"instructions": "TONE"}).taking("mood.layout", Level("prefix", {"mood.layout": "prefix"}))
    second = worded(field, {"instructions": "SHORT"}).taking("mood.cue", Level("none", {"mood.cue": "none"}))

    found = await merged(field, first, second)

    assert found is not None
    assert found.record() == {"mood.layout": "prefix", "mood.cue": "none", "mood.wording": "TONE + SHORT"}


async def test_what_a_wording_changes_beside_the_prompt_is_kept(field: Field) -> None:
    first, second = worded(field, {"instructions": "TONE"}), worded(field, {"cue": "SHORT"})
    wording = first.choices["mood.wording"]
    first = first.taking("mood.wording", Level("defined", {**wording.changes, "mood.answer": "text"}))

    found = await merged(field, first, second)

    assert found is not None
    assert found.changes["mood.answer"] == "text"


async def test_one_that_is_nowhere_the_better_is_not_merged(field: Field) -> None:
    assert await merged(field, worded(field, {"instructions": "TONE"}), worded(field, {"persona": "Other."})) is None


async def test_nothing_is_merged_where_one_has_all_that_the_other_has(field: Field) -> None:
    short = worded(field, {"cue": "SHORT"})
    tone = worded(field, {"instructions": "TONE", "cue": "Mood:"}, short)

    assert await merged(field, tone, short, short) is None
