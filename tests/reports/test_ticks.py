"""Round numbers along axes, whatever is measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.reports.ticks import round_step, round_ticks, tick_decimals

SIZES = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda number: round(number, 4))


@given(SIZES, SIZES, st.integers(1, 12))
def test_ticks_enclose_the_values_in_equal_round_steps(one: float, other: float, count: int) -> None:
    least, most = sorted((one, other))
    ticks = round_ticks(least, most, count)
    step = ticks[1] - ticks[0]

    room = 1e-6 * step
    assert ticks[0] <= least + room and ticks[-1] >= most - room
    assert len(ticks) <= count + 3
    assert float(f"{step:.1e}"[0]) in (1, 2, 5)


@pytest.mark.parametrize(("least", "step"), [(0.3, 0.5), (1.0, 1.0), (2.1, 5.0), (5.1, 10.0), (52.4, 100.0)])
def test_a_step_is_the_next_of_1_2_and_5(least: float, step: float) -> None:
    assert round_step(least) == pytest.approx(step)


@pytest.mark.parametrize(("ticks", "decimals"), [([0, 20, 40], 0), ([0, 0.5, 1], 1), ([0.25, 0.3], 2), ([3], 0)])
def test_ticks_have_the_decimals_that_their_step_needs(ticks: list[float], decimals: int) -> None:
    assert tick_decimals(ticks) == decimals
