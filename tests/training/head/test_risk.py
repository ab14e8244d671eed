"""The threshold by conformal risk control: its bound over many draws, and its edges."""

from __future__ import annotations

import numpy as np
import pytest

from promptkit.answers.head import ABOVE_ALL
from promptkit.training.head.risk import risk_threshold


@pytest.mark.parametrize(("rows", "risk"), [(20, 0.1), (50, 0.1), (100, 0.05), (100, 0.2)])
def test_the_expected_share_of_wrong_answers_is_at_most_the_risk(rows: int, risk: float) -> None:
    generator = np.random.default_rng(0)
    draws, tests = 4_000, 200
    shares = []
    for _ in range(draws):
        confidence = generator.uniform(0.5, 1.0, rows + tests)
        is_wrong = generator.random(rows + tests) > confidence**0.5  # overconfident or not does not matter
        threshold = risk_threshold(confidence[:rows], is_wrong[:rows], np.arange(rows), risk)
        shares.append(float((is_wrong[rows:] & (confidence[rows:] >= threshold)).mean()))
    error = float(np.std(shares)) / draws**0.5
    assert np.mean(shares) <= risk + 3 * error
    # And it is not idle: no more is left out than the finite sample asks for.
    assert np.mean(shares) >= min(risk - 2 / (rows + 1), 0.12) - 3 * error


@pytest.mark.parametrize(("rows", "answers"), [(8, False), (9, True)])
def test_a_head_of_too_few_rows_never_answers(rows: int, answers: bool) -> None:
    threshold = risk_threshold(np.full(rows, 0.9), np.zeros(rows, dtype=bool), np.arange(rows), 0.1)
    assert threshold == (0.0 if answers else ABOVE_ALL)


def test_the_first_wrong_row_that_is_one_too_many_is_not_answered() -> None:
    confidences = np.linspace(0.99, 0.6, 40)
    is_wrong = np.zeros(40, dtype=bool)
    is_wrong[[5, 10, 15, 20, 30]] = True
    threshold = risk_threshold(
        confidences, is_wrong, np.arange(40), 0.1
    )  # (3 + 1) / 41 is at most 0.1, not (4 + 1) / 41
    assert confidences[19] > threshold > confidences[20]
    assert threshold == pytest.approx(confidences[20])


def test_rows_of_a_cluster_count_as_one() -> None:
    confidences = np.linspace(0.99, 0.6, 40)
    is_wrong = np.zeros(40, dtype=bool)
    is_wrong[:20] = True
    clusters = np.concatenate([np.zeros(20, dtype=np.int64), np.arange(1, 21)])
    assert risk_threshold(confidences, is_wrong, clusters, 0.1) == 0.0
    assert risk_threshold(confidences, is_wrong, np.arange(40), 0.1) > 0.9
