"""`plan_and_solve` (Wang et al. 2023): plan and solution are one reply, and the answer is read in the second stage."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.steps import ALL, MARKED, Bench, marked_example

PS = "devise a plan to solve the problem. Then, let's carry out the plan to solve the problem step by step."
PS_PLUS = "extract relevant variables and their corresponding numerals, and devise a complete plan."
PLAN = " Plan: 1) find 40. 2) subtract 12.\nSolution: 40-12=28, check 99"
EXTRACTION = "\nTherefore, the answer (arabic numerals) is"


@pytest.mark.parametrize("decide", ["generate", "constrain"])
@pytest.mark.parametrize(("variant", "trigger", "other"), [("ps", PS, PS_PLUS), ("ps_plus", PS_PLUS, PS)])
async def test_the_answer_comes_from_a_second_request_that_goes_on_from_the_plan(
    tmp_path: Path, variant: str, trigger: str, other: str, decide: Any
) -> None:
    bench = Bench(tmp_path, [PLAN, " 28"])

    answer = await perform({"plan_and_solve": {"variant": variant}}, bench.step(decide=decide))

    first, second = bench.runtime.requests
    assert (answer.value, len(bench.runtime.requests)) == (28, 2)
    assert first.begun.startswith("Let's first understand the problem") and first.begun.endswith(".")
    assert trigger in first.begun and other not in first.begun
    assert "Let's think step by step." not in bench.texts[0]
    assert second.messages == first.messages
    assert second.begun == f"{first.begun}{PLAN}{EXTRACTION}"
    assert (first.grammar, second.grammar is not None) == (None, decide == "constrain")


async def test_ps_plus_does_not_speak_of_numerals_where_the_answer_is_no_number(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [" It is blue.", " true"], "boolean")

    answer = await perform("plan_and_solve", bench.step())

    first, second = bench.runtime.requests
    assert answer.value is True
    assert "make a plan" in first.begun and "numerals" not in first.begun
    assert second.begun.endswith("\nTherefore, the answer (true or false) is")


async def test_the_steps_follow_each_other_and_only_the_solution_is_bounded_by_max_tokens(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PLAN, " 28"])

    await perform({"plan_and_solve": {"max_tokens": 60}}, bench.step())

    assert bench.levels == [("solve", 1), ("extract", 2)]
    assert [request.max_tokens for request in bench.runtime.requests] == [60, 24]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_it_costs_what_it_says(tmp_path: Path, decide: Any) -> None:
    bench = Bench(tmp_path, [PLAN, " 28"])

    await perform("plan_and_solve", bench.step(decide=decide))

    most = cost(configure("plan_and_solve", bench.project), bench.project, decide=decide)
    assert (most.calls, most.requests, most.depth) == (2 if decide == "generate" else 1, len(bench.texts), 2)
    assert bench.levels == [("solve", 1), ("extract", 2)]


def test_a_reply_without_an_end_is_no_parameter(tmp_path: Path) -> None:
    (problem,) = check_spec({"plan_and_solve": {"max_tokens": -1}}, Bench(tmp_path, []).project)

    assert "max_tokens" in problem.message


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PLAN, " 28"], prompt=MARKED)

    await perform("plan_and_solve", bench.step(examples=(marked_example(2),)))

    assert bench.shown == [("solve", ALL), ("extract", ALL)]
