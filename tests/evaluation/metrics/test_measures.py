"""What needs no expected answer: length, tokens, time, form."""

from typing import Any

import pytest
from pydantic import ValidationError
from pytest import approx

from promptkit.evaluation.metrics.base import MetricInput
from tests.evaluation.metrics.given import between, given, metric, told


@pytest.mark.parametrize(
    ("got", "unit", "length"), [("two  words", "words", 2), ("five!", "characters", 5), (["a b", "c"], "words", 3)]
)
def test_length_counts_words_or_characters(got: Any, unit: str, length: int) -> None:
    of = metric("length", {"unit": unit})
    assert of.measure(given(got)).value == length
    assert of.bounds is None and not of.higher_is_better and not of.needs_expected


@pytest.mark.parametrize(("words", "keeps"), [(1, 0), (2, 1), (4, 1), (5, 0)])
def test_length_with_bounds_tells_whether_it_keeps_them(words: int, keeps: int) -> None:
    of = metric("length", {"min": 2, "max": 4})
    score = of.measure(given(" ".join(["word"] * words)))
    assert score.value == keeps and score.detail == {"length": words}
    assert of.bounds == (0, 1) and of.higher_is_better
    assert of.unanswered(given(None, flag="unparsed")).value == 0
    assert told(of, [given("a b c")] * 10).mean == 1


def test_bounds_that_nothing_keeps_are_refused() -> None:
    with pytest.raises(ValidationError, match="no length lies between"):
        metric("length", {"min": 3, "max": 2})


def test_tokens_and_seconds_are_measured_however_the_answer_is() -> None:
    cell = given(None, tokens_in=10, tokens_out=5, seconds=1.5, flag="unparsed")
    values = [metric("tokens", {"count": count}).unanswered(cell).value for count in ("in", "out", "all")]
    assert values == [10, 5, 15]
    assert metric("latency").unanswered(cell).value == 1.5


def with_call(cell: MetricInput, **call: Any) -> MetricInput:
    record = {"calls": [{"reply": "x", "thoughts": "", "seconds": 2.0, **call}]}
    cell.cell.read_trace = lambda: record
    return cell


def test_the_first_token_is_that_of_the_first_request() -> None:
    of = metric("first_token")
    assert of.measure(with_call(given("x"), first_token=0.25)).value == 0.25
    assert of.measure(with_call(given(""), reply="")).value == 2.0
    lacking = of.measure(with_call(given("x")))
    assert lacking.value is None and "does not report" in lacking.why
    assert of.measure(given("x")).value is None and not of.higher_is_better


def test_tokens_per_second_are_output_tokens_over_all_seconds() -> None:
    of = metric("tokens_per_second")
    assert of.measure(given("x", tokens_in=90, tokens_out=10, seconds=4.0)).value == 2.5
    assert of.measure(given("x", tokens_out=10)).value is None and of.higher_is_better
    fast, slow = ([given("x", tokens_out=tokens, seconds=1.0)] * 3 for tokens in (20, 10))
    found = between(of, fast, slow)
    assert found.difference == approx(2.0) and (found.better, found.worse) == (3, 0)


def test_format_is_whether_an_answer_parses_whole() -> None:
    cells = [given("a"), given(None, flag="unparsed"), given("b", flag="truncated"), given("c")]
    assert told(metric("format"), cells).mean == 0.5 and not metric("format").needs_expected


def test_tokens_have_a_median_and_a_95th_percentile_with_limits() -> None:
    found = told(metric("tokens"), [given("", tokens_out=tokens) for tokens in range(1, 101)])
    # Ranks 40 and 61 limit the median of 100 values.
    assert (found.mean, found.low, found.high) == (50.5, 40, 61)
    assert found.parts["mean_is"] == "median" and found.parts["average"] == 50.5
    assert found.parts["p95"]["value"] == approx(95.05) and found.parts["p95"]["low"] < 95 < found.parts["p95"]["high"]


def test_a_limit_that_few_rows_do_not_give_is_none() -> None:
    found = told(metric("latency"), [given("", seconds=seconds) for seconds in (1.0, 2.0, 3.0)])
    assert (found.mean, found.low, found.high) == (2, None, None)


def test_repeats_of_a_row_do_not_narrow_the_limits() -> None:
    of, rows = metric("tokens"), list(range(40))
    once = told(of, [given("", tokens_out=100 + row) for row in rows])
    five = told(
        of, [given("", tokens_out=100 + row) for row in rows for _ in range(5)], [row for row in rows for _ in range(5)]
    )
    assert once.low is not None and once.high is not None and five.low is not None and five.high is not None
    assert (five.n, five.clusters) == (200, 40)
    assert five.high - five.low >= once.high - once.low - 2


def test_what_takes_less_is_better_and_the_difference_is_a_ratio() -> None:
    half = [given("", tokens_out=50 + row) for row in range(30)]
    full = [given("", tokens_out=2 * (50 + row) + row % 2) for row in range(30)]
    found = between(metric("tokens"), half, full)
    assert found.is_ratio and found.difference == approx(0.5, abs=0.01) and found.high is not None and found.high < 0.6
    assert (found.better, found.worse) == (30, 0)


def test_where_all_is_nothing_there_is_no_ratio() -> None:
    found = between(metric("length"), [given("")] * 3, [given("a")] * 3)
    assert found.difference is None and "no ratio" in found.notes[0]
