"""Arithmetic and equations: as Python and algebra have them, and nothing but them."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import MissingExtra
from promptkit.tools.algebra import evaluate_expression, solve_equations
from promptkit.tools.python import run_python

VALUES = {"a": 3, "b": 2.5, "c": -7}

NUMBERS = st.one_of(
    st.integers(0, 99).map(str),
    st.floats(0, 99, allow_nan=False).map(lambda number: f"{number:.3f}"),
    st.sampled_from(sorted(VALUES)),
)
EXPRESSIONS = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        inner.map(lambda text: f"-({text})"),
        inner.map(lambda text: f"abs({text})"),
        st.tuples(inner, inner).map(lambda pair: f"max({pair[0]}, {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"min({pair[0]}, {pair[1]})"),
        inner.map(lambda text: f"round({text}, 2)"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_an_expression_is_worth_what_python_says(text: str) -> None:
    try:
        value = evaluate_expression(text, VALUES)
    except ValueError:
        # Left to the cases below: what has no real value of a sensible size.
        return
    assert value == eval(text, {}, VALUES)
    assert math.isfinite(value)


@given(EXPRESSIONS.filter(lambda text: "**" not in text))
def test_without_powers_only_a_division_by_zero_fails(text: str) -> None:
    try:
        expected = eval(text, {}, VALUES)
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="divides by zero"):
            evaluate_expression(text, VALUES)
        return
    assert evaluate_expression(text, VALUES) == expected


@given(st.text(max_size=30) | st.text("ab1+-*/()., 'x_[]:=", max_size=30))
def test_any_other_text_is_refused_with_a_value_error(text: str) -> None:
    try:
        assert isinstance(evaluate_expression(text, VALUES), int | float)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("text", "value"),
    [("2 ^ 3", 8), ("6 × 2 ÷ 4 − 1", 2.0), ("sqrt(16)", 4.0), (" (1 + 2) * 3\n", 9), ("2 ** -1", 0.5), ("7 // 2", 3)],
)
def test_signs_of_mathematics_are_read(text: str, value: float) -> None:
    assert evaluate_expression(text) == value
    assert type(evaluate_expression(text)) is type(value)


@pytest.mark.attack("arithmetic")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "a b",
        "__import__('os').getcwd()",
        "().__class__",
        "a.real",
        "a[0]",
        "[1, 2]",
        "{1: 2}",
        "'a' * 9",
        "True",
        "None",
        "1j",
        "1 < 2",
        "1 and 2",
        "1 if a else 2",
        "(x := 1)",
        "lambda: 1",
        "[x for x in (1, 2)]",
        "f'{a}'",
        "max(*(1, 2))",
        "max(1, 2, key=abs)",
        "print(1)",
        "eval('1')",
        "abs",
        "d",
        "1 << 3",
        "~1",
        "9 ** 9 ** 9",
        "2 ** 100000",
        "2.0 ** 10000",
        "1e308 * 10",
        "1e999",
        "(-8) ** 0.5",
        "0 ** -1",
        "5 % 0",
        "sqrt(-1)",
        "sqrt(1, 2)",
        "max()",
        "round(1.5, 10 ** 9)",
        "round(1.5, 0.5)",
        "(" * 500 + "1" + ")" * 500,
        "1" + "+1" * 5000,
        "9" * 3000,
        "a\0",
        "\ud800",
    ],
)
def test_what_is_no_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        evaluate_expression(text, VALUES)
    assert str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [True, math.nan, math.inf, "3", None, [1]])
def test_variables_must_be_numbers(value: Any) -> None:
    with pytest.raises(ValueError):
        evaluate_expression("a + 1", {"a": value})


@pytest.mark.parametrize(
    ("equations", "unknown", "solution"),
    [
        ("2*x + 3 = 11", "x", 4),
        ("0.1*x == 0.3", "x", 3),
        ("x - 5", "x", 5),
        ("x**2 = 4", "x", [-2, 2]),
        ("x ^ 2 + 1 = 2*x", "x", 1),
        ("2*x = 7", "x", 3.5),
        ("sqrt(x) = 3", "x", 9),
        ("abs(x - 1) = 3", "x", [-2, 4]),
        ("1/x + 1/(x + 2) = 3/4", "x", [pytest.approx(-4 / 3), 2]),
        ("x^3 - 3*x + 1 = 0", "x", pytest.approx([-1.8793852, 0.3472964, 1.5320889])),
        ("x**5 - x = 1", "x", pytest.approx(1.1673040)),
        ("1000 * 1.05**n = 2000", "n", pytest.approx(math.log(2) / math.log(1.05))),
        ("1000 * (1 + r)**5 = 1500", "r", pytest.approx(1.5**0.2 - 1)),
        (["x + y = 10", "x - y = 4"], ["x", "y"], {"x": 7, "y": 3}),
        (["x = 2*y", "x + y = 9"], ["y", "x"], {"y": 3, "x": 6}),
        (["x + y = 10", "x*y = 21"], ["x", "y"], [{"x": 3, "y": 7}, {"x": 7, "y": 3}]),
        (["x = 3", "x = 3"], "x", 3),
    ],
)
def test_equations_are_solved(equations: str | list[str], unknown: str | list[str], solution: Any) -> None:
    assert solve_equations(equations, unknown) == solution


@pytest.mark.attack("arithmetic")
@pytest.mark.parametrize(
    ("equations", "unknown", "message"),
    [
        ("x**2 = -1", "x", "no real solution"),
        ("x = x + 1", "x", "no real solution"),
        (["x = 1", "x = 2"], "x", "no real solution"),
        ("3 = 4", "x", "no real solution"),
        ("x = x", "x", "leave `x` open"),
        ("x + y = 3", ["x", "y"], "leave `x` open"),
        ("x + y = 3", "x", "`y` is not among the unknowns"),
        ("x = 3 = 4", "x", "more than one equals sign"),
        ("x / 0 = 1", "x", "divides by zero"),
        ("0 ** -1 = x", "x", "divides by zero"),
        ("x ** 1000 = 1", "x", "power beyond 12"),
        ("2 ** 2 ** 2 ** 2 ** 2 ** 2 = x", "x", "too large"),
        ("__import__('os').system('x') = x", "x", "cannot be part of"),
        ("x.__class__ = 1", "x", "cannot be part of"),
        ("exp(x) = 1", "x", "cannot be part of"),
        ("x // 2 = 1", "x", "cannot be part of"),
        ("x =", "x", "not an arithmetic expression"),
        ([], "x", "from 1 to 10"),
        (["x = 1"] * 11, "x", "from 1 to 10"),
        ("x = 1", [], "from 1 to 10"),
        ([3], "x", "must be texts"),
        ("x = 1", [["x"]], "must be texts"),
    ],
)
def test_what_cannot_be_solved_is_said(equations: Any, unknown: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve_equations(equations, unknown)


@pytest.mark.attack("arithmetic")
@pytest.mark.parametrize(
    ("equations", "unknown"),
    [
        (["x**5 + y**4 + z**3 = 7", "x*y*z + x**3 = 2", "y**5 + z = x**2 + 1"], ["x", "y", "z"]),
        ("x**(1/7) + x**(1/11) + x**(1/12) = 3", "x"),
    ],
)
def test_hard_equations_end_in_time(
    equations: str | list[str], unknown: str | list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptkit.tools.algebra._SECONDS", 0.5)
    with pytest.raises(ValueError, match="too hard to solve in time"):
        solve_equations(equations, unknown)
    monkeypatch.undo()
    assert solve_equations("x = 1", "x") == 1


async def test_equations_may_be_solved_at_once() -> None:
    equations = [f"{number} * x = {number * number}" for number in range(1, 9)]
    solved = [asyncio.to_thread(solve_equations, equation, "x") for equation in equations]
    assert await asyncio.gather(*solved) == list(range(1, 9))


def test_a_process_that_solved_equations_ends_quietly() -> None:
    program = "from promptkit.tools.algebra import solve_equations\nprint(solve_equations('x + 1 = 3', 'x'))"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("2\n", "", 0)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(MissingExtra, match=r"promptkit\[math\]"):
        solve_equations("x = 1", "x")


async def test_a_program_in_the_sandbox_solves_equations() -> None:
    program = "both = solve_equations(['a + b = 35', '2*a + 4*b = 94'], ['a', 'b'])\nboth['a'] - both['b']"
    async with asyncio.timeout(20):
        assert (await run_python(program, functions={"solve_equations": solve_equations})).value == 11
    failure = (await run_python("solve_equations('x', 1)", functions={"solve_equations": solve_equations})).failure
    assert failure and failure.kind == "exception"
