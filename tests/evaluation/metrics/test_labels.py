"""Accuracy, balanced accuracy and F1 over labels, against numbers worked out by hand."""

from collections.abc import Sequence
from typing import Any

import pytest
from pytest import approx

from promptkit.answers import build
from promptkit.errors import InputError
from promptkit.evaluation.metrics import Given, Score
from promptkit.evaluation.statistics import wilson
from tests.evaluation.metrics.given import between, given, metric, scored, told

MOODS = build({"label": ["good", "bad", "mixed"]})


def cells(*pairs: tuple[str, str], answer: Any = None, times: int = 1) -> list[Given]:
    """Return cells that expect the first and got the second; `?` is unparsed."""
    return times * [
        given(None, expected, flag="unparsed", answer=answer) if got == "?" else given(got, expected, answer=answer)
        for expected, got in pairs
    ]


# good: 3 of 4 found, 3 of 5 said; bad: 1 of 3 found, 1 of 1 said; mixed: 1 of 1 found, 1 of 1 said.
EIGHT = cells(
    *[("good", "good")] * 3, ("good", "?"), ("bad", "bad"), ("bad", "good"), ("bad", "good"), ("mixed", "mixed")
)
F1_GOOD, F1_BAD, F1_MIXED = 6 / 9, 2 / 4, 1.0


def test_accuracy_has_wilsons_interval_and_counts_an_unparsed_answer_as_wrong() -> None:
    found = told(metric("label"), EIGHT)
    assert found.mean == 5 / 8 and (found.n, found.clusters) == (8, 8)
    assert (found.low, found.high) == approx(wilson(5, 8))


def test_each_class_has_its_precision_and_recall_and_the_matrix_shows_all() -> None:
    parts = told(metric("label"), EIGHT).parts
    good, bad = parts["classes"]["good"], parts["classes"]["bad"]
    assert (good["n"], good["precision"], good["recall"], good["f1"]) == approx((4, 3 / 5, 3 / 4, F1_GOOD))
    assert (good["recall_low"], good["recall_high"]) == approx(wilson(3, 4))
    assert (bad["precision"], bad["recall"]) == (1, approx(1 / 3))
    assert parts["confusion"] == {
        "bad": {"bad": 1, "good": 2},
        "good": {"good": 3, "(unparsed)": 1},
        "mixed": {"mixed": 1},
    }


def test_classes_stand_in_the_order_of_the_answer_type() -> None:
    found = told(metric("label", answer=MOODS), EIGHT)
    assert list(found.parts["classes"]) == ["good", "bad", "mixed"]


def test_balanced_accuracy_is_the_mean_of_recalls_and_warns_of_few_rows() -> None:
    found = told(metric("balanced_accuracy"), EIGHT)
    assert found.mean == approx((3 / 4 + 1 / 3 + 1) / 3)
    assert any("good 4" in note and "mixed 1" in note for note in found.notes)


@pytest.mark.parametrize(
    ("average", "mean"),
    [("macro", (F1_GOOD + F1_BAD + F1_MIXED) / 3), ("micro", 5 / 8), ("good", F1_GOOD), ("bad", F1_BAD)],
)
def test_f1_of_all_classes_or_of_one(average: str, mean: float) -> None:
    assert told(metric("f1", {"average": average}), EIGHT).mean == approx(mean)


def test_f1_of_a_class_that_is_nowhere_is_undefined() -> None:
    found = told(metric("f1", {"average": "odd"}), EIGHT)
    assert found.mean is None and "undefined" in found.notes[0]


def test_f1_may_be_of_true() -> None:
    of = metric("f1", {"average": True}, answer=build("boolean"))
    assert told(
        of, [given(True, "yes", answer=build("boolean")), given(True, False, answer=build("boolean"))]
    ).mean == (approx(2 / 3))


def test_f1_of_a_label_that_the_answer_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean `mixed`"):
        metric("f1", {"average": "mixd"}, answer=MOODS)


def test_a_label_that_no_row_expects_is_left_out_and_named() -> None:
    two = cells(("good", "good"), ("bad", "mixed"), answer=MOODS)
    found = told(metric("balanced_accuracy", answer=MOODS), two)
    assert found.mean == 0.5 and "no row expects mixed: left out" in found.notes
    assert told(metric("f1", answer=MOODS), two).mean == 0.5


