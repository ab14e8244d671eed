"""The cost of a race from a row on, and how far a budget reaches."""

from __future__ import annotations

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from promptkit.tuning.search.race import RaceCosts, first_rung, remaining_cost, survivors


def equal(candidates: int, known: int = 0) -> RaceCosts:
    return RaceCosts([1] * candidates, [known] * candidates)


def test_a_row_is_paid_by_each_candidate_that_has_not_seen_it() -> None:
    prices = RaceCosts([1, 5, 1], [0, 0, 12])

    assert prices.of([0, 1], 10, 20) == 60
    assert prices.of([0, 2], 10, 20) == 18
    assert prices.of([2], 0, 12) == 0


def test_going_on_halves_the_field_and_doubles_the_rows() -> None:
    def cost(count: int, start: int, stop: int) -> float:
        return count * (stop - start)

    assert remaining_cost(cost, 8, 10, 100) == 8 * 10 + 4 * 20 + 2 * 40
    assert remaining_cost(cost, 5, 40, 100) == 5 * 40 + 3 * 20
    assert remaining_cost(cost, 1, 10, 100) == 0
    assert remaining_cost(cost, 8, 100, 100) == 0


fields = st.integers(1, 64)
rows = st.integers(1, 300)


def expected(candidates: int, rung: int, rows: int) -> float:
    return candidates * rung + remaining_cost(
        lambda s, start, stop: s * (stop - start), ceil(candidates / 2), rung, rows
    )


@given(fields, rows, st.integers(0, 20_000))
def test_the_first_rung_is_the_largest_that_can_be_paid(candidates: int, rows: int, budget: int) -> None:
    rung = first_rung(equal(candidates), range(candidates), 0, rows, budget)

    assert rung == 0 or expected(candidates, rung, rows) <= budget
    assert rung == rows or expected(candidates, rung + 1, rows) > budget


@given(fields, rows)
def test_with_a_call_for_each_cell_all_rows_are_the_first_rung(candidates: int, rows: int) -> None:
    assert first_rung(equal(candidates), range(candidates), 0, rows, candidates * rows) == rows


@given(st.integers(2, 64), st.integers(1, 100), st.integers(1, 100), st.integers(0, 5_000))
def test_as_many_survive_as_can_be_paid(candidates: int, seen: int, more: int, budget: int) -> None:
    prices, rows = equal(candidates), seen + more
    kept = survivors(prices, range(candidates), seen, rows, budget)

    def cost(count: int) -> float:
        return remaining_cost(lambda s, start, stop: s * (stop - start), count, seen, rows)

    assert kept == 1 or cost(kept) <= budget
    assert kept == candidates or cost(kept + 1) > budget


def test_the_best_are_paid_for_at_their_own_prices() -> None:
    prices = RaceCosts([5, 1, 1], [0, 0, 0])

    assert survivors(prices, [1, 2, 0], 10, 20, 20) == 2
    assert survivors(prices, [0, 1, 2], 10, 20, 20) == 1
