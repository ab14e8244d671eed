"""The shares of a budget: the confirmation first, and no more set aside for it than a pick can cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import BudgetSpent, InputError
from promptkit.runtimes.budget import Budget
from promptkit.tuning.budget import CONFIRM_SHARE, BudgetShares, RowCost, TuningBudget, estimated_calls, share_budget
from promptkit.tuning.data_split import read_data_split
from promptkit.tuning.options import Limits
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE
from tests.tuning.tunings import PROMPT, TuneBench

ITEMS = """
name: mood
inputs: {parts: {type: list}}
steps:
  mood: {for_each: "{{ parts }}", as: text, prompt: mood}
"""


class Clock:
    """The time of budgets, which only passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("promptkit.runtimes.budget.time", clock)
        monkeypatch.setattr("promptkit.tuning.budget.time", clock)


async def is_over(budget: Budget) -> bool:
    """Tell whether a budget lets no request begin."""
    try:
        async with budget.request():
            return False
    except BudgetSpent:
        return True


@given(st.integers(1, 5_000), st.integers(1, 300), st.integers(1, 500), st.sampled_from([1.0, 2.5, 7.0]))
def test_shares_make_the_total_and_hold_a_block_and_a_confirmation(
    calls: int, search_rows: int, holdout_rows: int, cost: float
) -> None:
    try:
        shares = share_budget(
            Limits(calls=calls),
            search_rows=search_rows,
            holdout_rows=holdout_rows,
            calls_a_row=cost,
            costs=[[1.0, 5.0]],
        )
    except InputError:
        assert calls < 2 * holdout_rows * cost + 2 * min(12, search_rows) * cost + 1
        return
    assert shares.search + shares.confirmation == shares.total == calls
    assert shares.search >= 2 * min(12, search_rows) * cost - 1
    assert shares.confirmation >= 2 * holdout_rows * cost - 1


def shares_of(calls: int, costs: list[list[float]]) -> BudgetShares:
    return share_budget(Limits(calls=calls), search_rows=60, holdout_rows=100, calls_a_row=1.0, costs=costs)


def test_no_more_is_set_aside_than_a_pick_can_cost() -> None:
    cheap = share_budget(
        Limits(calls=600), search_rows=60, holdout_rows=100, calls_a_row=1.0, costs=[[1.0], [1.0, 1.0]]
    )
    dear = share_budget(
        Limits(calls=1_000), search_rows=60, holdout_rows=100, calls_a_row=1.0, costs=[[1.0, 2.0], [1.0, 1.0]]
    )

    assert (cheap.confirmation, dear.confirmation) == (200, 300)


def test_nothing_is_set_aside_for_what_is_too_dear_to_be_tried() -> None:
    shares = shares_of(600, [[1.0, 5.0]])

    assert shares.most_requests < 5
    assert shares.confirmation == 200


def test_what_two_axes_make_dear_together_can_be_confirmed() -> None:
    shares = share_budget(
        Limits(calls=2_000), search_rows=60, holdout_rows=100, calls_a_row=1.0, costs=[[1.0, 2.0], [1.0, 3.0]]
    )

    assert shares.confirmation == 100 * (1 + 6)
    assert shares.most_requests >= 6


@given(st.integers(200, 5_000), st.lists(st.lists(st.floats(0.2, 9.0), max_size=3), max_size=3))
def test_the_dearest_that_may_be_tried_can_be_confirmed(calls: int, prices: list[list[float]]) -> None:
    shares = share_budget(Limits(calls=calls), search_rows=20, holdout_rows=60, calls_a_row=1.0, costs=prices)

    assert shares.confirmation <= max(120, CONFIRM_SHARE * calls) + 1
    assert shares.most_requests >= 1


def test_without_a_number_of_calls_a_usual_one_is_taken() -> None:
    shares = share_budget(Limits(), search_rows=80, holdout_rows=120, calls_a_row=1.0, costs=[])

    assert shares.total == 16 * 80 / 2 + 240


@pytest.mark.parametrize(
    ("prompt", "suite", "calls"),
    [
        (PROMPT, SUITE, 1),
        (PROMPT, SUITE + "repeat: 3\n", 3),
        (PROMPT.replace("cue: none", "cue: none\ntechnique: self_consistency"), SUITE, 5),
    ],
)
def test_what_a_row_takes_is_told_before_by_its_technique_and_its_repeats(
    folder: Folder, prompt: str, suite: str, calls: float
) -> None:
    assert estimated_calls(read_data_split(TuneBench(folder, 40, prompt=prompt).start(suite))) == calls


