"""The looks of a confirmation: early ends that cost little power and add no false `improved`."""

from __future__ import annotations

import pytest

from promptkit.evaluation.statistics.interval import Interval
from promptkit.evaluation.statistics.paired import tango
from promptkit.tuning.confirmation.looks import Looks, detectable_gain
from promptkit.tuning.confirmation.verdict import smallest_detectable_gain
from tests.tuning.confirmations import confirmed

TUNINGS, UNITS = 2_000, 98


def test_looks_are_at_two_fifths_and_then_after_each_fifth() -> None:
    looks = Looks(100, level=0.95).looks

    assert [(look.number, look.units) for look in looks] == [(1, 40), (2, 60), (3, 80), (4, 100)]
    assert [look.level for look in looks] == pytest.approx([0.99921, 0.99264, 0.97797, 0.95775], abs=1e-5)


@pytest.mark.parametrize(("units", "sizes"), [(1, [1]), (2, [1, 2]), (3, [2, 3]), (7, [3, 5, 6, 7])])
def test_few_units_have_fewer_looks(units: int, sizes: list[int]) -> None:
    assert [look.units for look in Looks(units, level=0.95).looks] == sizes


def test_no_units_cannot_be_looked_at() -> None:
    with pytest.raises(ValueError, match="0 units"):
        Looks(0, level=0.95)


def test_a_confirmation_that_breaks_off_spends_the_error_of_the_data_that_it_has() -> None:
    looks = Looks(100, level=0.95)

    assert looks.broken_off(80) == looks.looks[2]
    assert looks.looks[2].level > looks.broken_off(90).level > looks.looks[3].level
    assert (looks.broken_off(90).number, looks.broken_off(10).number) == (4, 1)


@pytest.mark.parametrize(("better", "worse", "hopeless"), [(5, 5, False), (4, 6, True), (2, 8, True), (8, 2, False)])
def test_it_is_hopeless_where_even_a_lucky_rest_would_hardly_show_a_gain(
    better: int, worse: int, hopeless: bool
) -> None:
    looks = Looks(100, level=0.95)
    first = looks.looks[0]
    interval = tango(better, worse, first.units, level=first.level)

    assert looks.is_hopeless(first, (better - worse) / first.units, interval) is hopeless


def test_the_last_look_is_never_hopeless() -> None:
    looks = Looks(100, level=0.95)

    assert not looks.is_hopeless(looks.looks[-1], -0.2, Interval(-0.3, -0.1))


@pytest.mark.parametrize(
    ("discordant", "gain", "most_lost", "most_used"),
    [(0.25, 0.0, 0.0, 0.65), (0.25, 0.10, 0.04, 0.86), (0.3, 0.2, 0.02, 0.75)],
)
def test_verdicts_are_those_of_all_rows_but_for_a_few_at_fewer_rows(
    discordant: float, gain: float, most_lost: float, most_used: float
) -> None:
    found = confirmed(UNITS, discordant, gain, tunings=TUNINGS, seed=1)

    assert found.fixed - found.improved <= most_lost
    assert found.used <= most_used
    if not gain:
        assert found.improved <= 0.035


def test_the_gain_that_looks_detect_is_a_little_larger_than_that_of_one_test() -> None:
    looks, fixed = detectable_gain(120), smallest_detectable_gain(120)

    assert looks == pytest.approx(0.112, abs=0.001)
    assert fixed == pytest.approx(0.109, abs=0.001)
