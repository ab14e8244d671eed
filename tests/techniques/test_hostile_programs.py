"""Whatever program a model writes, walking through it ends in an answer or says why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench

HOSTILE = [
    'len = lambda x: "abc"\nfor i in [1,2]:\n    pass\nanswer = 1',
    "len = lambda x: None\nfor i in [1,2]:\n    pass\nanswer = 1",
    "len = lambda x: -5\nfor i in [1,2]:\n    pass\nanswer = 1",
    "len = lambda x: 10**400\nfor i in [1,2]:\n    pass\nanswer = 1",
    "list = 3\nfor i in [1,2]:\n    pass\nanswer = 1",
    'bool = lambda x: "maybe"\nif 1:\n    answer = 1',
    "bool = None\nanswer=1\nwhile answer < 3:\n    answer += 1",
    "int = str = range = None\nfor i in [1]:\n    answer = i",
    'class L:\n    def __len__(self):\n        return "x"\n    def __iter__(self):\n'
    "        return self\n    def __next__(self):\n        return 1\nfor i in L():\n    pass\nanswer=1",
    "def g():\n    while True:\n        yield 1\nfor i in g():\n    pass\nanswer=1",
    "for i in iter(int, 1):\n    pass\nanswer=1",
    "for i in range(10**12):\n    pass\nanswer=1",
    'for i in "a"*10**9:\n    pass\nanswer=1',
    "items_1_ = 5\nfor i in [1,2]:\n    items_1_ = None\nanswer=1",
    'for i in [1,2]:\n    count_items_1_ = "x"\nanswer=1',
    "for (a, b), *c in [((1,2),3,4)]:\n    answer = c",
    'x = {}\nfor x["k"] in [1,2]:\n    answer = x',
    "class A: pass\na = A()\nfor a.b in [1]:\n    answer = 1",
    "for i in 5:\n    pass\nanswer=1",
    "for i in None:\n    answer=1",
    "def f(n):\n    return f(n+1)\nanswer = f(0)",
    "while True:\n    pass",
    'while "x":\n    answer = 1',
    "answer = " + "+".join(["1"] * 20000),
    "answer = " + "-" * 5000 + "1",
    "answer = " + "[" * 150 + "]" * 150,
    'answer = "a"*10**9',
    "answer = 9**9**9",
    'answer = float("nan")\nfor i in [answer, float("inf")]:\n    answer = i',
    "answer = {1: 2, (1,2): {3}}\nfor i in answer:\n    answer = i",
    "answer = answer",
    "del answer",
    "raise SystemExit",
    "import os\nanswer = os.environ",
    "exit()",
    'answer = open("/etc/passwd").read()',
    "global answer\nanswer = 1",
    "return 5",
    "yield 5",
    "break\nanswer=1",
    "async for i in x:\n    answer = 1",
    'for i in [1]:\n    answer = "\\ud800"',
    "for \U0001d51e in [1]:\n    answer = \U0001d51e",
    "try:\n    answer = undefined_thing\nfinally:\n    answer = 1/0",
    "match 1:\n    case 1:\n        answer = 1",
    "answer = (yield)",
    "answer = lambda: 1",
    "True = 1",
    'print = 3\nfor i in [print]:\n    print("x"*10**6)\nanswer=1',
    'answer: int = "x"\nfor answer in [[answer]]:\n    pass',
    "\x00answer = 1",
    "answer = 1" + "\nif 1:\n".join(" " * i for i in range(90)),
    "\n".join(" " * i + "if 1:" for i in range(99)) + "\n" + " " * 99 + "answer = 1",
]
REPLIES = ["True", "[1]", '{"answer": {"a": [1]}}', '{"x y": 1, "len": 2}', "9" * 5000, '"\\ud800"']
LIMIT = 3


def program_then_values(program: str, value: str) -> Iterator[str]:
    yield program
    while True:
        yield value


@pytest.mark.attack("python")
@pytest.mark.parametrize("number", range(len(HOSTILE)))
async def test_a_hostile_program_fails_the_step_and_nothing_else(tmp_path: Path, number: int) -> None:
    bench = Bench(tmp_path, program_then_values(HOSTILE[number], REPLIES[number % len(REPLIES)]))

    answer = await perform({"chain_of_code": {"variant": "step", "limit": LIMIT, "statements": 30}}, bench.step())

    assert (answer.value is None) == (answer.flag == "unparsed")
    assert answer.value is not None or answer.problem
    assert len(bench.runtime.requests) <= 2 + LIMIT


@pytest.mark.attack("python")
@pytest.mark.parametrize(
    "program",
    [
        'len = lambda x: "abc"\nanswer = 0\nfor i in [1, 2]:\n    answer += i',
        "len = lambda x: 99\nanswer = 0\nfor i in [1, 2]:\n    answer += i",
        "list = None\nanswer = 0\nfor i in (1, 2):\n    answer += i",
        'bool = lambda x: "no"\nanswer = 0\nif 1:\n    answer = 3',
    ],
)
async def test_a_builtin_with_another_meaning_changes_no_loop_and_no_condition(tmp_path: Path, program: str) -> None:
    bench = Bench(tmp_path, program_then_values(program, "True"))

    answer = await perform({"chain_of_code": {"variant": "step"}}, bench.step(decide="generate"))

    assert answer.value == 3
    assert len(bench.runtime.requests) == 1
