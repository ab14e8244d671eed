"""A judge's numbers corrected by labels: which labels correct it, and what is said where none does."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from promptkit.evaluation.metrics.base import Estimate
from promptkit.evaluation.metrics.label_correction import NO_RANDOM_LABEL, ONE_SIDE, LabelledSample
from promptkit.evaluation.statistics.interval import wilson
from tests.evaluation.metrics.given import sample

JUDGED = Estimate(mean=5.0, low=4.9, high=5.0, n=100, clusters=100, notes=("kept",))


def labelled(scores: list[float], labels: list[float], at_random: bool | list[bool] = True) -> LabelledSample:
    """Scores from 1 to 5 of two levels, and labels from 0 to 1."""
    return LabelledSample(
        sample(scores), np.array(labels), np.array(at_random) & ~np.isnan(labels), (1.0, 5.0), binary=True
    )


def test_a_mean_is_in_the_judges_units() -> None:
    found = labelled([5.0] * 100, [1.0] * 30 + [0.0] * 10 + [nan] * 60).estimate(JUDGED)

    low, high = wilson(30, 40)
    assert (found.mean, found.low, found.high) == pytest.approx((4.0, 1 + 4 * low, 1 + 4 * high))
    assert found.notes == ("kept",)


def test_labels_that_were_chosen_do_not_stand_for_other_answers() -> None:
    chosen = labelled([5.0] * 100, [0.0] * 40 + [nan] * 60, at_random=False).estimate(JUDGED)

    assert chosen.mean == pytest.approx(0.4 * 1 + 0.6 * 5)
    assert NO_RANDOM_LABEL in chosen.notes


@pytest.mark.parametrize(("drawn", "noted"), [(5, True), (19, True), (20, False)])
def test_few_labels_drawn_at_random_beside_chosen_ones_are_said(drawn: int, noted: bool) -> None:
    labels = [1.0] * 50 + [nan] * 50
    found = labelled([5.0] * 100, labels, at_random=[row < drawn for row in range(100)]).estimate(JUDGED)

    assert any(f"only {drawn} of 50 labels were drawn at random" in note for note in found.notes) == noted


def test_a_difference_is_corrected_where_both_variants_have_labels() -> None:
    # The judge prefers the first; people see no difference.
    labels = [1.0, 0.0] * 20 + [nan] * 60
    first, second = labelled([5.0] * 100, labels), labelled([1.0] * 100, labels)
    found = first.difference(second, 0.95)

    assert found is not None and found.difference == pytest.approx(0)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("other", "notes"),
    [
        (labelled([1.0] * 100, [nan] * 100), (ONE_SIDE,)),
        (labelled([1.0] * 100, [0.0] * 10 + [nan] * 90, at_random=False), (ONE_SIDE,)),
    ],
)
def test_a_difference_of_which_one_side_alone_has_labels_is_the_judges(
    other: LabelledSample, notes: tuple[str, ...]
) -> None:
    found = labelled([5.0] * 100, [1.0] * 40 + [nan] * 60).difference(other, 0.95)

    assert found is not None and found.difference == pytest.approx(4)
    assert found.notes == notes


def test_without_labels_nothing_is_said_of_them() -> None:
    none = labelled([5.0] * 40, [nan] * 40)
    found = none.difference(labelled([1.0] * 40, [nan] * 40), 0.95)

    assert found is not None and found.notes == ()


def test_no_cells_have_no_difference() -> None:
    none = labelled([], [])

    assert none.difference(none, 0.95) is None
