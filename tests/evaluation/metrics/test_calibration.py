"""Brier's score and the calibration error, of probabilities that a trace has."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from promptkit.answers import build
from promptkit.engine import trace_record
from promptkit.evaluation.metrics import Given
from promptkit.runtimes import Alternative, Reply, Request, Scripted, Token
from tests.engine.helpers import Folder
from tests.evaluation.metrics.given import given, metric, scored, told

MOOD = build({"label": ["positive", "negative"]})


def step(name: str = "mood", **extra: Any) -> dict[str, Any]:
    return {"name": name, "kind": "step", "extra": extra, "parts": []}


def cell(positive: float, expected: Any = "positive", **extra: Any) -> Given:
    scores = {"positive": log(positive), "negative": log(1 - positive)}
    trace = {"parts": [step(scores=scores, outside=[], **extra)]}
    output = "positive" if positive >= 0.5 else "negative"
    return given(output, expected, answer=MOOD, trace=lambda: trace)


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
        cells.append(given(expected, expected, trace=lambda trace=trace: trace))
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
        ([step(scores={"a": 0.0, "b": -1.0})], {}, "none of the labels"),
    ],
)
def test_a_cell_without_probabilities_says_why(parts: list[Any], parameters: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric("calibration", parameters).measure(given("c", "c", trace=lambda: {"parts": parts}))


def test_a_step_is_named_where_several_have_probabilities() -> None:
    parts = [step("one", scores={"a": 0.0, "b": -9.0}), step("two", scores={"a": -9.0, "b": 0.0})]
    score = metric("calibration", {"step": "two"}).measure(given("a", "a", trace=lambda: {"parts": parts}))
    assert score.value == pytest.approx(1, abs=0.01)


def test_labels_that_the_model_did_not_show_are_told_where_they_are_many() -> None:
    cells = [cell(0.9) for _ in range(9)]
    trace = {"parts": [step(scores={"positive": -0.1, "negative": -3.0}, outside=["negative"])]}
    cells.append(given("positive", "positive", trace=lambda: trace))
    assert any("did not show" in note for note in told(metric("calibration"), cells).notes)


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
    answer = build({"label": ["good", "bad"]})
    score = metric("calibration").measure(given(result.output, "good", answer=answer, trace=lambda: record))
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
