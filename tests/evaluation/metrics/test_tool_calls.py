"""The metric of tool calls: names, arguments, order and number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from pydantic import ValidationError

from promptkit.evaluation.metrics.tool_calls import expected_calls
from tests.evaluation.metrics.given import given, metric, scored

BOOK = {"name": "book", "arguments": {"day": "Friday", "guests": 2}}
PAY = {"name": "pay", "arguments": {"sum": 20.0}}
SEARCH = {"name": "search", "arguments": {"query": "tables"}}


def score(made: list[Any], expected: Any, **parameters: Any) -> float:
    value = metric("tool_calls", parameters).measure(given(made, expected)).value
    assert value is not None
    return value


def test_the_calls_are_the_expected_ones_in_their_order() -> None:
    assert score([BOOK, PAY], [BOOK, PAY]) == 1
    assert score([PAY, BOOK], [BOOK, PAY]) == 0
    assert score([BOOK], [BOOK, PAY]) == 0
    assert score([BOOK, PAY, PAY], [BOOK, PAY]) == 0
    assert score([], []) == 1 and score([PAY], []) == 0


def test_without_an_order_calls_come_in_any() -> None:
    assert score([PAY, BOOK], [BOOK, PAY], ordered=False) == 1
    assert score([PAY, PAY], [BOOK, PAY], ordered=False) == 0


def test_extra_calls_may_stand_between_the_expected_ones() -> None:
    assert score([SEARCH, BOOK, SEARCH, PAY], [BOOK, PAY], extra=True) == 1
    assert score([SEARCH, PAY, SEARCH, BOOK], [BOOK, PAY], extra=True) == 0
    assert score([SEARCH, PAY, SEARCH, BOOK], [BOOK, PAY], extra=True, ordered=False) == 1
    assert score([SEARCH, BOOK, PAY], [BOOK, PAY], tools=["book", "pay"]) == 1


def test_arguments_are_equal_or_contain_the_expected_ones_or_do_not_matter() -> None:
    part = [{"name": "book", "arguments": {"day": "Friday"}}]
    other = [{"name": "book", "arguments": {"day": "Monday"}}]
    assert [score([BOOK], part, arguments=how) for how in ("equal", "subset", "any")] == [0, 1, 1]
    assert [score([BOOK], other, arguments=how) for how in ("equal", "subset", "any")] == [0, 0, 1]
    assert score([BOOK], [{"name": "book"}]) == 1 and score([BOOK], ["book"]) == 1


def test_a_number_is_within_the_tolerance_and_equals_its_text() -> None:
    near = [{"name": "pay", "arguments": {"sum": 20.4}}]
    assert score([PAY], near) == 0 and score([PAY], near, tolerance=0.5) == 1
    assert score([{"name": "pay", "arguments": {"sum": "20"}}], [PAY]) == 1
    assert score([{"name": "pay", "arguments": {"sum": "20 or so"}}], [PAY]) == 0


def test_nested_numbers_are_within_the_tolerance_too() -> None:
    made = [{"name": "move", "arguments": {"to": {"x": 1.0, "y": [2.0]}}}]
    expected = [{"name": "move", "arguments": {"to": {"x": 1.01, "y": [1.99]}}}]
    assert score(made, expected) == 0 and score(made, expected, tolerance=0.02) == 1


def test_bounds_of_the_number_need_no_expected_calls() -> None:
    assert not metric("tool_calls", {"max": 1}).needs_expected and metric("tool_calls").needs_expected
    assert [score([BOOK] * count, None, min=1, max=2) for count in range(4)] == [0, 1, 1, 0]
    assert score([BOOK, BOOK], [BOOK], extra=True, max=1) == 0
    with pytest.raises(ValidationError, match="no number of calls"):
        metric("tool_calls", {"min": 2, "max": 1})


FAILED = {**BOOK, "failure": "closed"}
REFUSED = {**PAY, "failure": "is not allowed here", "refused": True}


def test_failed_and_refused_calls_are_bounded_apart() -> None:
    made = [FAILED, REFUSED, BOOK]
    bounds = [{"max_failed": 1}, {"max_failed": 0}, {"max_refused": 1}, {"max_refused": 0}]
    assert [score(made, None, **bound) for bound in bounds] == [1, 0, 1, 0]
    assert score([BOOK], None, max_failed=0, max_refused=0) == 1
    assert not metric("tool_calls", {"max_refused": 0}).needs_expected
    detail = metric("tool_calls").measure(given(made, [BOOK])).detail
    assert (detail["failed"], detail["refused"]) == (1, 1)


def test_calls_of_one_reply_are_one_round() -> None:
    made = [{**BOOK, "step": "a", "level": level} for level in (1, 1, 2)] + [{**BOOK, "step": "b", "level": 1}]
    assert [score(made, None, max_rounds=most) for most in (2, 3)] == [0, 1]
    assert score([BOOK], None, max_rounds=0) == 1  # a tool step has no rounds


def test_the_detail_names_missing_and_extra_calls() -> None:
    detail = metric("tool_calls").measure(given([SEARCH, PAY], [BOOK, PAY])).detail
    assert detail["missing"] == ['book(day="Friday", guests=2)']
    assert detail["extra"] == ['search(query="tables")']
    assert detail["got"] == 'search(query="tables"), pay(sum=20.0)'
    assert detail["counts"] == {"matched": 1, "expected": 2, "called": 2}


def test_precision_and_recall_are_means_over_the_rows_that_have_calls() -> None:
    kind = metric("tool_calls", {"ordered": False})
    rows = [([BOOK, SEARCH], [BOOK]), ([BOOK], [BOOK, PAY]), ([], [BOOK]), ([], [])]
    found = kind.estimate(scored(kind, [given(*row) for row in rows]))
    assert found.mean == 0.25
    assert found.parts["precision"]["mean"] == pytest.approx(0.75) and found.parts["precision"]["n"] == 2
    assert found.parts["recall"]["mean"] == pytest.approx(0.5) and found.parts["recall"]["n"] == 3


def test_an_answer_that_does_not_parse_made_none_of_the_expected_calls() -> None:
    kind = metric("tool_calls")
    cell = given(None, [BOOK], flag="unparsed")
    assert kind.unanswered(cell).value == 0
    assert kind.estimate(scored(kind, [cell])).parts["recall"]["mean"] == 0


@pytest.mark.parametrize(
    "expected",
    [
        "book",
        {"name": "book"},
        [1],
        [{"arguments": {}}],
        [{"name": "book", "arguments": [1]}],
        [{"name": "b", "args": 1}],
    ],
)
def test_what_is_expected_is_a_list_of_calls(expected: Any) -> None:
    assert metric("tool_calls").wrong_expected(expected)


def test_a_text_of_a_table_is_read_as_json() -> None:
    assert [call.name for call in expected_calls('[{"name": "book"}, "pay"]')] == ["book", "pay"]


def test_what_of_reads_must_be_calls() -> None:
    with pytest.raises(ValueError, match="is not a call"):
        metric("tool_calls").measure(given("booked", [BOOK]))


CALLS = st.lists(st.sampled_from("abc"), max_size=5)


def calls(names: Any) -> list[dict[str, Any]]:
    return [{"name": name, "arguments": {}} for name in names]


@drawn(CALLS, CALLS)
def test_matches_are_the_most_that_there_can_be(expected: list[str], made: list[str]) -> None:
    counts = metric("tool_calls", {"ordered": False}).measure(given(calls(made), calls(expected))).detail["counts"]
    assert counts["matched"] == sum(min(expected.count(name), made.count(name)) for name in "abc")
    ordered = metric("tool_calls").measure(given(calls(made), calls(expected))).detail["counts"]["matched"]
    best = max(
        length
        for length in range(len(expected) + 1)
        for kept in {tuple(one) for one in _subsequences(expected) if len(one) == length} or {()}
        if not length or tuple(kept) in _subsequences(made)
    )
    assert ordered == best


def _subsequences(items: list[str]) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = {()}
    for item in items:
        found |= {(*one, item) for one in found}
    return found


@drawn(st.permutations([BOOK, PAY, SEARCH]))
def test_every_order_is_right_without_one(made: list[Any]) -> None:
    assert score(made, [BOOK, PAY, SEARCH], ordered=False) == 1
    assert score(made, [BOOK, PAY, SEARCH]) == float(made == [BOOK, PAY, SEARCH])
