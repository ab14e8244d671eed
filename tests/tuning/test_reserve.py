"""The reserve: what the dearest candidate alive would take of a budget to be confirmed, and never the whole search."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import BudgetSpent
from promptkit.runtimes.budget import Budget
from promptkit.tuning.costs import CandidateCosts, RowCost
from promptkit.tuning.reserve import ConfirmationReserve, ConfirmationRows, least_search, reserve_amount
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.tuning.test_budget import Clock

START = Candidate()
LONG, THINKING = (Candidate({f"mood.{name}": Choice(name, {f"mood.{name}": 1})}) for name in ("long", "thinking"))
COSTS = {
    START.key: RowCost(calls=1.0, tokens=20.0, seconds=1.0),
    LONG.key: RowCost(calls=1.0, tokens=80.0, seconds=2.0),
    THINKING.key: RowCost(calls=2.0, tokens=60.0, seconds=4.0),
}
PAIRS = 100


class Costs(CandidateCosts):
    """The costs of candidates as given."""

    def __init__(self, costs: Mapping[str, RowCost] = COSTS) -> None:
        self.costs = costs

    async def of(self, candidate: Candidate) -> RowCost:
        return self.costs[candidate.key]


def reserve_of(budget: Budget) -> ConfirmationReserve:
    return ConfirmationReserve(budget, Costs(), rows=ConfirmationRows(pairs=PAIRS))


async def test_the_dearest_candidate_alive_is_set_aside_for_in_calls_tokens_and_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    budget = Budget(1_000, tokens=20_000, seconds=1_500)
    await reserve_of(budget).hold([START, LONG, THINKING])

    assert budget.most == 1_000 - PAIRS * (1 + 2)
    assert budget.most_tokens == 20_000 - PAIRS * (20 + 80)
    assert budget.deadline - clock.now == pytest.approx(1_500 - 1.2 * PAIRS * (1 + 4))


async def test_what_was_set_aside_for_a_candidate_is_released_once_it_is_dropped() -> None:
    budget = Budget(1_000, tokens=20_000)
    reserve = reserve_of(budget)
    await reserve.hold([START, LONG, THINKING])
    await reserve.hold([START, LONG])
    assert (budget.most, budget.most_tokens) == (1_000 - 200, 20_000 - PAIRS * 100)

    reserve.release()
    assert (budget.most, budget.most_tokens) == (1_000, 20_000)


async def test_a_budget_without_limits_is_left_as_it_is() -> None:
    budget = Budget(inf)
    await reserve_of(budget).hold([THINKING])

    assert (budget.most, budget.most_tokens, budget.deadline) == (inf, inf, inf)


async def test_the_calls_left_are_those_that_tokens_hold_at_the_mean_cost_of_the_candidates() -> None:
    budget = Budget(1_000, tokens=20_000)
    reserve = reserve_of(budget)
    await reserve.hold([START, LONG])
    assert reserve.calls_left == (20_000 - 10_000) / 50

    await reserve.hold([START])
    assert reserve.calls_left == min(1_000 - 200, (20_000 - 4_000) / 20)


async def test_a_share_ends_before_the_budget_and_leaves_it_as_it_was() -> None:
    budget = Budget(1_000)
    reserve = reserve_of(budget)
    await reserve.hold([START])
    with reserve.share(100):
        assert reserve.calls_left == 100
        await reserve.hold([THINKING])
        assert budget.most == 100
        with reserve.share(None):
            assert budget.most == 100
    assert budget.most == 700


async def test_as_many_pairs_are_asked_as_all_of_the_budget_holds() -> None:
    budget = Budget(1_000, tokens=8_000)
    reserve = reserve_of(budget)
    assert await reserve.pairs_held(START) == PAIRS
    assert await reserve.pairs_held(LONG) == 8_000 // 100

    async with budget.request() as request:
        request.tokens = 100
    assert await reserve.pairs_held(LONG) == (8_000 - 100 - 100) // 100


@given(
    st.floats(100, 5_000), st.floats(0.5, 8), st.floats(1, 400), st.floats(1, 12),
)  # fmt: skip
def test_a_plain_confirmation_is_always_set_aside_and_a_search_is_always_left(
    total: float, start: float, pairs: float, dearer: float
) -> None:
    plain, search = 2 * pairs * start, least_search(100) * start
    wanted = pairs * start * (1 + dearer)
    held = float(
        reserve_amount(np.array([wanted]), plain=np.array([plain]), total=np.array([total]), search=np.array([search]))[
            0
        ]
    )

    assert held <= wanted
    assert held <= total - search + 1e-9
    if total >= plain + search:
        assert held >= plain - 1e-9
    assert held <= max(plain, total / 2)


async def test_a_request_beyond_what_is_left_to_the_search_is_refused() -> None:
    budget = Budget(224)
    await reserve_of(budget).hold([THINKING])
    for _ in range(least_search(100)):
        async with budget.request():
            pass

    with pytest.raises(BudgetSpent):
        async with budget.request():
            pass
