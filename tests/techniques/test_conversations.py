"""Calls that go on in the same conversation, and calls to another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import Unsupported
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.perform import perform
from tests.techniques.steps import MARKED, Bench, marked_example

REVISED = '''
from promptkit.techniques import Answer, Task, technique


@technique()
async def revised(task: Task, *, model: str = "") -> Answer:
    """Draft, then write anew after the feedback of a model."""
    draft = await task.ask("draft")
    feedback = await task.ask("feedback", after=draft, model=model or None)
    answer = await task.decide(await task.ask("revise", after=feedback))
    return answer.with_extra(problem=task.check(answer.value))
'''
CALLS = {
    "draft": "{% extends prompt %}\n",
    "feedback": "---\nhides: all\n---\n{% extends prompt %}\n{% block input %}Name the mistakes.{% endblock %}\n",
    "revise": "---\nproduces: answer\n---\n{% extends prompt %}\n{% block input %}Write it anew.{% endblock %}\n",
}


def revised(folder: Path, answers: Any, **settings: Any) -> Bench:
    (folder / "techniques").mkdir()
    (folder / "techniques" / "revised.py").write_text(REVISED)
    (folder / "templates" / "techniques" / "revised").mkdir(parents=True)
    for name, text in CALLS.items():
        (folder / "templates" / "techniques" / "revised" / f"{name}.j2").write_text(text)
    return Bench(folder, answers, prompt=MARKED, **settings)


async def test_a_call_after_an_exchange_is_the_next_turn_of_its_conversation(tmp_path: Path) -> None:
    bench = revised(tmp_path, ["Seven", "It lacks digits.", "7"])

    answer = await perform("revised", bench.step(examples=(marked_example(2),)))

    first, second, third = bench.runtime.requests
    roles = [message.role for message in third.messages]
    assert answer.value == 7
    assert third.messages[: len(first.messages)] == first.messages
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert third.messages[-4].content.endswith("Seven")
    assert "Name the mistakes." in second.messages[-1].content
    assert third.messages[-1].content.count("MARK") == 0, "the user's sections stand in the first turn alone"
    assert "one number in digits" in third.messages[-1].content


async def test_a_call_to_another_model_is_answered_by_it_and_the_rest_by_the_steps(tmp_path: Path) -> None:
    bench, other = revised(tmp_path, ["Seven", "7"]), Scripted(["It lacks digits."])

    async def client_of(reference: str) -> Client:
        assert reference == "other"
        return Client(other)

    answer = await perform({"revised": {"model": "other"}}, bench.step(client_of=client_of))

    assert answer.value == 7
    assert len(bench.runtime.requests) == 2
    assert len(other.requests) == 1
    assert [record.model for record in bench.records] == [None, "other", None]


@pytest.mark.parametrize("name", ["feedback", "revised.feedback"])
async def test_a_step_names_the_model_of_a_call(tmp_path: Path, name: str) -> None:
    bench, other = revised(tmp_path, ["Seven", "7"]), Scripted(["It lacks digits."])

    async def client_of(reference: str) -> Client:
        return Client(other)

    await perform("revised", bench.step(client_of=client_of, models={name: "other"}))

    assert len(other.requests) == 1


async def test_what_follows_a_reply_is_asked_of_the_model_that_gave_it(tmp_path: Path) -> None:
    bench, other = revised(tmp_path, ["Seven", "It lacks digits."]), Scripted(["no idea", "7"])

    async def client_of(reference: str) -> Client:
        return Client(other)

    step = bench.step(client_of=client_of, models={"revise": "other"}, decide="generate")
    answer = await perform("revised", step)

    assert answer.flag == "unparsed"
    assert answer.last is not None
    assert answer.last.client.runtime is other


async def test_without_other_models_a_call_to_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="cannot ask `other`"):
        await perform("revised", revised(tmp_path, ["Seven"]).step(models={"feedback": "other"}))


async def test_check_returns_the_problem_of_the_steps_guard(tmp_path: Path) -> None:
    bench = revised(tmp_path, ["Seven", "It lacks digits.", "7"])

    answer = await perform("revised", bench.step(guard=lambda value: "too small" if value < 9 else None))

    assert answer.extra["problem"] == "too small"
