"""The budget of a tuning run: its shares for search and confirmation, and the plan shown before the first call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any, Final

import numpy as np

from promptkit.engine.inputs import step_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, Problem
from promptkit.runtimes.budget import Budget
from promptkit.tuning.costs import Amounts, RowCost
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.options import Limits
from promptkit.tuning.reserve import SLACK, ConfirmationRows, least_search, reserve_amount
from promptkit.tuning.search.race import ROWS_EACH, default_budget, most_cost
from promptkit.tuning.search_space.candidate import Parameter
from promptkit.tuning.search_space.settings import written_requests

CANDIDATES: Final = 16
"""The number of candidates that the usual number of calls is made for, if no number is given."""
USUAL_REQUESTS: Final = 2.0
"""The usual number of calls holds the confirmation of a pick of at most this many requests a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetShares:
    """Calls by use, as planned: `search` and `confirmation` add up to `total`.

    `most_cost`: the highest cost per row, relative to the start, at which the race admits a candidate.
    """

    total: int
    search: int
    confirmation: int
    most_cost: float = inf


def share_budget(
    limits: Limits, *, search_rows: int, asked: ConfirmationRows, calls_a_row: float, dearest: Callable[[float], float]
) -> BudgetShares:
    """Return the planned shares of the calls, with a row of the start at `calls_a_row`.

    `search_rows` is the number of search rows, `asked` are those of the confirmation; `dearest` returns the cost per
    row, relative to the start, of the dearest candidate whose choices cost at most so much. What is set aside is
    reckoned again while the search goes on (`reserve`). Raises InputError if the calls hold no search.
    """
    rows = calls_a_row * np.array([asked.of_start, asked.of_candidates])
    confirming = rows[0] + rows[1] * min(dearest(inf), USUAL_REQUESTS)
    usual = int(default_budget(CANDIDATES, search_rows) * calls_a_row + confirming)
    total = limits.calls if limits.calls is not None else usual
    start = RowCost(calls=calls_a_row, tokens=0.0, seconds=0.0)
    check_budget(Limits(calls=total), start, asked.pairs, search_rows=search_rows, usual=usual)
    least = least_search(search_rows) * calls_a_row
    # What the race does not admit need not be confirmed.
    search = total - _set_aside(total, rows, dearest(inf), search=least)
    most = most_cost(search / calls_a_row, search_rows)
    confirmation = _set_aside(total, rows, dearest(most), search=least)
    return BudgetShares(total=total, search=total - confirmation, confirmation=confirmation, most_cost=most)


def _set_aside(total: int, rows: Amounts, dearest: float, *, search: float) -> int:
    """Return the calls to set aside where the start takes `rows[0]` calls on its rows, `rows[1]` on the candidates'."""
    wanted, plain = np.array([rows @ [1, dearest]]), np.array([rows.sum()])
    amount = reserve_amount(wanted, plain=plain, total=np.array([float(total)]), search=np.array([search]))
    return ceil(float(amount[0]))


def check_budget(
    limits: Limits, cost: RowCost, holdout_rows: int, *, search_rows: int, elapsed: float = 0.0, usual: int = 0
) -> None:
    """Raise InputError with each limit that holds no search and no confirmation at the start's cost, and the least.

    `elapsed`: seconds that are gone already. `usual`: the usual number of calls.
    """
    least = (2 * holdout_rows + least_search(search_rows)) * cost.amounts
    seconds = elapsed + least[2] + (SLACK - 1) * 2 * holdout_rows * cost.seconds
    needed = {"calls": least[0], "tokens": least[1], "minutes": seconds / 60}
    # Times differ from run to run.
    enough = {"calls": ceil(least[0]), "tokens": ceil(least[1]), "minutes": ceil(11 * seconds / 60) / 10}
    problems = []
    for limit, given in limits.record().items():
        if given is None or given >= needed[limit]:
            continue
        better = f", better {limit}={usual:g}" if limit == "calls" and usual > enough[limit] else ""
        problems.append(
            Problem(
                f"--budget {limit}={given:g} is too small: the confirmation asks {holdout_rows} rows twice, and a "
                f"search needs {min(ROWS_EACH, search_rows)} rows for two candidates",
                hint=f"at least {limit}={enough[limit]:g}{better}; or give the suite fewer rows "
                "(`data: {sample: 60}`)",
            )
        )
    if problems:
        raise InputError(problems)


