"""Candidates that send the same requests are one, under techniques too; nothing is asked to find it out."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.runtimes.scripted import Scripted
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.search_space.equal_requests import rehearse_target
from tests.engine.helpers import Folder, Given
from tests.evaluation.suites import PROMPT, Bench, moods
from tests.tuning.evaluators import open_evaluator

ROWS = [{"text": "fine"}, {"text": "foul"}, {"text": "third"}]


@pytest.fixture
def start(folder: Folder) -> Pipeline:
    Bench(folder)
    return load_target("mood", folder.project)


def changed(start: Pipeline, changes: dict[str, Any]) -> Pipeline:
    return load_target(start.file, start.project, changes=changes)


async def keys(start: Pipeline, *changes: dict[str, Any]) -> list[str]:
    models = Given(Scripted(["never asked"]))
    rehearsals = [await rehearse_target(changed(start, entry), entry, ROWS[:2], models) for entry in changes]
    return [rehearsal.key for rehearsal in rehearsals]


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
    first, second = await keys(start, {}, changes)

    assert first == second


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
    first, second = await keys(start, {}, changes)

    assert first != second


@pytest.mark.parametrize("technique", ["chain_of_thought", "least_to_most"])
async def test_what_only_later_requests_show_is_told_apart(start: Pipeline, technique: str) -> None:
    thinking = {"mood.technique": technique, "mood.decide": "generate"}
    first, second = await keys(start, *({**thinking, "mood.cue": cue} for cue in ("Mood:", "It is:")))

    assert first != second


async def test_scores_are_told_apart_by_their_offsets(start: Pipeline) -> None:
    offsets = [{"method": "batch", "offsets": {"good": value}} for value in (1.0, 2.0)]
    first, second = await keys(start, *({"mood.decide": "score", "mood.calibrate": entry} for entry in offsets))

    assert first != second


async def test_nothing_is_asked(start: Pipeline) -> None:
    runtime = Scripted(["never asked"])
    await rehearse_target(start, {"mood.technique": "chain_of_thought"}, ROWS, Given(runtime))

    assert runtime.requests == []


@pytest.mark.parametrize("technique", ["pal", "program_of_thoughts"])
async def test_what_a_program_is_not_asked_with_makes_no_other_candidate(folder: Folder, technique: str) -> None:
    Bench(folder)
    folder.write("templates/prompts/again.j2", PROMPT + "{% block recap %}Solve the problem.{% endblock %}\n")
    start = load_target("mood", folder.project)
    programs = {"mood.technique": technique, "mood.answer": "number"}
    examples = [{"input": {"text": "third"}, "output": 3}]
    unsent = {"mood.cue": "Sum:", "mood.examples": examples, "mood.prompt": "again"}
    first, *others = await keys(start, programs, *({**programs, key: value} for key, value in unsent.items()))

    assert others == [first] * len(unsent)


async def test_a_label_after_a_program_is_asked_for_with_the_cue(start: Pipeline) -> None:
    programs = {"mood.technique": "pal"}
    first, second = await keys(start, programs, {**programs, "mood.cue": "Sum:"})

    assert first != second


async def test_a_step_whose_requests_are_not_known_is_told_apart_by_its_settings(folder: Folder) -> None:
    Bench(folder)
    folder.write(
        "techniques/mine.py",
        """
        from promptkit.techniques import technique

        @technique()
        async def mine(task):
            return await task.decide(await task.ask("first"))
        """,
    )
    folder.write("templates/techniques/mine/first.j2", "---\nproduces: answer\n---\n{% extends prompt %}\n")
    start = load_target("mood", folder.project)
    mine = {"mood.technique": "mine"}
    first, second = await keys(start, mine, {**mine, "mood.cue": "Mood:"})

    assert first != second


async def test_the_length_is_that_of_the_first_requests(start: Pipeline) -> None:
    models = Given(Scripted(["never asked"]))
    short, long = [
        await rehearse_target(changed(start, changes), changes, ROWS[:1], models)
        for changes in ({}, {"mood.cue": "The mood of this text is:"})
    ]

    assert short.length is not None and long.length is not None
    assert short.length < long.length


async def test_the_first_of_those_that_ask_the_same_stays(folder: Folder) -> None:
    names = {"start": {}, "xml": {"mood.layout": "xml"}, "prefix": {"mood.layout": "prefix"}}
    candidates = [Candidate({"mood.layout": Choice(name, changes)}) for name, changes in names.items()]
    async with open_evaluator(Bench(folder, moods(6)), Scripted(["never asked"])) as opened:
        kept = await opened.evaluator.deduplicate(candidates, [0, 1])

    assert [candidate.choices["mood.layout"].name for candidate in kept] == ["start", "prefix"]


async def test_of_those_that_ask_the_same_the_one_with_the_fewest_changes_stays_and_has_their_results(
    folder: Folder,
) -> None:
    markdown, about = Choice("markdown", {"mood.layout": "markdown"}), Choice("a mood", {"mood.about": "a mood"})
    both, single = Candidate({"mood.layout": markdown, "mood.about": about}), Candidate({"mood.layout": markdown})
    async with open_evaluator(Bench(folder, moods(6)), Scripted(lambda request: "bad")) as opened:
        await opened.evaluator.evaluate([both], [0, 1])
        kept = await opened.evaluator.deduplicate([both, Candidate(), single], [0, 1])

        assert kept == [single, Candidate()]
        assert opened.evaluator.known_rows(single, range(6)) == 2
        assert len(opened.runtime.requests) == 2


@pytest.mark.parametrize("technique", ["vanilla", "chain_of_thought"])
async def test_candidates_whose_requests_cannot_be_made_are_kept_apart(folder: Folder, technique: str) -> None:
    broken = [
        {"mood.prompt": {"instructions": f"{{{{ text.{key} }}}}"}, "mood.technique": technique} for key in ("a", "b")
    ]
    candidates = [Candidate({"mood.prompt": Choice("x", entry)}) for entry in broken]
    async with open_evaluator(Bench(folder, moods(6)), Scripted(["never asked"])) as opened:
        assert await opened.evaluator.deduplicate(candidates, [0, 1]) == candidates
