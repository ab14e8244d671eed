"""What counts as the expected answer."""

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from pydantic import ValidationError

from promptkit.answers.build import build_answer_type
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Metric
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Given as Models
from tests.evaluation.metrics.given import given, metric


def right(of: Metric, got: Any, expected: Any = None, **cell: Any) -> bool:
    value = of.measure(given(got, expected, **cell)).value
    assert value in (0.0, 1.0)
    return value == 1.0


@pytest.mark.parametrize("expected", [4, 4.0, "4", "4.0"])
def test_exact_reads_an_expected_number_as_the_answer_type_does(expected: Any) -> None:
    exact, number = metric("exact"), build_answer_type("number")
    assert right(exact, 4, expected, answer=number) and right(exact, 4.0, expected, answer=number)
    assert not right(exact, 5, expected, answer=number)


@pytest.mark.parametrize(
    ("answer", "got", "same", "other"),
    [
        ({"label": ["a", "b"]}, "a", "A", "b"),
        ("boolean", True, "yes", False),
        ({"list": {"of": "number"}}, [1, 2], "1\n2", [2, 1]),
        ({"labels": ["a", "b"]}, ["b", "a"], "a, b", ["a"]),
        ({"choice": ["left", "right"]}, "right", "B", "left"),
        ("text", "Paris", " Paris ", "paris"),
        ({"json": {"type": "object"}}, {"n": 1}, {"n": 1.0}, {"n": True}),
    ],
)
def test_exact_compares_as_votes_are_compared_but_texts_letter_by_letter(
    answer: Any, got: Any, same: Any, other: Any
) -> None:
    exact = metric("exact")
    assert right(exact, got, same, answer=build_answer_type(answer))
    assert not right(exact, got, other, answer=build_answer_type(answer))


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        (4, "4", True),
        (0.1, "0.10", True),
        (12345678901234567890, "12345678901234567891", False),
        ("4", 4.0, True),
        (True, "true", True),
        (1, True, False),
        ("4 ", "4", False),
        ([1, 2], [1.0, 2.0], True),
        (float("nan"), "nan", False),
        (3, "three", False),
        (None, "none", False),
    ],
)
def test_exact_without_a_type_takes_a_number_for_the_text_that_writes_it(got: Any, expected: Any, same: bool) -> None:
    assert right(metric("exact"), got, expected) is same


def test_an_answer_of_another_kind_than_its_type_is_wrong() -> None:
    spans = build_answer_type({"spans": {"classes": ["x"], "text": "some text"}})
    assert not right(metric("exact"), "left over", [{"start": 0, "end": 4, "class": "x"}], answer=spans)


@pytest.mark.parametrize(
    ("answer", "expected", "told"),
    [
        ("number", "none", "holds no number"),
        ({"label": ["positive", "negative"]}, "not positive", "not one of the labels"),
        ({"label": ["positive", "negative"]}, "positiv", "did you mean `positive`?"),
        ({"labels": ["a", "b"]}, "a, c", "not one of the labels"),
        ("text", None, "nothing is expected"),
    ],
)
def test_an_expected_answer_that_the_type_does_not_have_is_an_error_of_the_data(
    answer: Any, expected: Any, told: str
) -> None:
    answer = build_answer_type(answer)
    assert told in str(metric("exact", answer=answer).wrong_expected(expected))
    with pytest.raises(ValueError, match=told.replace("?", r"\?")):
        metric("exact").measure(given("a", expected, answer=answer))


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        ("The  Eiffel Tower!", "eiffel tower", True),
        ("Denver Broncos", ["broncos", "the denver broncos"], True),
        (["A cat", "dog."], ["cat", "Dog"], True),
        ("theory", "ory", False),
        ("A", "B", False),
        ("A", "a", True),
        ("!", "?", False),
        (12, "12", True),
        (None, "x", False),
    ],
)
def test_normalized_compares_as_squad_does(got: Any, expected: Any, same: bool) -> None:
    assert right(metric("normalized"), got, expected) is same


@pytest.mark.attack("number")
async def test_a_long_answer_is_compared_with_many_expected_texts_at_once() -> None:
    await asyncio.sleep(0)
    assert not right(metric("normalized"), "b a " * 10_000, [f"text {number}" for number in range(5_000)])


async def finds(pattern: str | None, got: Any, expected: Any = None, **parameters: Any) -> bool:
    of = metric("regex", {"pattern": pattern, **parameters})
    return (await of.measure_async(given(got, expected), Models(Scripted([])))).value == 1.0


