"""Candidates that ask the same are one."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine import Pipeline, load_target
from promptkit.runtimes import Scripted
from promptkit.tuning.candidate import Candidate, Level
from promptkit.tuning.same import asking_differently, fingerprint
from tests.engine.helpers import Folder, Given
from tests.evaluation.suites import Bench

ROWS = [{"text": "fine"}, {"text": "foul"}, {"text": "third"}]


@pytest.fixture
def start(folder: Folder) -> Pipeline:
    Bench(folder)
    return load_target("mood", folder.project)


def changed(start: Pipeline, changes: dict[str, Any]) -> Pipeline:
    return load_target(start.file, start.project, changes=changes)


async def prints(start: Pipeline, *changes: dict[str, Any]) -> list[str | None]:
    models = Given(Scripted(["never asked"]))
    return [await fingerprint(changed(start, each), each, ROWS, models) for each in changes]


@pytest.mark.parametrize(
    "changes",
    [
        {"mood.layout": "xml"},
        {"mood.cue": "Mood:"},
        {"mood.messages": "turns"},
        {"mood.about": "x"},
        {"mood.calibrate": {"method": "batch", "offsets": {"good": 1}}},
    ],
)
async def test_what_changes_no_request_is_the_same(start: Pipeline, changes: dict[str, Any]) -> None:
    first, second = await prints(start, {}, changes)

    assert first == second is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"mood.layout": "prefix"},
        {"mood.cue": "none"},
        {"mood.decide": "constrain"},
        {"mood.technique": "chain_of_thought"},
        {"mood.technique": {"self_consistency": {"samples": 3}}},
        {"mood.examples": [{"input": {"text": "third"}, "output": "bad"}]},
        {"mood.options": {"temperature": 0.5}},
        {"mood.repairs": 3},
        {"mood.model": "scripted:other.yaml"},
        {"mood.on_error": "skip"},
        {"mood.when": "{{ text != 'foul' }}"},
        {"mood.repeat": {"max": 2}},
    ],
)
async def test_what_changes_a_request_or_what_follows_is_another(start: Pipeline, changes: dict[str, Any]) -> None:
    first, second = await prints(start, {}, changes)

    assert first != second


@pytest.mark.parametrize("technique", ["chain_of_thought", "least_to_most"])
async def test_what_only_later_requests_show_is_told_apart(start: Pipeline, technique: str) -> None:
    thinking = {"mood.technique": technique, "mood.decide": "generate"}
    first, second = await prints(start, *({**thinking, "mood.cue": cue} for cue in ("Mood:", "It is:")))

    assert first is not None and first != second


async def test_scores_are_told_apart_by_their_offsets(start: Pipeline) -> None:
    offsets = [{"method": "batch", "offsets": {"good": value}} for value in (1.0, 2.0)]
    first, second = await prints(start, *({"mood.decide": "score", "mood.calibrate": each} for each in offsets))

    assert first != second


async def test_nothing_is_asked(start: Pipeline) -> None:
    runtime = Scripted(["never asked"])
    await fingerprint(start, {}, ROWS, Given(runtime))

    assert runtime.requests == []


async def test_the_first_of_those_that_ask_the_same_stays(start: Pipeline) -> None:
    names = {"start": {}, "xml": {"mood.layout": "xml"}, "prefix": {"mood.layout": "prefix"}}
    candidates = [Candidate({"mood.layout": Level(name, changes)}) for name, changes in names.items()]
    found = await asking_differently(
        candidates, lambda each: changed(start, each.changes), ROWS, Given(Scripted(["never asked"]))
    )

    assert [each.choices["mood.layout"].name for each in found] == ["start", "prefix"]


async def test_candidates_whose_requests_cannot_be_made_are_kept_apart(start: Pipeline) -> None:
    broken = [{"mood.prompt": {"instructions": f"{{{{ text.{key} }}}}"}} for key in ("a", "b")]
    candidates = [Candidate({"mood.prompt": Level("x", each)}) for each in broken]
    found = await asking_differently(
        candidates, lambda each: changed(start, each.changes), ROWS, Given(Scripted(["never asked"]))
    )

    assert found == candidates