def estimated_calls(split: DataSplit) -> float:
    """Return about how many calls a row of the start takes, before any was sent.

    Counted are the techniques of its steps, the repeats of the suite, and the items of `for_each` in the first rows.
    """
    suite = split.suite
    pipeline, rows = suite.baseline.pipeline, [split.rows[place].inputs[0] for place in split.search[:ROWS_EACH]]
    return suite.repeat * max(1.0, sum(_requests(pipeline, step, rows) for step in pipeline.steps.values()))


def _requests(pipeline: Pipeline, step: Step, rows: Sequence[Mapping[str, Any]]) -> float:
    if step.pipeline is not None:
        return sum(_requests(step.pipeline, inner, ()) for inner in step.pipeline.steps.values())
    if step.prompt_call is None:
        return 0.0
    items = [_item_count(pipeline, step, row) for row in rows] or [1]
    return written_requests(pipeline, step) * sum(items) / len(items)


def _item_count(pipeline: Pipeline, step: Step, row: Mapping[str, Any]) -> int:
    """Return the number of items of a step on a row; 1 if that depends on earlier steps."""
    try:
        return max(1, len(step_inputs(pipeline, step, row)))
    except InputError:
        return 1


class TuningBudget:
    """The budget of one tuning run, and the time that it takes."""

    def __init__(self, limits: Limits) -> None:
        self._began = time.monotonic()
        seconds = inf if limits.minutes is None else 60 * limits.minutes
        tokens = inf if limits.tokens is None else limits.tokens
        self.budget = Budget(inf if limits.calls is None else limits.calls, tokens=tokens, seconds=seconds)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def limits_left(self) -> Amounts:
        """The calls, tokens and seconds that are left, (3,)."""
        budget = self.budget
        return np.array([budget.most - budget.spent, budget.most_tokens - budget.spent_tokens, budget.seconds_left])


GAIN_TO_ASK: Final = 0.12
"""If only a larger gain is detectable, the person is asked before anything is spent. 200 rows detect 11 points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a tuning run before its first request: rows, parameters, candidates and calls.

    `calls`: the most that it may send, of which `confirm_calls` are set aside for the confirmation of the dearest
    candidate, and `search_calls` are for the search. `candidates`: the most that are tried. `minutes`: at the measured
    rate, None if there is none. `smallest_gain`: the smallest gain, as a share of the metric's range, that the held-out
    rows detect four times in five; None if they detect none.
    `clusters`: clusters among the held-out rows, None for a suite without clusters.
    """

    target: str
    suite: str
    metric: str
    optimizer: str
    search: int
    demo_pool: int
    holdout: int
    parameters: Sequence[Parameter]
    candidates: int
    calls: int
    search_calls: int
    confirm_calls: int
    limits: Limits
    minutes: float | None = None
    smallest_gain: float | None = None
    clusters: int | None = None
    notes: Sequence[str] = ()

    @property
    def needs_consent(self) -> bool:
        """True if the smallest detectable gain, to the point, is above `GAIN_TO_ASK`: the person is to be asked."""
        return self.smallest_gain is None or round(self.smallest_gain, 2) > GAIN_TO_ASK

    def record(self) -> dict[str, Any]:
        """Return the plan as `--dry-run --json` prints it."""
        return {
            "target": self.target,
            "suite": self.suite,
            "metric": self.metric,
            "optimizer": self.optimizer,
            "rows": {"search": self.search, "pool": self.demo_pool, "confirm": self.holdout, "clusters": self.clusters},
            "axes": [
                {
                    "name": parameter.name,
                    "step": parameter.step,
                    "kind": parameter.kind,
                    "levels": [choice.name for choice in parameter.choices],
                }
                for parameter in self.parameters
            ],
            "candidates": self.candidates,
            "calls": self.calls,
            "search_calls": self.search_calls,
            "confirm_calls": self.confirm_calls,
            "budget": self.limits.record(),
            "minutes": self.minutes,
            "smallest": self.smallest_gain,
            "notes": list(self.notes),
        }
