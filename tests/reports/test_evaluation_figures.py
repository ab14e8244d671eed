"""Values and differences in no more digits than their intervals support."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.metrics.estimation import Proportion
from promptkit.evaluation.metrics.registry import kind_named, kinds
from promptkit.evaluation.record import DifferenceRecord, MetricRecord
from promptkit.reports.evaluation.figures import (
    PERCENTAGE_KINDS,
    decimals_of,
    difference_parts,
    metric_text,
    number_text,
    p_text,
    verdict_of,
)


def metric(mean: float | None, low: float | None, high: float | None, **more: Any) -> MetricRecord:
    return MetricRecord(**{"kind": "label", "bounds": [0, 1], "mean": mean, "low": low, "high": high, **more})


RATIO = MetricRecord(kind="tokens", bounds=None, higher_is_better=False)


class TestMetricText:
    @pytest.mark.parametrize(
        ("given", "text"),
        [
            (metric(0.9, 0.699, 0.972), "90 % [70, 97]"),
            (metric(0.842, 0.834, 0.849), "84.2 % [83.4, 84.9]"),
            (metric(0.842, 0.8417, 0.8423), "84.20 % [84.17, 84.23]"),
            (metric(1.0, 0.839, 1.0), "100 % [84, 100]"),
            (metric(0.5, None, None), "50 %"),
            (metric(None, None, None), "–"),
            (metric(0.803, 0.74, 0.85, kind="f1"), "0.80 [0.74, 0.85]"),
            (metric(3.4, 3.1, 3.7, kind="judge", bounds=[1, 5]), "3.4 [3.1, 3.7]"),
            (metric(-0.04, -0.3, 0.2, kind="agreement", bounds=[-1, 1]), "0.0 [−0.3, 0.2]"),
            (metric(299.0, 298.0, 301.0, kind="tokens", bounds=None), "299 [298, 301]"),
            (metric(7.0, None, 9.0, kind="tokens", bounds=None), "7 [–, 9]"),
            (metric(0.4312, 0.42, 0.45, kind="latency", bounds=None), "0.431 s [0.420, 0.450]"),
        ],
    )
    def test_shares_are_percent_and_digits_are_those_that_the_interval_supports(
        self, given: MetricRecord, text: str
    ) -> None:
        assert metric_text(given) == text

    @given(st.floats(0, 1), st.floats(1e-4, 0.5))
    def test_half_an_interval_is_two_units_of_the_last_digit_at_least(self, mean: float, half: float) -> None:
        assert half >= 1.99 * 10 ** -decimals_of(mean, mean - half, mean + half) or decimals_of(mean, mean, mean) == 0


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert number_text(-0.004, 2, sign=True) == "0.00"
    assert number_text(-0.4, 1) == "−0.4"


def test_a_chance_is_never_shown_as_0() -> None:
    assert [p_text(p) for p in (0.00001, 0.0123, 0.4, None)] == ["<0.001", "0.012", "0.40", "–"]


class TestDifferences:
    def test_of_shares_are_points_with_their_sign(self) -> None:
        said = DifferenceRecord(difference=0.02, low=-0.031, high=0.07)
        assert difference_parts(metric(0.8, 0.7, 0.9), said) == ("+2", "[−3, +7]")

    def test_ratios_have_at_most_three_decimals(self) -> None:
        said = DifferenceRecord(difference=1.30662, low=1.30661, high=1.30663, is_ratio=True)
        assert difference_parts(RATIO, said) == ("×1.307", "[1.307, 1.307]")

    @pytest.mark.parametrize(
        ("given", "low", "high", "verdict"),
        [
            (metric(0.8, 0.7, 0.9), 0.01, 0.2, "better"),
            (metric(0.8, 0.7, 0.9), -0.2, -0.01, "worse"),
            (metric(0.8, 0.7, 0.9), -0.2, 0.01, "not shown"),
            (metric(0.8, 0.7, 0.9), 0.0, 0.2, "not shown"),
            (metric(0.1, 0.0, 0.2, higher_is_better=False), 0.01, 0.2, "worse"),
            (metric(0.8, 0.7, 0.9), None, None, None),
        ],
    )
    def test_the_interval_is_the_verdict(
        self, given: MetricRecord, low: float | None, high: float | None, verdict: str | None
    ) -> None:
        assert verdict_of(given, DifferenceRecord(low=low, high=high)) == verdict

    def test_a_ratio_below_1_of_what_should_be_low_is_better(self) -> None:
        assert verdict_of(RATIO, DifferenceRecord(low=0.8, high=0.9, is_ratio=True)) == "better"
        assert verdict_of(RATIO, DifferenceRecord(low=0.8, high=1.2, is_ratio=True)) == "not shown"


def test_an_interval_that_leaves_out_no_difference_does_not_seem_to_end_there() -> None:
    metric = MetricRecord(kind="label", bounds=[0, 1])
    difference = DifferenceRecord(difference=-0.375, low=-0.65, high=-0.0008)

    assert difference_parts(metric, difference) == ("−37.5", "[−65.0, −0.1]")


def test_halves_are_rounded_up() -> None:
    assert [number_text(value, 0) for value in (62.5, 63.5, -0.4)] == ["63", "64", "0"]


def test_every_share_of_right_answers_is_shown_in_percent() -> None:
    shares = {word for word in kinds() if issubclass(kind_named(word), Proportion)}
    assert shares <= PERCENTAGE_KINDS
