"""A head: its probabilities, when it abstains, and the files that are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptkit.answers.head import ABOVE_ALL, Head, decide_by_head, head_file, numbers_text, read_head
from promptkit.errors import InputError
from promptkit.runtimes.base import HiddenState

SHARE = {"mean": 0.8, "low": 0.7, "high": 0.9}
COEFFICIENTS = np.array([[1.0, 0.0], [0.0, 2.0], [0.5, -1.0]])


def record(**changes: Any) -> dict[str, Any]:
    return {
        "pipeline": "mails",
        "step": "sort",
        "model": "embedded/tiny",
        "weights": "ab" * 32,
        "layer": 3,
        "pooling": "mean",
        "prompt": "0123456789abcdef",
        "labels": ["a", "b", "c"],
        "coefficients": numbers_text(COEFFICIENTS),
        "intercepts": numbers_text(np.array([0.0, -1.0, 0.25])),
        "temperature": 2.0,
        "penalty": 0.3,
        "risk": 0.1,
        "threshold": 0.5,
        "accuracy": SHARE,
        "tfidf": SHARE,
        "majority": SHARE,
        "cascade": {"answers": 0.5, "wrongly": 0.05, "among_answered": 0.9},
        "data": "0123456789abcdef",
        "seed": 0,
        "rows": ["0123456789abcdef"],
        **changes,
    }


def test_the_probabilities_are_those_of_the_logits_divided_by_the_temperature() -> None:
    found = decide_by_head(Head.model_validate(record()), (2.0, 3.0))
    logits = [2.0 / 2, 5.0 / 2, -1.75 / 2]
    whole = sum(map(math.exp, logits))
    expected = {label: logit - math.log(whole) for label, logit in zip("abc", logits, strict=True)}
    assert found.logprobs == pytest.approx(expected)


@pytest.mark.parametrize(("threshold", "abstains"), [(0.0, False), (0.7, False), (0.8, True), (ABOVE_ALL, True)])
def test_a_head_abstains_below_its_threshold(threshold: float, abstains: bool) -> None:
    head = Head.model_validate(record(threshold=threshold))
    found = decide_by_head(head, (2.0, 3.0))
    assert 0.7 < math.exp(max(found.logprobs.values())) < 0.8
    assert found.abstains == abstains


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="the vector has 3 numbers, the head takes 2"):
        decide_by_head(Head.model_validate(record()), (2.0, 3.0, 1.0))


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    head = Head.model_validate(record())
    file = head_file(tmp_path / "mails.sort")
    file.write_text(head.model_dump_json())
    assert file.name == "mails.sort.head.json"
    assert read_head(file) == head
    assert head.state == HiddenState(3, "mean")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": ["a", "b"]}, "do not fit 2 labels"),
        ({"labels": ["a", "a", "b"]}, "a label is there twice"),
        ({"intercepts": numbers_text(np.zeros(2))}, "do not fit 3 labels"),
        ({"coefficients": "no base64!"}, "`coefficients`"),
        ({"coefficients": numbers_text(np.array([[math.nan] * 3]))}, "a number is not finite"),
        ({"temperature": 0}, "`temperature`"),
        ({"threshold": -1}, "`threshold`"),
        ({"layer": 0}, "`layer`"),
        ({"pooling": "max"}, "`pooling`"),
        ({"prompt": "/home/someone"}, "`prompt`"),
        ({"rows": ["x" * 16]}, "`rows.0`"),
        ({"more": 1}, "`more`"),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    file = tmp_path / "mails.sort.head.json"
    file.write_text(json.dumps(record(**changes)))
    with pytest.raises(InputError, match=problem) as caught:
        read_head(file)
    assert caught.value.problems[0].hint == "`promptkit train --head` writes it anew"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "7", '{"temperature": NaN}'])
def test_a_file_that_is_no_head_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mails.sort.head.json"
    file.write_text(text)
    with pytest.raises(InputError):
        read_head(file)
