"""Walking through a program: the interpreter does what it can, what emulates gets the rest, and state goes along."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.techniques.methods.emulation import ProgramStepper, Stuck
from promptkit.tools.python import Execution, open_sandbox
from promptkit.tools.sandbox import Limits

LIMITS = Limits(seconds=0.5)


class Told:
    """What emulates in these tests: values by line; `asked` is what it was asked, with the state at that time."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values = values or {}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def __call__(self, line: str, wants: str, *, state: Any, seen: Any, trace: Any) -> Any:
        self.asked.append((line, wants, dict(state)))
        if line not in self.values:
            raise Stuck(f"nobody knows `{line}`")
        return self.values[line]


async def walk(program: str, told: Told | None = None, most: int = 500) -> tuple[Execution, ProgramStepper]:
    async with open_sandbox(limits=LIMITS) as sandbox:
        walk = ProgramStepper(sandbox, told or Told(), most)
        return await walk.run(program), walk


@pytest.mark.parametrize(
    "program",
    [
        "answer = 0\nfor n in range(9):\n    if n == 1: continue\n    if n == 4: break\n    answer += n",
        "n = 0\nwhile n < 5:\n    n += 1\nelse:\n    n = n * 10\nanswer = n - 45",
        "answer = 1\nfor n in []:\n    pass\nelse:\n    answer = 5",
        "answer = 1\nwhile True:\n    answer += 1\n    if answer > 4:\n        break\nelse:\n    answer = 0",
        "answer = 0\nfor name, (low, high) in {'a': (1, 2), 'b': (0, 2)}.items():\n    answer += low + high",
        "def twice(n):\n    return 2 * n\nanswer = twice(2) + 1",
        "answer = 2\nfor n in [1, 2]:\n    for m in [1, 2]:\n        if m == 2: break\n        answer += n",
        "seen = set()\nfor pair in [(1, 2), (1, 2), (2, 3)]:\n    seen.add(pair)\nanswer = len(seen) + 3",
        "found = []\nfor word in 'ab':\n    found.append(word * 2)\nanswer = len(''.join(found)) + 1",
        "try:\n    answer = 1 / 0\nexcept ZeroDivisionError:\n    answer = 5",
        "answer = 3\nif answer < 3:\n    answer = 0\nelif answer == 3:\n    answer = 5\nelse:\n    answer = 1",
    ],
)
async def test_a_program_of_defined_names_runs_as_in_python_and_nobody_is_asked(program: str) -> None:
    told = Told()
    scope: dict[str, Any] = {}
    exec(program, scope)

    execution, _ = await walk(program, told)

    assert execution.value == scope["answer"] == 5
    assert told.asked == []


async def test_a_condition_that_cannot_be_run_is_asked_for_with_the_state_and_the_rest_is_run() -> None:
    told = Told({"is_good(x)": True})
    program = "n = 0\nfor x in ['a', 'b']:\n    if is_good(x):\n        n += 1\nanswer = n * 10"

    execution, walked = await walk(program, told)

    assert execution.value == 20
    assert told.asked == [
        ("is_good(x)", "value", {"n": 0, "x": "a"}),
        ("is_good(x)", "value", {"n": 1, "x": "b"}),
    ]
    assert walked.trace[1:4] == [
        {"line": "for x in ['a', 'b']:", "result": {"x": "a"}},
        {"line": "if is_good(x):", "result": True},
        {"line": "n += 1", "result": {"n": 1}},
    ]


@pytest.mark.parametrize("value", ["false", "No", False, 0, "", None])
async def test_a_text_that_says_no_is_no(value: Any) -> None:
    execution, _ = await walk("answer = 1\nif is_good(answer):\n    answer = 2", Told({"is_good(answer)": value}))

    assert execution.value == 1


async def test_a_line_that_cannot_be_run_changes_what_is_said_and_nothing_is_run_twice() -> None:
    told = Told({"found.append(opposite(word))": {"found": ["x", "sun"]}})
    program = "found = []\nfound.append('x')\nword = 'rain'\nfound.append(opposite(word))\nanswer = len(found)"

    execution, _ = await walk(program, told)

    assert execution.value == 2
    assert told.asked == [("found.append(opposite(word))", "changes", {"found": ["x"], "word": "rain"})]


async def test_a_mere_value_belongs_to_the_only_variable_that_a_line_assigns() -> None:
    execution, _ = await walk("n = legs('spider')\nanswer = n + 1", Told({"n = legs('spider')": 8}))

    assert execution.value == 9


async def test_what_to_go_through_may_be_asked_for() -> None:
    told = Told({"colors_of('flag')": ["red", "white"]})

    execution, _ = await walk("answer = 0\nfor color in colors_of('flag'):\n    answer += 1", told)

    assert execution.value == 2


@pytest.mark.parametrize(
    ("program", "values", "said"),
    [
        ("show(1)", {"show(1)": 3}, "instead of the changed variables"),
        ("show(1)", {"show(1)": {"not a name": 3}}, "not a variable"),
        ("for x in colors():\n    pass", {"colors()": 3}, "no list"),
        ("for x, y in [1]:\n    pass", {}, "for x, y"),
        ("unknown()", {}, "nobody knows"),
    ],
)
async def test_where_nobody_can_go_on_it_is_said(program: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(Stuck, match=said):
        await walk(program, Told(values))


@pytest.mark.parametrize(
    "program", ["while True:\n    pass", "n = 0\nwhile True:\n    n += 1", "for n in range(9999):\n    continue"]
)
async def test_a_loop_without_end_ends_after_so_many_lines(program: str) -> None:
    async with open_sandbox(limits=LIMITS) as sandbox:
        walked = ProgramStepper(sandbox, Told(), 50)
        with pytest.raises(Stuck, match="too many steps"):
            await walked.run(program)
        assert walked.capped


async def test_without_an_answer_it_fails() -> None:
    execution, _ = await walk("n = 1")

    assert execution.failure and "answer" in execution.failure.message
