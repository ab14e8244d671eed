"""What repeats say together: agreement, pass@k and pass^k."""

from __future__ import annotations

from math import comb
from typing import Any

import pytest
from hypothesis import assume, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from promptkit.answers.build import build_answer_type
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import MetricInput
from promptkit.evaluation.statistics.agreement import krippendorff_alpha
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Given as Models
from tests.evaluation.metrics.given import given, metric, scored, told


def answers(rows: list[list[Any]], **cell: Any) -> tuple[list[MetricInput], list[int]]:
    """Return the cells of rows of answers, and the row of each."""
    cells = [given(answer, **cell) for row in rows for answer in row]
    return cells, [number for number, row in enumerate(rows) for _ in row]


def test_full_agreement_is_one_and_chance_is_about_none() -> None:
    assert told(metric("agreement"), *answers([["a", "a"], ["b", "b"], ["c", "c"]])).mean == 1
    assert told(metric("agreement"), *answers([["a", "b"], ["b", "a"], ["a", "b"]])).mean == pytest.approx(-2 / 3)


@settings(max_examples=20)
@drawn(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4), min_size=2, max_size=12))
def test_alpha_is_krippendorffs_whatever_the_rows(rows: list[list[str]]) -> None:
    pairs = [(ord(answer), number) for number, row in enumerate(rows) for answer in row]
    theirs = krippendorff_alpha([value for value, _ in pairs], [row for _, row in pairs])
    assume(theirs == theirs)
    found = told(metric("agreement"), *answers(list(rows)))
    assert found.mean == pytest.approx(theirs)
    if found.low is not None and found.high is not None:
        assert -1 <= found.low <= found.high <= 1


def test_answers_are_the_same_where_their_type_says_so() -> None:
    number = build_answer_type("number")
    assert told(metric("agreement"), *answers([[26, 26.0], [3, 3]], answer=number)).mean == 1
    assert told(metric("agreement"), *answers([[{"a": 1, "b": 2.0}, {"b": 2, "a": 1}], [1, 1]])).mean == 1


def test_an_unparsed_answer_is_one_of_its_own() -> None:
    cells, rows = answers([["a", "a"], ["b", "b"]])
    cells[1] = given(None, flag="unparsed")
    assert told(metric("agreement"), cells, rows).mean != 1


@pytest.mark.parametrize(("rows", "note"), [([["a"], ["b"]], "repeat: 2"), ([["a", "a"], ["a", "a"]], "not defined")])
def test_where_alpha_says_nothing_the_estimate_says_why(rows: list[list[str]], note: str) -> None:
    found = told(metric("agreement"), *answers(rows))
    assert found.mean is None and any(note in each for each in found.notes)


def test_ten_thousand_different_answers_are_no_matter() -> None:
    found = told(metric("agreement"), *answers([[f"answer {n}", f"other {n}"] for n in range(5_000)]))
    assert found.mean == pytest.approx(0, abs=0.001)


def test_agreement_of_a_handful_of_rows_has_no_interval() -> None:
    found = told(metric("agreement"), *answers([["a", "a"], ["b", "b"], ["a", "a"]]))
    assert (found.mean, found.low, found.high) == (1, None, None)
    assert "fewer than 10 rows" in found.notes[0]


def test_agreement_is_not_compared() -> None:
    of = metric("agreement")
    sample = scored(of, *answers([["a", "a"]]))
    assert of.difference(sample, sample) is None


def right(*rows: str) -> tuple[list[MetricInput], list[int]]:
    """Return the cells of rows, `1` for a right answer and `0` for a wrong one."""
    return answers([["a" if each == "1" else "b" for each in row] for row in rows])


def expecting(cells: list[MetricInput]) -> list[MetricInput]:
    return [MetricInput(cell.got, "a", cell.cell) for cell in cells]


@pytest.mark.parametrize(("word", "value"), [("pass_at", 1 - comb(2, 2) / comb(5, 2)), ("pass_all", 3 / 10)])
def test_a_row_is_scored_over_all_ways_to_draw_k(word: str, value: float) -> None:
    cells, rows = right("11100", "11111")
    found = told(metric(word, {"k": 2}), expecting(cells), rows)
    assert found.mean == pytest.approx((value + 1) / 2)
    assert (found.n, found.clusters, found.parts["rows"], found.parts["k"]) == (10, 2, 2, 2)


def test_rows_without_k_answers_are_left_out_and_told() -> None:
    cells, rows = right("111", "1")
    found = told(metric("pass_at", {"k": 3}), expecting(cells), rows)
    assert (found.n, found.parts["rows"]) == (3, 1) and any("1 rows with fewer than 3" in note for note in found.notes)


def test_too_few_repeats_say_what_to_set() -> None:
    cells, rows = right("11", "10")
    found = told(metric("pass_all", {"k": 5}), expecting(cells), rows)
    assert found.mean is None and "`repeat: 5`" in found.notes[0]


def test_variants_are_compared_by_rows_not_cells() -> None:
    of = metric("pass_at", {"k": 2})
    good, bad = right(*["110"] * 12), right(*["000"] * 12)
    found = of.difference(scored(of, expecting(good[0]), good[1]), scored(of, expecting(bad[0]), bad[1]))
    assert found is not None and (found.n, found.better, found.worse) == (12, 12, 0)
    assert found.low is not None and found.low > 0


def test_another_metric_of_the_suite_tells_what_is_right() -> None:
    close = metric("number", {"tolerance": 1}, name="close")
    of = metric("pass_at", {"k": 1, "metric": "close"}, others={"close": close})
    assert of.measure(given(4, 5)).value == 1 and of.measure(given(4, 9)).value == 0
    assert close.key in of.key


def test_only_the_best_score_is_right() -> None:
    of = metric("pass_at", {"k": 1, "metric": "near"}, others={"near": metric("edit")})
    assert [of.measure(given(got, "cat")).value for got in ("cat", "cap")] == [1, 0]


CODE = {"tests": "assert x == 1", "backend": "monty"}


async def test_a_metric_that_waits_is_waited_for() -> None:
    of = metric("pass_all", {"k": 1, "metric": "runs"}, others={"runs": metric("code", CODE)})
    assert of.asks and of.costly
    assert (await of.measure_async(given("x = 1"), Models(Scripted([])))).value == 1
    assert (await of.measure_async(given("import numpy"), Models(Scripted([])))).value is None


@pytest.mark.parametrize("named", ["absent", "tokens", "agree"])
def test_a_metric_that_tells_no_right_from_wrong_is_an_error(named: str) -> None:
    with pytest.raises(InputError, match=named):
        metric("pass_at", {"k": 1, "metric": named}, others={"tokens": metric("tokens"), "agree": metric("agreement")})
