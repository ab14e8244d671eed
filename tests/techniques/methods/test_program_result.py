"""The answer of a program is found where people leave it, in a fixed order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.techniques.methods.program_result import find_result, last_value
from promptkit.techniques.methods.syntax import is_python
from promptkit.tools.python import run_python

SOLUTION = "def solution():\n    return 6 * 7"


@pytest.mark.parametrize(
    ("program", "value"),
    [
        # 1. What was asked for.
        ("ans = 42\nprint('done')", 42),
        ("ans = 42\nresult = 1\nprint(result)", 42),
        (f"{SOLUTION}\nprint('The answer is', 41)", 42),
        ("def solution(eggs=6, days=7):\n    return eggs * days\nprint(1)", 42),
        (f"if __name__ == '__main__':\n    pass\n{SOLUTION}", 42),
        ("if 6 > 5:\n    ans = 42\nelse:\n    ans = 0", 42),
        # 2. The last line, a value or printed.
        ("6 * 7", 42),
        ("x = 6\nx * 7", 42),
        ("result = 1\nprint(6 * 7)", 42),
        ("x = 42\nprint('Total:', x)", 42),
        ("x = 42\nprint(f'Ada has {x} eggs on day 2')", 42),
        ("x = 100 / 3\nprint(f'${x:.2f}')", "33.33"),
        ("x = 42\nprint('Total: ' + str(x))", "Total: 42"),
        ("x, y = 6, 7\nprint(x, y)", [6, 7]),
        ("xs = [6, 7]\nprint(*xs, sep=', ')", [6, 7]),
        ("x, y = 6, 7\nprint('from', x, 'to', y)", "from 6 to 7"),
        ("x = 1; print(x * 42)", 42),
        ("def area(a, b):\n    return a * b\nprint(area(6, 7))", 42),
        ("def main():\n    return 42\nif __name__ == '__main__':\n    main()", 42),
        ("é = 6\nprint(é * 7)", 42),
        # 3. A usual name.
        ("answer = 42\nfor x in [1]:\n    print(x)", 42),
        ("result = 42\ndef unused(x):\n    return x", 42),
        ("ans_ = 1\nfinal_answer = 42\nimport math", 42),
        # 4. The last statement.
        ("price = 6\ntotal = price * 7", 42),
        ("total: int = 42", 42),
        ("total = 40\ntotal += 2", 42),
        ("def solve():\n    return 42", 42),
        ("x = 1\nif x > 0:\n    winner = 'Ada'\nelse:\n    winner = 'Bo'", "Ada"),
        ("total = 0\nfor x in [20, 22]:\n    total += x", 42),
        # 5. What is printed.
        ("x = 1\nif x > 0:\n    print('yes')\nelse:\n    print('no')", "yes"),
        ("def main():\n    print('checking')\n    print(42)\nmain()", "42"),
        ("def solution():\n    print(42)", "42"),
        # Nothing.
        ("import math", None),
        ("def solve(eggs):\n    return eggs", None),
    ],
)
async def test_the_answer_of_a_program_is_found(program: str, value: object) -> None:
    execution = await run_python(find_result(program, variable="ans", function="solution").ending)

    assert execution.failure is None
    assert last_value(execution) == value


def test_the_lines_of_a_program_keep_their_numbers() -> None:
    program = "# eggs a day\neggs = 6  # in all\n\n\nprint(eggs * 7)"

    assert find_result(program).ending == "# eggs a day\neggs = 6  # in all\n\n\n\neggs * 7"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("answer = 42", "answer = 42"),
        ("print(legs())", "\nanswer = legs()"),
        ("total = 42", "total = 42\nanswer = total"),
    ],
)
def test_the_answer_can_be_assigned_to_a_variable(program: str, expected: str) -> None:
    assert find_result(program, variable="answer").assigned_to("answer") == expected


STATEMENTS = [
    "x = 1",
    "print(x)",
    "print('Total:', x); y = 2",
    "if x:\n    print(1)",
    "if __name__ == '__main__': print(x)",
    "if __name__ == '__main__':\n    if __name__:\n        y = '\\n'",
    "def f(a=1): return a",
    "@f\ndef g():\n    return 1",
    "print(f'{x!r:>{y}} of {y}')",
    "'é'; print(*[1], x)",
    "(x\n + y)",
    "class A: pass",
    "match x:\n    case [a]: pass",
    "x: int",
    "# the end",
    "",
]


@given(st.lists(st.sampled_from(STATEMENTS)), st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_program_stays_python_whatever_it_ends_in(statements: list[str], end: str) -> None:
    program = "\n".join(statements).replace("\n", end)

    result = find_result(program, variable="ans", function="solution")

    assert is_python(result.ending) and is_python(result.assigned_to("answer"))


@given(st.text())
def test_any_text_has_a_result_or_none(text: str) -> None:
    assert find_result(text).value
