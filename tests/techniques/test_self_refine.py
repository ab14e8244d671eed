"""`self_refine` (Madaan et al. 2023): draft, feedback, refinement, until the feedback finds nothing to improve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order

BAD, GOOD = "It lacks FEEDBACK-{}.\nVerdict: improve", "Nothing is missing.\nVerdict: good"


def spec(**parameters: Any) -> dict[str, Any]:
    return {"self_refine": {"over": "vanilla", **parameters}}


async def ask(bench: Bench, technique: Any, **settings: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    answer = await perform(technique, bench.step(**{"decide": "generate", "warn": warned.extend, **settings}))
    return answer, warned


async def test_it_refines_until_the_feedback_is_good(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["1", BAD.format("ONE"), "2", GOOD])

    answer, warned = await ask(bench, spec(rounds=5))

    assert (answer.value, warned) == (2, [])
    assert bench.levels == [("answer", 1), ("feedback", 2), ("answer", 3), ("feedback", 4)]
    assert answer.extra == {"drafts": ["1"], "feedback": ["It lacks FEEDBACK-ONE."]}


async def test_feedback_stands_though_its_verdict_had_to_be_asked_for_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["1", "It lacks FEEDBACK-ONE.", "improve", "2", GOOD])

    answer, _ = await ask(bench, spec(), repairs=1)

    assert answer.extra == {"drafts": ["1"], "feedback": ["It lacks FEEDBACK-ONE."]}


async def test_a_draft_that_is_good_stands(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["1", GOOD])

    answer, warned = await ask(bench, spec())

    assert (answer.value, warned, len(bench.texts)) == (1, [], 2)


async def test_after_the_last_round_the_last_draft_is_the_answer_with_a_warning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["1", BAD.format("ONE"), "2", BAD.format("TWO"), "3"])

    answer, warned = await ask(bench, spec(rounds=2))

    assert (answer.value, warned) == (3, ["capped"])


async def test_each_refinement_sees_all_drafts_with_their_feedback_and_the_verdicts_are_left_out(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, ["71", BAD.format("ONE"), "72", BAD.format("TWO"), "73"], prompt=MARKED)

    await ask(bench, spec(rounds=2))

    last = bench.texts[-1]
    assert in_order(last, ["QUESTION-MARK", "71", "FEEDBACK-ONE", "72", "FEEDBACK-TWO", "improved answer"])
    assert "INSTRUCTIONS-MARK" in last and "RECAP-MARK" in last
    assert "Verdict" not in last


async def test_the_feedback_knows_the_task_its_labels_and_the_draft_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["LABEL-ONE", GOOD], {"label": ["LABEL-ONE", "LABEL-TWO"]}, prompt=MARKED)

    await ask(bench, spec())

    text = bench.texts[1]
    for known in ("INSTRUCTIONS-MARK", "CONTEXT-MARK", "QUESTION-MARK", "LABEL-TWO", "Draft:\nLABEL-ONE"):
        assert known in text
    assert "nothing else" not in text, "the feedback comes before the verdict"


async def test_feedback_without_a_verdict_is_used_and_warned_of(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["1", "It lacks FEEDBACK-ONE.", "2"])

    answer, warned = await ask(bench, spec(rounds=1))

    assert (answer.value, warned) == (2, ["unread_call", "capped"])
    assert "FEEDBACK-ONE" in bench.texts[2]


async def test_a_draft_without_an_answer_is_refined_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["no idea", BAD.format("ONE"), "2", GOOD])

    answer, _ = await ask(bench, spec())

    assert answer.value == 2
    assert "No answer was found." in bench.texts[1]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_over_a_technique_that_thinks_the_reasoning_is_criticised(tmp_path: Path, decide: str) -> None:
    thoughts = ["3 and 4 are 8. Output: 8"] if decide == "generate" else ["3 and 4 are 8.", "8"]
    bench = Bench(tmp_path, [*thoughts, GOOD])

    answer, _ = await ask(bench, spec(over="chain_of_draft"), decide=decide)

    assert answer.value == 8
    assert "3 and 4 are 8.\nAnswer: 8" in bench.texts[-1]


@pytest.mark.parametrize("rounds", [1, 2])
async def test_it_costs_what_it_says(tmp_path: Path, rounds: int) -> None:
    bench = Bench(tmp_path, ["1", BAD, "2", BAD, "3"][: 1 + 2 * rounds])

    await ask(bench, spec(rounds=rounds))

    most = cost(configure(spec(rounds=rounds), bench.project), bench.project, decide="generate")
    assert most.requests == most.depth == len(bench.records)
