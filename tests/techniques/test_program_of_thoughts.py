"""`program_of_thoughts` (Chen et al. 2023): an interpreter computes `ans`; what fails is asked for with its error."""

import sys
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import MissingExtra
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order, marked_example, without

EGGS = "eggs = 16 - 3 - 4\nans = eggs * 2\n"
OPTIONS = {"choice": ["about 12", "about 20", "about 40"]}
FAILING = [
    ("ans = 1/0", "zero"),
    ("while True: pass", "longer than"),
    ("while True:\n    print('x' * 999)", "printed more than"),
    ("def f():\n    yield 18\nans = list(f())[0]", "yield"),
    ("import pandas\nans = 18", "pandas"),
    ("import math", "without a value"),
    ("The answer is 18.", "no program"),
    ("ans = None", "without a value"),
    ("ans = lambda: 18", "not data"),
]


async def ask(bench: Bench, **parameters: Any) -> Any:
    parameters = {"attempts": 1, **parameters}
    return await perform({"program_of_thoughts": parameters}, bench.step(decide="generate"))


async def test_the_value_of_ans_is_the_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [EGGS])

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (18, 1)


@pytest.mark.parametrize(
    "reply",
    [
        "To find the eggs:\neggs = 16 - 3 - 4\nans = eggs * 2\n\nSo there are 31.",
        "```python\neggs = 16 - 3 - 4\n```\nThen\n```python\nans = eggs * 2\n```",
        "```python\ndef double(x):\n    return x * 2\n```\nUse it:\n```python\nprint(double(9))\n```",
        "import math\n\n\ndef eggs():\n    return math.ceil(17.5)\n\n\nprint(f'There are {eggs()} eggs.')",
    ],
)
async def test_a_program_is_found_among_prose_and_in_parts(tmp_path: Path, reply: str) -> None:
    bench = Bench(tmp_path, [reply])

    answer = await ask(bench)

    assert answer.value == 18


@pytest.mark.parametrize(("program", "said"), FAILING)
async def test_a_program_that_fails_gives_no_answer(tmp_path: Path, impatient: None, program: str, said: str) -> None:
    bench = Bench(tmp_path, [program])

    answer = await ask(bench)

    assert (answer.value, answer.flag, len(bench.texts)) == (None, "unparsed", 1)
    assert said in answer.problem


@pytest.mark.parametrize(("program", "said"), FAILING)
async def test_a_program_that_fails_is_written_again_at_a_temperature_with_its_error(
    tmp_path: Path, impatient: None, program: str, said: str
) -> None:
    bench = Bench(tmp_path, [program, EGGS])

    answer = await ask(bench, attempts=2)

    first, second = bench.runtime.requests
    assert answer.value == 18
    assert [first.temperature, second.temperature] == [0.0, 0.4]
    assert said in second.messages[-1].content and second.messages[:-2] == first.messages
    assert bench.levels == [("program", 1), ("correct", 2)]


async def test_a_model_that_cannot_sample_corrects_a_program_greedily(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["ans = 1/0", EGGS], capabilities=without("sampling"))

    answer = await ask(bench, attempts=2)

    assert (answer.value, bench.runtime.requests[1].temperature) == (18, 0.0)


async def test_self_consistency_votes_over_executed_values(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["ans = 7", "ans = 9 * 2", "ans = 1/0", "ans = 18.0"])
    sampled = {"self_consistency": {"over": {"program_of_thoughts": {"attempts": 1}}, "samples": 4}}

    answer = await perform(sampled, bench.step(decide="generate"))

    assert (answer.value, answer.extra["unparsed"], len(bench.texts)) == (18, 1, 4)
    assert all(request.temperature > 0 for request in bench.runtime.requests)


async def test_an_option_is_chosen_by_the_computed_value(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["ans = 18.25 + 0.125", "B"], OPTIONS)

    answer = await ask(bench)

    assert (answer.value, answer.extra["value"], len(bench.texts)) == ("about 20", 18.375, 2)
    assert "A program computed this value for the answer: 18.375" in bench.texts[1]
    assert "about 20" in bench.texts[1]


async def test_a_value_that_is_an_option_needs_no_further_request(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["ans = 'about ' + str(10 + 10)"], OPTIONS)

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == ("about 20", 1)


async def test_no_option_is_chosen_without_a_value(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["ans = 1/0"], OPTIONS)

    answer = await ask(bench)

    assert (answer.flag, len(bench.texts)) == ("unparsed", 1)


