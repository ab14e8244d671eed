"""`rephrase_and_respond` (Deng et al. 2023): the model words the question anew for itself, then answers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order


async def ask(bench: Bench, **parameters: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    step = bench.step(decide="generate", warn=warned.extend)
    return await perform({"rephrase_and_respond": parameters}, step), warned


async def test_two_steps_show_both_wordings(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["REPHRASED-ONE?", "7"], prompt=MARKED)

    answer, warned = await ask(bench)

    assert (answer.value, answer.extra["rephrased"], warned) == (7, "REPHRASED-ONE?", [])
    assert bench.levels == [("rephrase", 1), ("answer", 2)]
    assert in_order(bench.texts[1], ["INSTRUCTIONS-MARK", "QUESTION-MARK", "REPHRASED-ONE?", "RECAP-MARK"])


async def test_what_rephrases_knows_the_task_and_its_options_and_does_not_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["R?", "A"], {"choice": ["OPTION-ONE", "OPTION-TWO"]}, prompt=MARKED)

    await ask(bench)

    for known in ("INSTRUCTIONS-MARK", "CONTEXT-MARK", "QUESTION-MARK", "OPTION-TWO", "Do not answer it."):
        assert known in bench.texts[0]
    assert "nothing else" not in bench.texts[0]


async def test_one_step_does_both_in_one_reply(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["How much are 3 and 4 together? They are 7.\nOutput: 7"])

    answer, _ = await ask(bench, variant="one_step")

    assert (answer.value, len(bench.texts)) == (7, 1)
    assert "Rephrase and expand the question first." in bench.texts[0]


async def test_without_a_rephrased_question_the_original_is_answered_with_a_warning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [" ", "7"])

    answer, warned = await ask(bench)

    assert (answer.value, warned) == (7, ["unread_call"])
    assert "Rephrased question" not in bench.texts[1]


async def test_over_another_technique_each_of_its_calls_shows_both_wordings(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["REPHRASED-ONE?", "So.\nOutput: 7", "So.\nOutput: 7"])

    answer, _ = await ask(bench, over={"self_consistency": {"samples": 2}})

    assert answer.value == 7
    assert all("REPHRASED-ONE?" in text for text in bench.texts[1:])


async def test_one_step_is_over_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`two_step`"):
        await ask(Bench(tmp_path, []), variant="one_step", over="pal")


@pytest.mark.parametrize(("variant", "decide", "requests"), [("one_step", "generate", 1), ("one_step", "constrain", 2)])
def test_one_step_costs_one_reply_and_its_decision(tmp_path: Path, variant: str, decide: str, requests: int) -> None:
    project = Bench(tmp_path, []).project

    most = cost(configure({"rephrase_and_respond": {"variant": variant}}, project), project, decide=decide)
    assert most.requests == most.depth == requests
