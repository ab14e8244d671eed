"""Accuracy, balanced accuracy and F1 over labels, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from pytest import approx

from promptkit.answers.build import build_answer_type
from promptkit.engine.results import trace_record
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import MetricInput
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.statistics.interval import wilson
from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder
from tests.evaluation.metrics.given import between, given, metric, scored, told

MOODS = build_answer_type({"label": ["good", "bad", "mixed"]})


def cells(*pairs: tuple[str, str], answer: Any = None, times: int = 1) -> list[MetricInput]:
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
    of = metric("f1", {"average": True}, answer=build_answer_type("boolean"))
    assert told(
        of,
        [
            given(True, "yes", answer=build_answer_type("boolean")),
            given(True, False, answer=build_answer_type("boolean")),
        ],
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
    of, number = metric("label"), build_answer_type("number")
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
    choice = build_answer_type({"choice": [f"{begin}one", f"{begin}two"]})
    of = metric("label")
    assert of.measure(given(f"{begin}one", f"{begin}two", answer=choice)).value == 0
    assert of.measure(given(f"{begin}one", "A", answer=choice)).value == 1


MOOD = build_answer_type({"label": ["positive", "negative"]})


def step(name: str = "mood", **extra: Any) -> dict[str, Any]:
    return {"name": name, "kind": "step", "extra": extra, "parts": []}


def cell(positive: float, expected: Any = "positive", **extra: Any) -> MetricInput:
    scores = {"positive": log(positive), "negative": log(1 - positive)}
    trace = {"parts": [step(scores=scores, outside=[], **extra)]}
    output = "positive" if positive >= 0.5 else "negative"
    return given(output, expected, answer=MOOD, read_trace=lambda: trace)


@pytest.mark.parametrize(("positive", "expected", "brier"), [(0.8, "positive", 0.04), (0.8, "negative", 0.64)])
def test_brier_of_two_labels_is_the_square_of_what_is_lacking(positive: float, expected: str, brier: float) -> None:
    score = metric("calibration").measure(cell(positive, expected))
    assert score.value == pytest.approx(brier)
    assert score.detail["right"] == (expected == "positive")


def test_brier_of_more_labels_is_half_the_sum_of_squares() -> None:
    shares = [{"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.1, "b": 0.2, "c": 0.7}]
    cells = []
    for expected, share in zip("ac", shares, strict=True):
        trace = {"parts": [step(scores={label: log(each) for label, each in share.items()})]}
        cells.append(given(expected, expected, read_trace=lambda trace=trace: trace))
    assert told(metric("calibration"), cells).mean == pytest.approx((0.38 + 0.14) / 2 / 2)


def test_probabilities_are_those_that_the_step_decided_by() -> None:
    score = metric("calibration").measure(cell(0.5, offsets={"positive": log(3), "negative": 0.0}))
    assert score.detail["probabilities"] == {"positive": 0.75, "negative": 0.25}


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    # 0.9 sure and right in half of the cells, 0.6 sure and right in all.
    cells = [cell(0.9, "positive" if n % 2 else "negative") for n in range(16)] + [cell(0.6) for _ in range(14)]
    found = told(metric("calibration"), cells)
    assert found.parts["ece"] == pytest.approx(0.4)
    assert len(found.parts["bins"]) == 15 and sum(each["n"] for each in found.parts["bins"]) == 30
    assert any("Brier" in note for note in found.notes)


def test_lower_is_better_and_an_answer_that_is_none_is_the_worst() -> None:
    of = metric("calibration")
    unparsed = given(None, "positive", flag="unparsed")
    assert not of.higher_is_better and of.unanswered(unparsed).value == 1
    found = told(of, [cell(0.9), unparsed])
    assert found.mean == pytest.approx((0.01 + 1) / 2) and sum(each["n"] for each in found.parts["bins"]) == 1


@pytest.mark.parametrize(
    ("parts", "parameters", "message"),
    [
        ([], {}, "decide: score"),
        ([step()], {}, "decide: score"),
        ([step(scores={"a": 0.0}, votes=[])], {}, "decide: score"),
        ([step("one", scores={"a": 0.0}), step("two", scores={"a": 0.0})], {}, "one, two"),
        ([step("one", scores={"a": 0.0})], {"step": "two"}, "`two`"),
        ([step(scores={"a": 0.0, "b": -1.0})], {}, "not one of the labels"),
    ],
)
def test_a_cell_without_probabilities_says_why(parts: list[Any], parameters: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric("calibration", parameters).measure(given("c", "c", read_trace=lambda: {"parts": parts}))


def test_a_step_is_named_where_several_have_probabilities() -> None:
    parts = [step("one", scores={"a": 0.0, "b": -9.0}), step("two", scores={"a": -9.0, "b": 0.0})]
    score = metric("calibration", {"step": "two"}).measure(given("a", "a", read_trace=lambda: {"parts": parts}))
    assert score.value == pytest.approx(1, abs=0.01)


def test_labels_that_the_model_did_not_show_are_told_where_they_are_many() -> None:
    cells = [cell(0.9) for _ in range(9)]
    trace = {"parts": [step(scores={"positive": -0.1, "negative": -3.0}, outside=["negative"])]}
    cells.append(given("positive", "positive", read_trace=lambda: trace))
    assert any("some labels have no probability" in note for note in told(metric("calibration"), cells).notes)


async def test_the_trace_of_a_run_has_what_is_needed(folder: Folder) -> None:
    def script(request: Request) -> Reply:
        shown = tuple(Alternative(f" {label}".encode(), log(share)) for label, share in (("good", 0.25), ("bad", 0.75)))
        return Reply(text=" bad", tokens=(Token(b" bad", log(0.75), shown),))

    pipeline = """
    inputs: {text: {}}
    steps:
      mood:
        prompt: "{{ text }}"
        answer: {label: [good, bad]}
        decide: score
        calibrate: {method: labelled, offsets: {good: 1.0986122886681098, bad: 0}}
    """
    result = await folder.run(pipeline, Scripted(script), {"text": "so so"})
    record = trace_record(result.trace)
    answer = build_answer_type({"label": ["good", "bad"]})
    score = metric("calibration").measure(given(result.output, "good", answer=answer, read_trace=lambda: record))
    assert score.detail["probabilities"] == {"good": 0.5, "bad": 0.5}


@drawn(st.lists(st.tuples(st.floats(0.001, 0.999), st.sampled_from(["positive", "negative"])), min_size=1, max_size=40))
def test_score_and_error_stay_within_their_bounds(cells: list[tuple[float, str]]) -> None:
    of = metric("calibration")
    found = of.estimate(scored(of, [cell(*each) for each in cells]))
    assert found.mean is not None and 0 <= found.mean <= 1
    assert 0 <= found.parts["ece"] <= 1


def test_an_expected_answer_that_is_no_label_is_told_before_the_run() -> None:
    of = metric("calibration", answer=MOOD)
    assert "positve" in (of.wrong_expected("positve") or "") and of.wrong_expected("Positive") is None