async def test_a_program_that_ends_with_the_flag_is_thought_about_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["low = 3 * 4\nhigh = 20\nkeep_prompting = True", "12 to 20 is 8.\nOutput: 8"])

    answer = await ask(bench, keep_prompting=True)

    assert (answer.value, len(bench.texts)) == (8, 2)
    assert in_order(bench.texts[1], ["Think step by step", "QUESTION-MARK", "low = 12\nhigh = 20"])


async def test_under_constrain_thoughts_about_the_values_are_decided(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["low = 12\nkeep_prompting = True", "12 and 8.", " 20"])

    answer = await perform({"program_of_thoughts": {"keep_prompting": True}}, bench.step())

    assert (answer.value, [record.call for record in bench.records]) == (20, ["program", "finish", "finish"])


@pytest.mark.parametrize(
    "program",
    [
        "ans = 8\nkeep_prompting = False",
        "total = 8\nkeep_prompting = False",
        "keep_prompting = 3 > 4\nans = 8",
        "ans = 8",
    ],
)
async def test_a_program_whose_flag_is_not_set_has_the_answer_itself(tmp_path: Path, program: str) -> None:
    bench = Bench(tmp_path, [program])

    answer = await ask(bench, keep_prompting=True)

    assert (answer.value, len(bench.texts)) == (8, 1)


async def test_the_flag_means_nothing_unless_it_was_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [f"{EGGS}keep_prompting = True"])

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (18, 1)
    assert "keep_prompting" not in bench.texts[0]


@pytest.mark.parametrize(
    "reply",
    [
        "\n    eggs = 16 - 3 - 4\n\n    return eggs * 2\n\nprint(solver())",
        "    eggs = 9\n    if eggs:\n        return eggs * 2",
        "```python\ndef solver():\n    return 9 * 2\n```\nIt returns 31.",
    ],
)
async def test_without_demonstrations_the_function_solver_is_written_and_called(tmp_path: Path, reply: str) -> None:
    bench = Bench(tmp_path, [reply])

    answer = await ask(bench, demos={"program": []})

    assert answer.value == 18
    assert bench.runtime.requests[0].begun == "def solver():"
    assert "variable ans" not in bench.texts[0]


async def test_without_demonstrations_a_chat_that_cannot_continue_a_turn_writes_the_function_whole(
    tmp_path: Path,
) -> None:
    reply = "Sure.\n```python\nimport math\n\n\ndef solver():\n    return math.sqrt(324)\n```"
    bench = Bench(tmp_path, [reply], capabilities=without("continue"))

    answer = await ask(bench, demos={"program": []})

    assert (answer.value, bench.runtime.requests[0].begun) == (18, "")


async def test_equations_are_solved_for_the_program(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["found = solve_equations('2 * x + 5 = 41', 'x')\nans = found"])

    answer = await ask(bench)

    assert answer.value == 18


async def test_without_the_package_for_equations_it_is_said_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)
    bench = Bench(tmp_path, ["ans = solve_equations('x = 1', 'x')"])

    with pytest.raises(MissingExtra, match="solving equations"):
        await ask(bench)


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    making, rest = "persona instructions constraints context output_format input", "recap cue"
    examples = (marked_example("about 12"),)
    choosing = Bench(tmp_path, ["ans = 18", "B"], OPTIONS, prompt=MARKED)
    thinking = Bench(tmp_path, ["a = 1\nkeep_prompting = True", "So.", "B"], OPTIONS, prompt=MARKED)

    await perform("program_of_thoughts", choosing.step(examples=examples))
    await perform({"program_of_thoughts": {"keep_prompting": True}}, thinking.step(examples=examples))

    assert choosing.shown == [
        ("program", making),
        ("option", f"persona instructions constraints context output_format examples input {rest}"),
    ]
    assert (
        thinking.shown[1:]
        == [
            ("finish", f"persona instructions constraints context output_format examples thoughts input {rest}"),
        ]
        * 2
    )


@pytest.mark.parametrize(
    ("parameters", "answer", "decide", "requests"),
    [
        ({"attempts": 1}, "number", "constrain", 1),
        ({}, "number", "constrain", 2),
        ({}, "choice", "constrain", 3),
        ({}, "label", "constrain", 3),
        ({"keep_prompting": True}, "choice", "generate", 3),
        ({"keep_prompting": True}, "number", "constrain", 4),
    ],
)
def test_what_it_costs_at_most(
    tmp_path: Path, parameters: dict[str, Any], answer: str, decide: str, requests: int
) -> None:
    project = Bench(tmp_path, []).project

    found = cost(configure({"program_of_thoughts": parameters}, project), project, decide=decide, answer=answer)

    assert (found.requests, found.depth) == (requests, requests)
