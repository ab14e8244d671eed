"""`pal` (Gao et al. 2023): the interpreter finds the answer, never what the model says beside its program."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Message, Reply
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, marked_example, routed

PROGRAM = "Here it is:\n```python\ndef solution():\n    return 6 * 7\n```\nThe answer is 41."


def returning(value: str) -> str:
    return f"def solution():\n    return {value}"


async def ask(bench: Bench, **parameters: Any) -> Any:
    parameters = {"attempts": 1, **parameters}
    return await perform({"pal": parameters}, bench.step(decide="generate"))


async def test_the_value_of_the_program_is_the_answer_and_what_the_model_says_is_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM])

    answer = await ask(bench)

    assert answer.value == 42
    assert [request.temperature for request in bench.runtime.requests] == [0.0]


async def test_under_constrain_the_program_is_asked_for_just_the_same(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM])

    answer = await perform("pal", bench.step())

    assert (answer.value, len(bench.texts)) == (42, 1)
    assert bench.runtime.requests[0].grammar is None


async def test_of_several_programs_the_value_that_most_have_is_the_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [returning("41"), returning("42.0"), "raise ValueError", returning("42")])

    answer = await ask(bench, samples=4, temperature=0.7)

    assert (answer.value, answer.extra["unparsed"]) == (42, 1)
    assert {request.temperature for request in bench.runtime.requests} == {0.7}
    assert len({request.sample for request in bench.runtime.requests}) == 4
    assert bench.levels == [("program", 1)] * 4


async def test_values_that_differ_by_rounding_alone_are_the_same(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [returning("5"), returning("0.1 + 0.2"), returning("0.3")])

    answer = await ask(bench, samples=3, temperature=0.7)

    assert answer.value == 0.3


async def test_programs_that_all_fail_give_no_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["raise ValueError", returning("1 / 0")])

    answer = await ask(bench, samples=2, temperature=0.7)

    assert (answer.value, answer.flag) == (None, "unparsed")


async def test_a_program_that_fails_is_written_again_in_the_same_conversation_with_its_error(tmp_path: Path) -> None:
    failing = "Let me see.\n```python\ndef solution():\n    eggs = 0\n    return 42 / eggs\n```"
    bench = Bench(tmp_path, [failing, PROGRAM])

    warned: list[str] = []

    answer = await perform("pal", bench.step(warn=warned.extend))

    first, second = bench.runtime.requests
    assert (answer.value, warned) == (42, [])
    assert second.messages[:-1] == (*first.messages, Message("assistant", failing))
    assert "line 3, `return 42 / eggs`: ZeroDivisionError: division by zero" in second.messages[-1].content
    assert bench.levels == [("program", 1), ("correct", 2)]
    assert [request.temperature for request in bench.runtime.requests] == [0.0, 0.4]


@pytest.mark.parametrize(("attempts", "requests"), [(1, 1), (2, 2), (3, 3)])
async def test_programs_that_fail_are_written_again_so_often_and_no_more(
    tmp_path: Path, attempts: int, requests: int
) -> None:
    bench, warned = Bench(tmp_path, [returning("1 / 0")] * requests), list[str]()

    answer = await perform({"pal": {"attempts": attempts}}, bench.step(warn=warned.extend))

    assert (answer.flag, len(bench.texts), warned) == ("unparsed", requests, ["program_failed"])


async def test_a_value_that_is_no_answer_is_an_error_of_the_program(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [returning("[7, 8]"), returning("7")])

    answer = await ask(bench, attempts=2)

    assert answer.value == 7
    assert "[7, 8] is not a number" in bench.texts[1]


async def test_a_program_that_was_cut_off_gets_twice_the_tokens(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Reply(text="def solution():\n    eggs = (", finish="length"), PROGRAM])

    answer = await ask(bench, attempts=2)

    first, second = bench.runtime.requests
    assert (answer.value, second.max_tokens) == (42, 2 * first.max_tokens)
    assert "it was cut off before its end" in second.messages[-1].content


async def test_a_sample_corrects_its_own_program(tmp_path: Path) -> None:
    script = routed(
        ("That program cannot be used", returning("42")), ("QUESTION-MARK", [returning("1 / 0"), returning("42")])
    )
    bench = Bench(tmp_path, script)

    answer = await ask(bench, samples=2, temperature=0.7, attempts=2)

    again = [record for record in bench.records if record.call == "correct"]
    assert (answer.value, len(again)) == (42, 1)
    assert (again[0].sample, again[0].request.temperature) == (bench.records[0].sample, 0.7)


async def test_programs_may_have_two_blank_lines_between_functions(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["import math\n\n\ndef solution():\n    return math.floor(42.5)\n\n\nprint(solution())"])

    answer = await ask(bench)

    assert answer.value == 42
    assert not any(stop in "\n\n\n" for stop in bench.runtime.requests[0].stop)


async def test_the_prompt_states_the_answer_and_the_modules(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [returning("'red'")], {"label": ["red", "blue"]})

    answer = await ask(bench)

    assert answer.value == "red"
    assert 'one of these labels: "red", "blue"' in bench.texts[0]
    assert "these modules: math, decimal, random" in bench.texts[0]


@pytest.mark.parametrize(
    ("kind", "value", "reply", "expected"),
    [
        ({"label": ["ironic", "literal"]}, "True", "ironic", "ironic"),
        ({"choice": ["about 12", "about 20"]}, "18.375", "B", "about 20"),
    ],
)
async def test_the_model_chooses_a_label_or_option_by_a_value_that_is_none(
    tmp_path: Path, kind: Any, value: str, reply: str, expected: str
) -> None:
    bench = Bench(tmp_path, [returning(value), reply], kind)

    answer = await ask(bench)

    assert (answer.value, bench.levels) == (expected, [("program", 1), ("option", 2)])
    assert f"A program computed this value for the answer: {answer.extra['value']}".lower() in bench.texts[1].lower()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("def solution():\n    while True:\n        pass", "longer than"),
        ("def solution():\n    for n in range(9**9):\n        print('x' * 999)", "printed more than"),
        ("def numbers():\n    yield 42\ndef solution():\n    return list(numbers())[0]", "yield"),
        ("def solution():\n    open('taken', 'w').write('x')\n    return 42", "Permission denied"),
        ("import socket\ndef solution():\n    socket.socket()\n    return 42", "socket"),
        ("def solve(number):\n    return number", "without a value"),
        ("The answer is 42.", "no program"),
        ("", "no program"),
    ],
)
async def test_a_program_that_fails_gives_no_answer_and_the_trace_says_why(
    tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch, reply: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path, [reply])

    answer = await ask(bench)

    assert (answer.value, answer.flag) == (None, "unparsed")
    assert said in answer.problem
    assert bench.records[0].problem == answer.problem
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "18.0", "18"),
        ("text", "'eighteen'", "eighteen"),
        ("number", "[18]", 18),
        ("number", "{'eggs': 18}", 18),
        ("boolean", "3 > 2", True),
        ({"label": ["red", "blue"]}, "'Blue'", "blue"),
        ({"list": {}}, "['a']", ["a"]),
    ],
)
async def test_a_value_becomes_an_answer_of_the_steps_type(
    tmp_path: Path, kind: Any, value: str, expected: Any
) -> None:
    bench = Bench(tmp_path, [returning(value)], kind)

    answer = await ask(bench)

    assert answer.value == expected


async def test_self_consistency_over_it_samples_programs_and_votes_over_values(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [returning("7"), returning("18"), "raise ValueError", returning("36 / 2")])

    answer = await perform({"self_consistency": {"over": {"pal": {"attempts": 1}}, "samples": 4}}, bench.step())

    assert (answer.value, len(bench.texts)) == (18, 4)
    assert all(request.temperature > 0 for request in bench.runtime.requests)


async def test_ones_own_demonstrations_take_the_place_of_the_shipped_ones(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM])

    await ask(bench, demos={"program": [{"input": "OWN-DEMO", "output": returning("1")}]})

    assert "OWN-DEMO" in bench.texts[0] and "pencils" not in bench.texts[0]


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM], prompt=MARKED)

    await perform("pal", bench.step(examples=(marked_example(2),)))

    assert bench.shown == [("program", "persona instructions constraints context output_format input")]
    assert "def solution()" in bench.texts[0]


@pytest.mark.parametrize(
    ("parameters", "answer", "requests", "depth"),
    [
        ({"samples": 5, "attempts": 1}, "number", 5, 1),
        ({"samples": 5}, "number", 10, 2),
        ({}, "label", 3, 3),
        ({}, "choice", 3, 3),
    ],
)
def test_what_it_costs_at_most(
    tmp_path: Path, parameters: dict[str, Any], answer: str, requests: int, depth: int
) -> None:
    project = Bench(tmp_path, []).project

    found = cost(configure({"pal": parameters}, project), project, answer=answer)

    assert (found.calls, found.requests, found.depth) == (requests, requests, depth)
