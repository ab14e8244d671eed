"""Programs that pass their tests, in the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.metrics import Score
from promptkit.runtimes import Scripted
from tests.engine.helpers import Given as Models
from tests.evaluation.metrics.given import given, metric

TESTS = "assert add(1, 2) == 3\nassert add(2, 2) == 4, 'two and two'"
ADD = "def add(a, b):\n    return a + b"


async def score(program: Any, tests: Any = TESTS, **parameters: Any) -> Score:
    """Return the score, for which no model is asked."""
    return await metric("code", parameters).judge(given(program, tests), Models(Scripted([])))


@pytest.mark.parametrize("program", [ADD, f"Here it is:\n```python\n{ADD}\n```\nIt adds.", f"{ADD}\nadd"])
async def test_a_program_that_passes_is_right(program: str) -> None:
    assert (await score(program)).value == 1


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("def add(a, b):\n    return 3", "a test, line 2: AssertionError: two and two"),
        ("def plus(a, b):\n    return a + b", "a test, line 1: NameError"),
        ("def add(a, b:\n", "the program, line 2: unexpected EOF"),
        ("raise SystemExit", "the program, line 1: SystemExit"),
        ("open('/etc/passwd')", "the program, line 1: PermissionError"),
        ("", "no program"),
    ],
)
async def test_a_program_that_fails_is_wrong_and_says_why(program: str, problem: str) -> None:
    found = await score(program)
    assert found.value == 0 and problem in found.detail["problem"]


async def test_a_program_that_does_not_end_is_wrong() -> None:
    found = await score("while True:\n    pass", seconds=0.2)
    assert found.value == 0 and found.detail["kind"] == "time"


@pytest.mark.parametrize("program", [f"{ADD}\nx = '''", f"{ADD}\nraise SystemExit", f"{ADD}\nif False:", f"{ADD}\\"])
async def test_no_program_can_swallow_its_tests(program: str) -> None:
    assert (await score(program, "assert add(1, 1) == 3")).value == 0


@pytest.mark.parametrize("program", ["import numpy\n" + ADD, "def add(a, b):\n    yield a + b"])
async def test_what_the_sandbox_cannot_run_is_missing_not_wrong(program: str) -> None:
    found = await score(program)
    assert found.value is None and "sandbox" in found.why


async def test_tests_may_be_the_same_for_all_rows() -> None:
    of = metric("code", {"tests": TESTS})
    assert not of.needs_expected
    assert (await of.judge(given(ADD), Models(Scripted([])))).value == 1


@pytest.mark.parametrize(("tests", "message"), [("add(1, 2)", "no `assert`"), ("assert (", "no Python")])
def test_tests_that_test_nothing_are_an_error_before_the_run(tests: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metric("code", {"tests": tests})
    wrong = metric("code").wrong_expected(tests)
    assert wrong and message in wrong


def test_expected_tests_that_are_no_text_are_an_error_before_the_run() -> None:
    assert metric("code").wrong_expected(7)
    assert metric("code").wrong_expected(TESTS) is None
