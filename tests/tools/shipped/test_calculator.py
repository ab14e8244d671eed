"""The tool `calculator`: the expressions that people write, exact results, and bounds."""

from __future__ import annotations

import ast
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError, ToolFailed
from promptkit.project import Project
from promptkit.tools.shipped.calculator import Calculator, calculate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,250 * 3", 3750),
        ("2^10", 1024),
        ("2 ** -1", 0.5),
        ("3!", 6),
        ("(2 + 1)! / 2", 3),
        ("15 % of 80", 12),
        ("15% of 1,250.50", 187.575),
        ("20% + 5%", 0.25),
        ("50%", 0.5),
        ("17 % 5", 2),
        ("17 mod 5", 2),
        ("-7 // 2", -4),
        ("3 x 4", 12),
        ("3 × 4 ÷ 2 − 1", 5),
        ("√16 + √(9)", 7),
        ("3² + 2³", 17),
        ("-2^2", -4),
        ("12 * 3 =", 36),
        ("007 + 1", 8),
        ("max(100,200)", 200),
        ("sqrt(1,250.0) ^ 2", 1250),
        ("mean(1, 2, 6)", 3),
        ("median(1, 2, 6, 7)", 4),
        ("gcd(12, 18) + lcm(4, 6)", 18),
        ("comb(52, 5)", 2_598_960),
        ("log(125, 5)", 3),
        ("ln(e)", 1),
        ("sin(pi / 6)", 0.5),
        ("8 ^ (1/3)", 2),
        ("floor(2.7) + ceil(2.1)", 5),
        ("sum(1, 2.5)", 3.5),
    ],
)
def test_an_expression_is_read_as_people_write_it(text: str, value: float) -> None:
    result = calculate(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1 + 0.2", 0.3),
        ("1/3 + 1/6", 0.5),
        ("1234567890123456.78 * 100", 123_456_789_012_345_678),
        ("2^200 - 2^200 + 1", 1),
        ("100! / 98!", 9900),
        ("10^300 / 10^299", 10),
        ("round(2.675, 2)", 2.68),
        ("round(-2.5)", -3),
        ("sqrt(4/9) * 3", 2),
        ("1 / 3", 1 / 3),
        ("sqrt(2)", 2**0.5),
    ],
)
def test_what_can_be_exact_is(text: str, value: float) -> None:
    assert calculate(text) == value


@given(
    st.integers(-999, 999), st.sampled_from("+-*/"), st.integers(-999, 999), st.sampled_from("+-*"), st.integers(1, 9)
)
def test_quotients_of_whole_numbers_are_exact(a: int, first: str, b: int, second: str, c: int) -> None:
    text = f"({a} {first} {b}) {second} 1/{c}"
    if first == "/" and b == 0:
        with pytest.raises(ValueError, match="divides by zero"):
            calculate(text)
        return
    results = {"+": Fraction(a + b), "-": Fraction(a - b), "*": Fraction(a * b), "/": Fraction(a, b or 1)}
    inner = results[first]
    exact = {"+": inner + Fraction(1, c), "-": inner - Fraction(1, c), "*": inner / c}[second]
    assert calculate(text) == (int(exact) if exact.denominator == 1 else float(exact))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("80 + 15%", r"write 80 \* 1.15"),
        ("log(8)", "needs its base"),
        ("5!!", r"write \(5!\)!"),
        ("min(1,000)", "without commas"),
        ("2(3 + 4)", "missing between `2` and `\\(`"),
        ("2 pi", "missing between `2` and `pi`"),
        ("1 000", "missing between"),
        ("1.250,5", "a comma separates"),
        ("sqroot(2)", "does not know `sqroot`.*did you mean `sqrt`"),
        ("price * 2", "does not know `price`"),
        ("$5 * 3", r"`\$` cannot be part"),
        ("1/0", "divides by zero"),
        ("0 ^ -1", "divides by zero"),
        ("sqrt(-1)", "no real square root"),
        ("(-8) ^ 0.5", "no real value"),
        ("ln(0)", "above 0"),
        ("1.5!", "not a whole number"),
        ("max()", "needs a value"),
        ("sqrt(1, 2)", "a comma"),
        ("comb(5)", "cannot be evaluated"),
        ("! 3", "must follow a number"),
        ("(1", "not an arithmetic expression"),
        ("1)", "not an arithmetic expression"),
        ("", "not an arithmetic expression"),
        ("2 = 2", "`=` cannot be part"),
    ],
)
def test_what_is_not_clear_or_not_a_number_is_refused_with_the_way_to_write_it(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calculate(text)


@pytest.mark.attack("arithmetic")
@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "9^(9^9)",
        "2^4001",
        "401!",
        "(400!)!",
        "1e301",
        "1/3 * 10^400",
        "perm(1001, 2)",
        "round(1.5, 301)",
        "exp(1000)",
        "(2^3999) * (2^3999)",
        "1" * 1_001,
        "(" * 900 + "1" + ")" * 900,
        "-" * 999 + "1",
        "__import__('os')",
        "().__class__",
        "[1, 2]",
        "lambda: 1",
        "1 if 1 else 2",
        "e.real",
        "'a' * 3",
        "percent(3)",
        "1; 2",
        "\ud800",
        "1\n+\0 2",
    ],
)
def test_nothing_but_arithmetic_of_a_sensible_size_is_computed(text: str) -> None:
    try:
        result = calculate(text)
    except ValueError:
        return
    assert text.startswith("-") and result == ast.literal_eval("-1")


@pytest.mark.parametrize("text", ["1/(3^2400 + 1) + 1/(3^2401 + 1)", "(2^2001 + 1) * (2^2001 + 1)", "2^4001"])
def test_a_number_has_at_most_1200_digits(text: str) -> None:
    with pytest.raises(ValueError, match="more than 1,200 digits"):
        calculate(text)
    assert calculate("400! / 399! + 2^3998 - 2^3998") == 400


@given(st.text("0123456789.,+-*/^%!()ex√ psqrtminmax", max_size=30))
def test_any_text_gives_a_number_or_a_reason(text: str) -> None:
    try:
        assert isinstance(calculate(text), int | float)
    except ValueError as error:
        assert str(error)


def test_what_the_expression_becomes_may_be_longer_than_it(tmp_path: Path) -> None:
    assert calculate("+".join(["1!"] * 333)) == 333
    assert calculate("+".join([".5"] * 333)) == 166.5


async def test_the_tool_returns_a_number_and_fails_with_the_reason(tmp_path: Path) -> None:
    tool = Calculator.of("calculator", None, tmp_path, Project(tmp_path))
    assert await tool.call({"expression": "1,250 * 3"}) == 3750
    with pytest.raises(ToolFailed, match="the expression divides by zero"):
        await tool.call({"expression": "1/0"})
    assert tool.effects == frozenset() and "sqrt" in tool.description


def test_the_tool_takes_no_settings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no settings"):
        Calculator.of("calculator", {"digits": 3}, tmp_path, Project(tmp_path))
