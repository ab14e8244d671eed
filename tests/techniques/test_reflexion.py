"""`reflexion` (Shinn et al. 2023): attempts with the reflections on those that failed, until one is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order

WRONG, RIGHT = "It forgot PROBLEM-{}.\nVerdict: wrong", "All is fine.\nVerdict: right"


def spec(**parameters: Any) -> dict[str, Any]:
    return {"reflexion": {"over": "vanilla", **parameters}}


async def ask(bench: Bench, technique: Any, **settings: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    answer = await perform(technique, bench.step(decide="generate", warn=warned.extend, **settings))
    return answer, warned


async def test_a_failed_attempt_is_reflected_on_and_the_next_one_sees_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["71", WRONG.format("ONE"), "REFLECTION-ONE", "72", RIGHT], prompt=MARKED)

    answer, warned = await ask(bench, spec())

    assert (answer.value, warned) == (72, [])
    assert bench.levels == [("answer", 1), ("evaluate", 2), ("reflect", 3), ("answer", 4), ("evaluate", 5)]
    assert in_order(bench.texts[2], ["INSTRUCTIONS-MARK", "QUESTION-MARK", "71", "PROBLEM-ONE"])
    assert in_order(bench.texts[3], ["INSTRUCTIONS-MARK", "QUESTION-MARK", "71", "PROBLEM-ONE", "REFLECTION-ONE"])
    assert answer.extra == {"accepted": True, "attempts": ["71"], "reflections": ["REFLECTION-ONE"]}


async def test_the_evaluation_knows_the_task_and_its_labels(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["LABEL-ONE", RIGHT], {"label": ["LABEL-ONE", "LABEL-TWO"]}, prompt=MARKED)

    await ask(bench, spec())

    for known in ("INSTRUCTIONS-MARK", "CONTEXT-MARK", "QUESTION-MARK", "LABEL-TWO", "Response:\nLABEL-ONE"):
        assert known in bench.texts[1]


async def test_after_the_last_attempt_nothing_is_reflected_on_and_the_warning_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["1", WRONG, "think", "2", WRONG])

    answer, warned = await ask(bench, spec(attempts=2))

    assert (answer.value, answer.extra["accepted"], warned) == (2, False, ["capped"])
    assert [record.call for record in bench.records] == ["answer", "evaluate", "reflect", "answer", "evaluate"]


async def test_only_the_last_failures_are_remembered(tmp_path: Path) -> None:
    replies = ["71", WRONG, "REFLECTION-ONE", "72", WRONG, "REFLECTION-TWO", "73", RIGHT]
    bench = Bench(tmp_path, replies)

    await ask(bench, spec(memory=1))

    assert "REFLECTION-TWO" in bench.texts[6] and "REFLECTION-ONE" not in bench.texts[6]


async def test_the_error_of_a_program_that_failed_is_in_the_reflection_and_the_next_attempt(tmp_path: Path) -> None:
    failing, running = "```python\nx = 1 / 0\n```", "```python\nx = 1\n```"
    bench = Bench(tmp_path, [failing, "Do not divide.", running], {"code": "python"})

    answer, warned = await ask(bench, spec(evaluator="program"))

    assert (answer.value, warned) == ("x = 1", [])
    assert "ZeroDivisionError" in bench.texts[1] and "ZeroDivisionError" in bench.texts[2]


async def test_over_pal_an_attempt_whose_program_fails_is_not_accepted(tmp_path: Path) -> None:
    failing, running = "def solution():\n    return 1 / 0", "def solution():\n    return 7"
    bench = Bench(tmp_path, [failing, "Do not divide.", running])

    answer, _ = await ask(bench, spec(evaluator="program", over={"pal": {"attempts": 1}}))

    assert answer.value == 7
    assert "ZeroDivisionError" in bench.texts[2]


async def test_the_guard_of_the_step_says_what_is_wrong(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["5", "Take an even one.", "6"])

    answer, _ = await ask(bench, spec(evaluator="guard"), guard=lambda value: "GUARD-SAYS" if value % 2 else None)

    assert answer.value == 6
    assert "GUARD-SAYS" in bench.texts[1]


async def test_a_tool_must_reach_the_threshold(tmp_path: Path) -> None:
    def score(arguments: Mapping[str, Any]) -> float:
        return 0.1 * float(arguments["answer"])

    bench = Bench(tmp_path, ["7", "More.", "8"])

    answer, _ = await ask(bench, spec(evaluator="tool:score", threshold=0.75), tools={"score": score})

    assert (answer.value, answer.extra["accepted"]) == (8, True)


@pytest.mark.parametrize(("evaluator", "requests"), [("judge", 8), ("guard", 5)])
async def test_it_costs_what_it_says(tmp_path: Path, evaluator: str, requests: int) -> None:
    replies = ["1", WRONG, "r", "2", WRONG, "r", "3", WRONG] if evaluator == "judge" else ["1", "r", "2", "r", "3"]
    bench = Bench(tmp_path, replies)

    await ask(bench, spec(evaluator=evaluator), guard=lambda value: "no")

    most = cost(configure(spec(evaluator=evaluator), bench.project), bench.project, decide="generate")
    assert most.requests == most.depth == len(bench.records) == requests