async def test_regex_searches_or_matches_the_whole() -> None:
    assert await finds(r"\d+", "about 26 apples")
    assert not await finds(r"\d+", "about 26 apples", full=True)
    assert await finds("ABOUT", "about", ignore_case=True)
    assert await finds(None, ["one", "two"], "^one\ntwo$")
    assert await finds(r"(?<=€)(\d)\1", "it costs €33")
    assert not metric("regex", {"pattern": "x"}).needs_expected and metric("regex").needs_expected


def test_a_pattern_that_is_none_is_told_before_anything_is_asked() -> None:
    with pytest.raises(InputError, match=r"`pattern`: .* is not a regular expression"):
        metric("regex", {"pattern": "("})
    assert "is not a regular expression" in str(metric("regex").wrong_expected("("))
    assert "is not a regular expression" in str(metric("regex").wrong_expected(["a"]))


@pytest.mark.attack("regex")
async def test_a_pattern_that_finds_no_end_is_stopped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.workers.patterns.PATTERN_SECONDS", 0.3)
    with pytest.raises(ValueError, match=re.escape("the search for '(a+)+$' took longer than 0.3 seconds")):
        await finds(None, "a" * 40 + "b", "(a+)+$")


def test_contains_takes_one_text_or_any_or_all_of_several() -> None:
    assert right(metric("contains", {"text": "cat"}), "a cat")
    assert right(metric("contains", {"any": ["dog", "cat"]}), "a cat")
    assert not right(metric("contains", {"all": ["dog", "cat"]}), "a cat")
    assert not right(metric("contains"), "a Cat", "cat")
    assert right(metric("contains", {"ignore_case": True}), "a Cat", ["A", "cAT"])
    missing = metric("contains").measure(given("a cat", ["cat", "dog"]))
    assert missing.value == 0 and missing.detail == {"missing": ["dog"]}


@pytest.mark.parametrize("parameters", [{"text": ""}, {"any": []}, {"all": ["a", ""]}, {"text": "a", "all": ["b"]}])
def test_contains_refuses_what_says_nothing(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        metric("contains", parameters)


@pytest.mark.parametrize("expected", ["", [], [""], {"a": 1}, None, [["a"]]])
def test_contains_needs_a_text_to_look_for(expected: Any) -> None:
    assert metric("contains").wrong_expected(expected)


@pytest.mark.parametrize(
    ("got", "expected", "parameters", "right"),
    [
        ("26 apples", 26, {}, True),
        ("$1,234.50", "1234.5", {}, True),
        (0.51, 0.5, {"tolerance": 0.01}, True),
        (0.5101, 0.5, {"tolerance": 0.01}, False),
        (103, 100, {"relative": 0.03}, True),
        (-103.1, -100, {"relative": 0.03}, False),
        (104, 100, {"relative": 0.01, "tolerance": 4}, True),
        (10**400, 10**400 + 1, {"tolerance": 1}, True),
        (10**400, 1.0, {}, False),
        ("between 3 and 4", 3, {}, False),
        (True, 1, {}, False),
        (None, 0, {}, False),
        ([3], 3, {}, False),
        (float("nan"), 1, {"tolerance": 1e300}, False),
        (float("inf"), 1, {"tolerance": 1e300}, False),
    ],
)
def test_a_number_is_right_within_the_wider_tolerance(got: Any, expected: Any, parameters: Any, right: bool) -> None:
    assert metric("number", parameters).measure(given(got, expected)).value == float(right)


def test_a_wrong_number_says_how_far_off_it_is() -> None:
    assert metric("number").measure(given(5, 3.5)).detail == {"off": 1.5}
    assert "holds no number" in metric("number").measure(given("many", 5)).detail["problem"]


@pytest.mark.parametrize("expected", ["none", None, True, [1], float("nan")])
def test_what_is_expected_must_be_a_number(expected: Any) -> None:
    of = metric("number")
    assert of.wrong_expected(expected)
    with pytest.raises(ValueError):
        of.measure(given(1, expected))


@pytest.mark.parametrize("parameters", [{"tolerance": -1}, {"relative": float("nan")}, {"tolerance": float("inf")}])
def test_a_tolerance_is_a_finite_number_from_0(parameters: Any) -> None:
    with pytest.raises(ValidationError):
        metric("number", parameters)


@drawn(st.decimals(-1000, 1000, places=3), st.decimals(0, 10, places=3))
def test_the_edge_of_the_tolerance_is_right(expected: Any, tolerance: Any) -> None:
    of = metric("number", {"tolerance": float(tolerance)})
    assert of.measure(given(float(expected + tolerance), float(expected))).value == 1
