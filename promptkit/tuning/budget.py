"""The budget of a tuning run: its shares for search and confirmation, and the plan shown before the first call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, prod
from typing import Any, Final

from promptkit.engine.inputs import step_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError
from promptkit.runtimes.budget import Budget
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import RowResult
from promptkit.tuning.options import Limits
from promptkit.tuning.search.race import ROWS_EACH, default_budget
from promptkit.tuning.search_space.candidate import Parameter
from promptkit.tuning.search_space.settings import written_requests

CANDIDATES: Final = 16
"""The number of candidates that the usual number of calls is made for, if no number is given."""
LEAST_CANDIDATES: Final = 2
CONFIRM_SHARE: Final = 0.4
"""The largest share of the calls that is set aside so that a candidate that costs more per row can be confirmed."""
LONGER_TOKENS: Final = 2.0
"""The incumbent is assumed to take up to this many times the start's tokens."""
SLACK: Final = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetShares:
    """Calls by use: `search` and `confirmation` add up to `total`.

    `most_requests`: the most that a candidate may cost per row, relative to the start.
    """

    total: int
    search: int
    confirmation: int
    most_requests: float


def share_budget(
    limits: Limits, *, search_rows: int, holdout_rows: int, calls_a_row: float, costs: Sequence[Sequence[float]]
) -> BudgetShares:
    """Return the shares of the calls, with a row of the start at `calls_a_row`.

    `search_rows` and `holdout_rows` are numbers of rows; `costs` holds, for each parameter, the cost per row of its
    choices relative to the start. Raises InputError if the calls do not cover the confirmation and one block of two
    candidates.
    """
    least = 2 * holdout_rows * calls_a_row
    usual = default_budget(CANDIDATES, search_rows) * calls_a_row + least
    total = limits.calls if limits.calls is not None else int(usual)
    needed = int(least + LEAST_CANDIDATES * min(ROWS_EACH, search_rows) * calls_a_row + 0.999)
    if total < needed:
        message = (
            f"--budget calls={total} is too small: the confirmation asks {holdout_rows} rows twice, {least:.0f} calls, "
            "and a search needs a block of rows for two candidates"
        )
        hint = (
            f"at least calls={needed}, better calls={int(usual)}; or give the suite fewer rows (`data: {{sample: 60}}`)"
        )
        raise InputError(message, hint=hint)
    a_row = holdout_rows * calls_a_row
    most = max(1.0, CONFIRM_SHARE * total / a_row - 1) if a_row else inf
    dearest = prod(max((cost for cost in choices if cost <= most), default=1.0) for choices in costs)
    set_aside = int(a_row * (1 + min(most, max(1.0, dearest))) + 0.999)
    set_aside = min(set_aside, total - (needed - int(least)))
    return BudgetShares(total=total, search=total - set_aside, confirmation=set_aside, most_requests=most)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCost:
    """The measured cost of a row of the start.

    `calls` include its judge's, whose tokens are `judge_tokens`; `seconds` are wall-clock time.
    """

    calls: float
    tokens: float
    seconds: float
    judge_tokens: float = 0.0


def row_cost(results: Sequence[RowResult], *, seconds: float | None, parallel: int) -> RowCost:
    """Return the mean cost of a row from results.

    `seconds`: wall-clock time of all results, None if they were cached: then the model's own time when they were asked
    is used, with `parallel` requests in flight.
    """
    count = max(1, len(results))
    if seconds is None:
        seconds = sum(result.seconds for result in results) / parallel
    return RowCost(
        calls=sum(result.calls for result in results) / count or 1.0,
        tokens=sum(result.tokens for result in results) / count,
        judge_tokens=sum(result.judge_tokens for result in results) / count,
        seconds=seconds / count,
    )


class TuningBudget:
    """The budget of one tuning run: `limit_to_search` leaves out what the confirmation needs, `lift_limits` ends
    that.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began = time.monotonic()
        seconds = inf if limits.minutes is None else 60 * limits.minutes
        tokens = inf if limits.tokens is None else limits.tokens
        self.budget = Budget(inf if limits.calls is None else limits.calls, tokens=tokens, seconds=seconds)
        self._deadline = self.budget.deadline

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def limit_to_search(self, shares: BudgetShares, cost: RowCost, *, holdout_rows: int) -> None:
        """Limit the search to what the confirmation of `holdout_rows` rows is not likely to need.

        Calls are limited to what tokens and time are likely to cover, so that a search that plans by its calls is not
        broken off. Raises InputError if tokens or time do not cover the confirmation and one block of two candidates.
        """
        budget, block = self.budget, LEAST_CANDIDATES * ROWS_EACH
        of_start, of_another = (times * cost.tokens + cost.judge_tokens for times in (1, LONGER_TOKENS))
        budget.most_tokens -= holdout_rows * (of_start + of_another)
        budget.deadline -= SLACK * 2 * holdout_rows * cost.seconds
        tokens, seconds = budget.most_tokens - budget.spent_tokens, budget.deadline - time.monotonic()
        for limit, left, needed, unit in (("tokens", tokens, of_start, 1), ("minutes", seconds, cost.seconds, 60)):
            if left < block * needed:
                given = self._limits.record()[limit] or 0.0
                message = (
                    f"--budget {limit}={given:g} is too small for a block of rows and the confirmation of "
                    f"{holdout_rows}, at what the start takes per row"
                )
                hint = f"at least {limit}={ceil(given + (block * needed - left) / unit)}"
                raise InputError(message, hint=hint)
        rows = min(
            tokens / of_another if of_another else inf,
            seconds / SLACK / cost.seconds if cost.seconds else inf,
        )
        budget.most = min(shares.search, budget.spent + rows * cost.calls)

    def lift_limits(self, shares: BudgetShares) -> None:
        """Make all of the budget available."""
        self.budget.most = shares.total
        self.budget.most_tokens = inf if self._limits.tokens is None else self._limits.tokens
        self.budget.deadline = self._deadline


GAIN_TO_ASK: Final = 0.10
"""If only a larger gain would be detectable, the person is asked before anything is spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a tuning run before its first request: rows, parameters, candidates and calls.

    `calls`: the most that it may send, of which `confirm_calls` are set aside for the confirmation. `candidates`: the
    most that are tried. `minutes`: at the measured rate, None if there is none. `smallest_gain`: the smallest gain, as
    a share of the metric's range, that the held-out rows detect four times in five; None if they detect none.
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
    confirm_calls: int
    limits: Limits
    minutes: float | None = None
    smallest_gain: float | None = None
    clusters: int | None = None
    notes: Sequence[str] = ()

    @property
    def needs_consent(self) -> bool:
        """True if the smallest detectable gain, to the point, is above 10 points: the person is to be asked."""
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
            "confirm_calls": self.confirm_calls,
            "budget": self.limits.record(),
            "minutes": self.minutes,
            "smallest": self.smallest_gain,
            "notes": list(self.notes),
        }
