"""The planned shares of a budget, and the budgets that are refused with the least that holds a search."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.tuning.budget import BudgetShares, check_budget, estimated_calls, share_budget
from promptkit.tuning.costs import RowCost
from promptkit.tuning.data_split import read_data_split
from promptkit.tuning.options import Limits
from promptkit.tuning.reserve import ConfirmationRows
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


def dearest_of(costs: list[list[float]]) -> Callable[[float], float]:
    """Return the cost of the dearest candidate of parameters whose choices cost so much."""
    return lambda most: prod(max((cost for cost in choices if cost <= most), default=1.0) for choices in costs)


@given(st.integers(1, 5_000), st.integers(1, 300), st.integers(1, 500), st.sampled_from([1.0, 2.5, 7.0]))
def test_shares_make_the_total_and_hold_a_block_and_a_confirmation(
    calls: int, search_rows: int, holdout_rows: int, cost: float
) -> None:
    try:
        shares = share_budget(
            Limits(calls=calls),
            search_rows=search_rows,
            asked=ConfirmationRows(pairs=holdout_rows),
            calls_a_row=cost,
            dearest=dearest_of([[1.0, 5.0]]),
        )
    except InputError:
        assert calls < (2 * holdout_rows + 2 * min(12, search_rows)) * cost
        return
    assert shares.search + shares.confirmation == shares.total == calls
    assert shares.search >= 2 * min(12, search_rows) * cost - 1
    assert shares.confirmation >= 2 * holdout_rows * cost - 1


def shares_of(calls: int | None, costs: list[list[float]]) -> BudgetShares:
    return share_budget(
        Limits(calls=calls),
        search_rows=60,
        asked=ConfirmationRows(pairs=100),
        calls_a_row=1.0,
        dearest=dearest_of(costs),
    )


@pytest.mark.parametrize(
    ("costs", "confirmation"),
    [([[1.0]], 200), ([[1.0, 2.0], [1.0, 1.0]], 300), ([[1.0, 2.0], [1.0, 3.0]], 700)],
)
def test_as_much_is_planned_for_the_confirmation_as_the_dearest_candidate_takes(
    costs: list[list[float]], confirmation: int
) -> None:
    assert shares_of(2_000, costs).confirmation == confirmation


def test_dear_candidates_take_at_most_half_of_the_budget_from_the_search() -> None:
    shares = shares_of(600, [[1.0, 2.0], [1.0, 2.0]])

    assert (shares.confirmation, shares.search) == (300, 300)


def test_nothing_is_planned_for_what_the_race_does_not_admit() -> None:
    shares = shares_of(600, [[1.0, 9.0]])

    assert shares.most_cost == 300 / 2 / 60
    assert shares.confirmation == 200


def test_without_a_number_of_calls_a_usual_one_is_taken_that_holds_a_pick_of_two_requests() -> None:
    usual = [
        share_budget(
            Limits(),
            search_rows=80,
            asked=ConfirmationRows(pairs=120),
            calls_a_row=1.0,
            dearest=dearest_of([[1.0, cost]]),
        ).total
        for cost in (1.0, 2.0, 5.0)
    ]

    assert usual == [16 * 80 / 2 + 240, 16 * 80 / 2 + 360, 16 * 80 / 2 + 360]


@pytest.mark.parametrize(("search_rows", "holdout_rows"), [(15, 30), (30, 60), (64, 120), (200, 200)])
def test_thinking_in_two_requests_is_tried_at_usual_budgets_and_can_be_confirmed(
    search_rows: int, holdout_rows: int
) -> None:
    shares = share_budget(
        Limits(),
        search_rows=search_rows,
        asked=ConfirmationRows(pairs=holdout_rows),
        calls_a_row=1.0,
        dearest=dearest_of([[1.0, 2.0, 4.0]]),
    )

    assert shares.most_cost >= 2
    assert shares.confirmation >= 3 * holdout_rows


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
    with pytest.raises(InputError, match="calls=200 is too small: the confirmation asks 120 rows twice") as raised:
        share_budget(
            Limits(calls=200),
            search_rows=80,
            asked=ConfirmationRows(pairs=120),
            calls_a_row=1.0,
            dearest=dearest_of([]),
        )

    assert "at least calls=264, better calls=880" in str(raised.value.problems[0].hint)
    enough = share_budget(
        Limits(calls=264), search_rows=80, asked=ConfirmationRows(pairs=120), calls_a_row=1.0, dearest=dearest_of([])
    )
    assert (enough.search, enough.confirmation) == (24, 240)


@pytest.mark.parametrize("rows", [1, 2, 11, 12, 13])
def test_the_usual_calls_hold_a_search_however_few_the_rows(rows: int) -> None:
    usual = share_budget(
        Limits(), search_rows=rows, asked=ConfirmationRows(pairs=1), calls_a_row=4.0, dearest=dearest_of([])
    )
    assert usual.search >= 4 * 2 * min(12, rows)

    least = 4 * (2 + 2 * min(12, rows))
    with pytest.raises(InputError, match=f"and a search needs {min(12, rows)} rows for two candidates") as raised:
        share_budget(
            Limits(calls=least - 1),
            search_rows=rows,
            asked=ConfirmationRows(pairs=1),
            calls_a_row=4.0,
            dearest=dearest_of([]),
        )
    assert f"at least calls={least}, better calls={usual.total}" in str(raised.value.problems[0].hint)


def test_all_limits_that_hold_no_search_are_named_at_once_with_the_least_that_do() -> None:
    cost = RowCost(calls=2.0, tokens=20.0, judge_tokens=10.0, seconds=1.5)
    with pytest.raises(InputError) as raised:
        check_budget(Limits(calls=400, tokens=6_000, minutes=5), cost, 100, search_rows=100)

    hints = [str(problem.hint).partition(";")[0] for problem in raised.value.problems]
    assert hints == ["at least calls=448", "at least tokens=6720", "at least minutes=7.3"]
    check_budget(Limits(calls=448, tokens=6_720, minutes=6.6), cost, 100, search_rows=100)


def test_time_that_is_gone_already_is_not_there_for_the_search() -> None:
    cost = RowCost(calls=1.0, tokens=1.0, seconds=1.0)
    check_budget(Limits(minutes=4.5), cost, 100, search_rows=100)

    with pytest.raises(InputError, match=r"minutes=4\.5 is too small"):
        check_budget(Limits(minutes=4.5), cost, 100, search_rows=100, elapsed=30)
