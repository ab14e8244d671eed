"""`pal` (Gao et al. 2023): the interpreter finds the answer, never what the model says beside its program."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, marked_example

PROGRAM = "Here it is:\n```python\ndef solution():\n    return 6 * 7\n```\nThe answer is 41."


def returning(value: str) -> str:
    return f"def solution():\n    return {value}"


async def ask(bench: Bench, **parameters: Any) -> Any:
    return await perform({"pal": parameters}, bench.step(decide="generate"))


async def test_the_value_of_the_program_is_the_answer_and_what_the_model_says_is_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM])

    answer = await ask(bench)

    assert answer.value == 42
    assert [request.temperature for request in bench.runtime.requests] == [0.0]
    assert bench.runtime.requests[0].stop == ("\n\n\n",)


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


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("def solution():\n    while True:\n        pass", "longer than"),
        ("def solution():\n    for n in range(9**9):\n        print('x' * 999)", "printed more than"),
        ("def numbers():\n    yield 42\ndef solution():\n    return list(numbers())[0]", "yield"),
        ("def solution():\n    open('taken', 'w').write('x')\n    return 42", "Permission denied"),
        ("import socket\ndef solution():\n    socket.socket()\n    return 42", "socket"),
        ("def solve(number):\n    return number", "result"),
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
    assert said in bench.records[0].notes[0]
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

    answer = await perform({"self_consistency": {"over": "pal", "samples": 4}}, bench.step())

    assert (answer.value, len(bench.texts)) == (18, 4)
    assert all(request.temperature > 0 for request in bench.runtime.requests)


async def test_ones_own_demonstrations_take_the_place_of_the_shipped_ones(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM])

    await ask(bench, demos={"program": [{"input": "OWN-DEMO", "output": returning("1")}]})

    assert "OWN-DEMO" in bench.texts[0] and "pencils" not in bench.texts[0]


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM], prompt=MARKED)

    await perform("pal", bench.step(examples=(marked_example(2),)))

    assert bench.shown == [("program", "persona instructions constraints context input")]
    assert "def solution()" in bench.texts[0]


def test_it_costs_a_request_a_sample(tmp_path: Path) -> None:
    found = cost(configure({"pal": {"samples": 5}}, Bench(tmp_path, []).project), Bench(tmp_path, []).project)

    assert (found.calls, found.requests, found.depth) == (5, 5, 1)