def test_a_predicted_label_that_no_class_has_is_wrong_and_shown() -> None:
    found = told(metric("label"), cells(("good", "good"), ("good", "great")))
    assert found.mean == 0.5 and found.parts["confusion"] == {"good": {"good": 1, "great": 1}}


def test_what_can_be_no_label_is_wrong_and_shown_by_its_kind() -> None:
    odd: Sequence[Any] = [None, "", ["good"], {"mood": "good"}]
    found = told(metric("label"), [given(got, "good") for got in odd])
    assert found.mean == 0
    assert found.parts["confusion"] == {"good": {"(nothing)": 2, "(list)": 1, "(object)": 1}}


def test_many_labels_that_are_no_class_are_counted_together() -> None:
    found = told(metric("label"), [given(f"text {number % 50}", "good") for number in range(100)])
    assert len(found.parts["confusion"]["good"]) == 21
    assert found.parts["confusion"]["good"]["(other labels)"] == 60


def test_a_cut_off_answer_is_counted_apart() -> None:
    score = metric("label").unanswered(given("goo", "good", flag="truncated"))
    assert score == Score(0.0, {"expected": "good", "predicted": "(truncated)"})


@pytest.mark.parametrize("expected", [None, "", " ", [], {"a": 1}, "gut"])
def test_an_expected_label_must_be_one_of_the_answers(expected: Any) -> None:
    of = metric("label", answer=MOODS)
    assert of.wrong_expected(expected)
    with pytest.raises(ValueError):
        of.measure(given("good", expected, answer=MOODS))


def test_numbers_and_booleans_are_labels() -> None:
    of, number = metric("label"), build("number")
    assert of.measure(given(2.0, "2", answer=number)).value == 1
    assert of.measure(given(True, "true")).value == 1
    assert of.measure(given(1, True)).value == 0


@pytest.mark.parametrize("word", ["label", "balanced_accuracy", "f1"])
def test_what_is_said_depends_neither_on_the_order_of_rows_nor_on_what_was_scored_before(word: str) -> None:
    fresh, used = metric(word), metric(word)
    scored(used, cells(("zeta", "eta"), ("mixed", "alpha")))
    first, second = told(fresh, EIGHT), told(used, EIGHT[::-1])
    assert (first.mean, first.low, first.high, first.parts) == (second.mean, second.low, second.high, second.parts)


@pytest.mark.parametrize("word", ["label", "balanced_accuracy", "f1"])
def test_of_no_cells_nothing_is_said(word: str) -> None:
    assert told(metric(word), cells(("a", "a"))[:1]).n == 1
    empty = scored(metric(word), cells(("a", "a")))
    nothing = type(empty)(empty.values[:0], empty.rows[:0], empty.clusters[:0])
    assert metric(word).estimate(nothing).mean is None and metric(word).difference(nothing, nothing) is None


@pytest.mark.parametrize(
    ("word", "parameters", "difference"),
    [
        ("label", {}, 0.25),
        ("balanced_accuracy", {}, 0.25),
        ("f1", {}, 1 - (2 / 3 + 0.8) / 2),
        ("f1", {"average": "micro"}, 0.25),
        ("f1", {"average": "good"}, 1 - 2 / 3),
    ],
)
def test_a_difference_is_between_the_same_rows(word: str, parameters: Any, difference: float) -> None:
    right = cells(("good", "good"), ("good", "good"), ("bad", "bad"), ("bad", "bad"), times=12)
    worse = cells(("good", "good"), ("good", "bad"), ("bad", "bad"), ("bad", "bad"), times=12)
    found = between(metric(word, parameters), right, worse)
    assert found.difference == approx(difference)
    assert found.low is not None and 0 < found.low < difference and found.p is not None and found.p < 0.01
    assert (found.better, found.worse, found.n) == (12, 0, 48)


def test_long_labels_that_begin_alike_are_not_the_same() -> None:
    begin = "the option that is long " * 10
    choice = build({"choice": [f"{begin}one", f"{begin}two"]})
    of = metric("label")
    assert of.measure(given(f"{begin}one", f"{begin}two", answer=choice)).value == 0
    assert of.measure(given(f"{begin}one", "A", answer=choice)).value == 1
