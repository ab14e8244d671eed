"""A rehearsal: the requests of a step on one stand-in reply. Nothing is sent and nothing of the project's code runs."""

from __future__ import annotations

import pytest

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.render import REHEARSED_REQUESTS, rehearse
from promptkit.errors import InputError
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, Given
from tests.evaluation.suites import Bench


def target(folder: Folder, **changes: object) -> Pipeline:
    Bench(folder)
    return load_target("mood", folder.project, changes={f"mood.{key}": value for key, value in changes.items()})


async def rehearsed(pipeline: Pipeline, reply: str) -> list[Request]:
    runtime = Scripted(["never asked"])
    requests = await rehearse(pipeline, {"text": "fine"}, models=Given(runtime), step="mood", reply=reply)
    assert runtime.requests == []
    return requests


async def test_an_answer_ends_a_step_and_an_unreadable_reply_is_asked_for_again(folder: Folder) -> None:
    pipeline = target(folder)

    assert len(await rehearsed(pipeline, "good")) == 1
    first, repair = await rehearsed(pipeline, "…")
    assert repair.messages[: len(first.messages)] == first.messages


async def test_a_technique_goes_on_from_the_reply(folder: Folder) -> None:
    thoughts, answer = await rehearsed(target(folder, technique="chain_of_thought"), "good")

    assert "good" in answer.begun
    assert thoughts != answer


async def test_the_requests_are_limited(folder: Folder) -> None:
    many = target(folder, technique={"self_consistency": {"samples": 2 * REHEARSED_REQUESTS}})

    assert len(await rehearsed(many, "good")) == REHEARSED_REQUESTS


async def test_a_first_request_that_cannot_be_made_is_an_error(folder: Folder) -> None:
    with pytest.raises(InputError):
        await rehearsed(target(folder, prompt={"instructions": "{{ text.missing }}"}), "good")
