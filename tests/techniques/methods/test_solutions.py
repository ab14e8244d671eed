"""Solutions: an answer with the thoughts that it was decided after, as a judge or another agent reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Message
from promptkit.techniques.methods.solutions import Solution, solution
from promptkit.techniques.perform import perform, task_for
from promptkit.techniques.spec import configure
from promptkit.techniques.task import Task
from tests.techniques.steps import Bench, without


def task_of(bench: Bench, **settings: Any) -> Task:
    return task_for(configure("vanilla", bench.project), bench.step(**settings))


async def solved(bench: Bench, technique: Any, **settings: Any) -> Solution:
    answer = await perform(technique, bench.step(**settings))
    return solution(task_of(bench), answer)


@pytest.mark.parametrize(
    ("decide", "replies", "settings"),
    [
        ("generate", ["It is so.\nOutput: 7"], {}),
        ("constrain", ["It is so.", "7"], {}),
        ("constrain", ["It is so.\nOutput: 7", "7"], {}),
        ("constrain", ["It is so.", "7"], {"capabilities": without("continue")}),
        ("constrain", ["It is so.", '{"answer": 7}'], {"capabilities": without("grammar", "continue")}),
    ],
)
async def test_the_thoughts_are_those_before_the_answer(
    tmp_path: Path, decide: Any, replies: list[str], settings: dict[str, Any]
) -> None:
    bench = Bench(tmp_path, replies, **settings)

    assert await solved(bench, "chain_of_draft", decide=decide) == Solution("It is so.", "7")


async def test_the_prompt_s_own_conversation_is_not_among_the_thoughts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["7"], capabilities=without("continue"))
    history = (Message("user", "Hello."), Message("assistant", "HISTORY-MARK"))

    assert await solved(bench, "vanilla", history=history) == Solution("", "7")


async def test_an_answer_that_code_made_has_no_thoughts_and_a_missing_one_no_text(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["def solution():\n    return 7", "no idea"])

    assert await solved(bench, "pal") == Solution("", "7")
    assert await solved(bench, "vanilla", decide="generate") == Solution("", "")