def test_what_a_row_takes_is_told_before_by_its_items(folder: Folder) -> None:
    bench = TuneBench(folder)
    folder.write("pipelines/mood.yaml", ITEMS)
    bench.rows([{"parts": [f"row {at}", "and", "more"], "expect": ["good"] * 3} for at in range(40)])

    assert estimated_calls(read_data_split(bench.start(SUITE.replace("label", "exact")))) == 3


def test_too_few_calls_say_how_many_it_takes() -> None:
    with pytest.raises(InputError, match="calls=200 is too small: the confirmation asks 120 rows twice, 240") as raised:
        share_budget(Limits(calls=200), search_rows=80, holdout_rows=120, calls_a_row=1.0, costs=[])

    assert "at least calls=264" in str(raised.value.problems[0].hint)
    enough = share_budget(Limits(calls=264), search_rows=80, holdout_rows=120, calls_a_row=1.0, costs=[])
    assert (enough.search, enough.confirmation) == (24, 240)


async def test_tokens_and_minutes_for_the_confirmation_are_kept_from_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    spending = TuningBudget(Limits(calls=1_000, tokens=10_000, minutes=10))
    shares = share_budget(Limits(calls=1_000), search_rows=50, holdout_rows=100, calls_a_row=1.0, costs=[])
    spending.limit_to_search(shares, RowCost(calls=1.0, tokens=20.0, seconds=1.0), holdout_rows=100)

    assert spending.budget.most_tokens == 10_000 - 3 * 100 * 20
    clock.now += 600 - 1.2 * 2 * 100 - 1
    assert not await is_over(spending.budget)
    clock.now += 1
    assert await is_over(spending.budget)

    spending.lift_limits(shares)
    assert (spending.budget.most, spending.budget.most_tokens) == (1_000, 10_000)
    assert not await is_over(spending.budget)
    clock.now += 600
    assert await is_over(spending.budget)


async def test_a_search_is_left_no_more_calls_than_tokens_and_time_are_likely_to_hold() -> None:
    shares = share_budget(Limits(calls=1_000), search_rows=50, holdout_rows=100, calls_a_row=2.0, costs=[])
    by_tokens, by_time, by_calls = (
        TuningBudget(Limits(calls=1_000, tokens=tokens, minutes=minutes))
        for tokens, minutes in ((10_000, None), (None, 10), (None, None))
    )
    for spending in (by_tokens, by_time, by_calls):
        spending.limit_to_search(shares, RowCost(calls=2.0, tokens=20.0, seconds=1.0), holdout_rows=100)

    assert by_tokens.budget.most == 2 * 4_000 / 2 / 20
    assert by_time.budget.most == pytest.approx(2 * (600 - 240) / 1.2, abs=1)
    assert by_calls.budget.most == shares.search


async def test_a_judge_takes_the_same_however_long_the_prompt_is() -> None:
    spending = TuningBudget(Limits(tokens=20_000))
    shares = share_budget(Limits(calls=5_000), search_rows=50, holdout_rows=100, calls_a_row=2.0, costs=[])
    spending.limit_to_search(shares, RowCost(calls=2.0, tokens=20.0, judge_tokens=30.0, seconds=0.0), holdout_rows=100)

    assert spending.budget.most_tokens == 20_000 - 100 * (20 + 30 + 40 + 30)
    assert spending.budget.most == 2 * 8_000 / (40 + 30)


@pytest.mark.parametrize(
    ("limits", "limit", "least"),
    [(Limits(tokens=6_300), "tokens", Limits(tokens=6_480)), (Limits(minutes=4), "minutes", Limits(minutes=5))],
)
async def test_tokens_or_minutes_that_hold_no_block_beside_the_confirmation_are_refused_with_the_least_that_do(
    limits: Limits, limit: str, least: Limits
) -> None:
    spending = TuningBudget(limits)
    shares = share_budget(limits, search_rows=50, holdout_rows=100, calls_a_row=1.0, costs=[])

    with pytest.raises(
        InputError, match=f"--budget {limit}=.* is too small for a block of rows and the confirm"
    ) as raised:
        spending.limit_to_search(shares, RowCost(calls=1.0, tokens=20.0, seconds=1.0), holdout_rows=100)
    assert raised.value.problems[0].hint == f"at least {limit}={least.record()[limit]:g}"
    TuningBudget(least).limit_to_search(shares, RowCost(calls=1.0, tokens=20.0, seconds=1.0), holdout_rows=100)
