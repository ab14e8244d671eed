"""Offsets: reading them, and estimating them from scores."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.answers.calibration import (
    Calibration,
    best_label,
    check_calibration,
    label_shares,
    labelled_offsets,
    mean_offsets,
    probabilities,
    quantile_offsets,
    read_calibration,
)
from promptkit.errors import InputError


def rows(count: int, share: float, seed: int, bias: float = 1.5) -> tuple[list[dict[str, float]], list[str]]:
    """Return scores of a model that tells two labels apart but leans towards `good`, and the truth."""
    draw = random.Random(seed)
    truth = ["good" if draw.random() < share else "bad" for _ in range(count)]
    odds = [draw.gauss(0.77 if label == "good" else -0.77, 1) + bias for label in truth]
    return [{"good": value / 2 - 3, "bad": -value / 2 - 3} for value in odds], truth


def accuracy(scores: list[dict[str, float]], truth: list[str], offsets: dict[str, float]) -> float:
    calibration = Calibration("batch", offsets)
    given = [best_label(calibration.corrected(row)) for row in scores]
    return sum(a == b for a, b in zip(given, truth, strict=True)) / len(truth)


@pytest.mark.parametrize("share", [0.5, 0.3, 0.1])
def test_each_estimate_wins_back_what_the_bias_costs(share: float) -> None:
    seen, labels = rows(200, share, seed=1)
    fresh, truth = rows(4000, share, seed=2)
    plain = accuracy(fresh, truth, {})
    shares = label_shares(labels, ["good", "bad"])
    assert accuracy(fresh, truth, mean_offsets(seen, shares)) > plain + 0.1
    assert accuracy(fresh, truth, quantile_offsets(seen, shares["good"])) > plain + 0.1
    assert accuracy(fresh, truth, labelled_offsets(seen, labels)) > plain + 0.1


def test_batch_offsets_divide_by_the_mean_probability_of_each_label() -> None:
    offsets = mean_offsets([{"a": math.log(0.8), "b": math.log(0.2)}])
    assert offsets["b"] - offsets["a"] == pytest.approx(math.log(4), abs=1e-5)
    assert sum(offsets.values()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_quantile_gives_the_first_label_its_share(share: float) -> None:
    seen, _ = rows(40, 0.5, seed=3)
    offsets = Calibration("quantile", quantile_offsets(seen, share))
    given = Counter(best_label(offsets.corrected(row)) for row in seen)
    assert given["good"] == 40 * share


def test_labelled_offsets_tell_three_labels_apart() -> None:
    draw = random.Random(5)
    labels = [draw.choice("abc") for _ in range(60)]
    bias = {"a": 5.0, "b": 0.0, "c": -4.0}
    seen = [{name: bias[name] + (2.0 if name == label else 0.0) for name in "abc"} for label in labels]
    assert accuracy(seen, labels, {}) < 0.5
    assert accuracy(seen, labels, labelled_offsets(seen, labels)) == 1.0


@given(st.lists(st.tuples(st.floats(-50, 0), st.floats(-50, 0), st.sampled_from("ab")), min_size=1, max_size=12))
def test_labelled_offsets_never_do_worse_than_none(drawn: list[tuple[float, float, str]]) -> None:
    seen = [{"a": first, "b": second} for first, second, _ in drawn]
    labels = [label for _, _, label in drawn]
    offsets = labelled_offsets(seen, labels)
    assert all(math.isfinite(value) for value in offsets.values())
    close = any(0 < abs(first - second) < 1e-3 for first, second, _ in drawn)
    assert close or accuracy(seen, labels, offsets) >= accuracy(seen, labels, {}) - 1 / len(drawn)


def test_shares_count_each_label_once_more() -> None:
    assert label_shares(["a", "a", "b"], ["a", "b", "c"]) == {"a": 0.5, "b": 2 / 6, "c": 1 / 6}


def test_probabilities_are_over_the_labels_alone() -> None:
    shares = probabilities({"a": math.log(0.02), "b": math.log(0.06)})
    assert shares == {"a": pytest.approx(0.25), "b": pytest.approx(0.75)}
    assert probabilities({"a": -1e9, "b": -1e9}) == {"a": 0.5, "b": 0.5}


def test_of_equal_labels_the_first_wins() -> None:
    assert best_label({"b": -1.0, "a": -1.0}) == "b"


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("batch", "mapping"),
        ({"method": "bach", "offsets": {"a": 1}}, "did you mean `batch`"),
        ({"method": "batch", "offset": {"a": 1}}, "did you mean `offsets`"),
        ({"method": "batch", "offsets": [1]}, "mapping of label"),
        ({"method": "batch", "offsets": {"a": "1"}}, "must be a number"),
        ({"method": "batch", "offsets": {"a": float("nan")}}, "must be a number"),
        ({"method": "batch", "offsets": {"positiv": 1.0}}, "did you mean `positive`"),
        ({"method": "batch"}, "no offsets"),
        ({"method": ["batch"], "offsets": {"positive": 1}}, "no method"),
        ({"method": "contextual", "offsets": {"positive": 1}}, "`contextual` is gone; `promptkit tune` finds offsets"),
        ({"method": "batch", "offsets": {"positive": 1}, "model": "embeded/smollm2"}, "embeded"),
    ],
)
def test_a_wrong_calibration_is_refused(spec: Any, fault: str) -> None:
    with pytest.raises(InputError) as raised:
        read_calibration(spec, ("positive", "negative"))
    assert fault in str(raised.value)


def test_a_method_without_offsets_is_checked_for_its_name_and_read_with_them() -> None:
    assert check_calibration({"method": "batch"}) == []
    assert read_calibration({"method": "batch", "offsets": {"a": 1}}, ("a", "b")) == Calibration("batch", {"a": 1.0})


def test_offsets_hold_for_the_model_that_they_name() -> None:
    spec = {"method": "batch", "offsets": {"a": 1}}
    of_model = read_calibration({**spec, "model": "embedded/smollm2"}, ("a", "b"))
    assert (of_model.holds_for("embedded/smollm2"), of_model.holds_for("ollama/smollm2:135m")) == (True, False)
    assert read_calibration(spec, ("a", "b")).holds_for("ollama/smollm2:135m")
