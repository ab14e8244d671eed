"""The budget of a tuning run: its shares for search and confirmation, and the plan shown before the first call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, prod
from typing import TYPE_CHECKING, Any, Final

from promptkit.engine.inputs import step_inputs
from promptkit.errors import InputError
from promptkit.runtimes.budget import Budget
from promptkit.tuning.options import Limits
from promptkit.tuning.search.race import ROWS_EACH, default_budget
from promptkit.tuning.search_space.settings import written_requests

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.tuning.data_split import DataSplit
    from promptkit.tuning.evaluator import RowResult
    from promptkit.tuning.search_space.candidate import Parameter

CANDIDATES: Final = 16
"""Of so many candidates is the usual number of calls made, where none is named."""
LEAST_CANDIDATES: Final = 2
CONFIRM_SHARE: Final = 0.4
"""Up to this share of the calls is set aside so that a pick that costs more a row can be confirmed."""
LONGER_TOKENS: Final = 2.0
"""A pick is taken to have up to so many times the start's tokens."""
SLACK: Final = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetShares:
    """Calls, as they are shared: `search` and `confirm` together are `total`. `most_requests` is the most that a
    candidate may cost a row, of one of the start."""

    total: int
    search: int
    confirm: int
    most_requests: float


def share_budget(
    limits: Limits, *, order: int, confirm: int, calls_a_row: float, prices: Sequence[Sequence[float]]
) -> BudgetShares:
    """Return how calls are shared where a row of the start costs `calls_a_row`.

    `order` and `confirm` are the numbers of rows searched on and kept, `prices` what the levels of each axis cost a
    row, of one of the start. Raises InputError where the calls do not hold the confirmation and one block of two
    candidates.
    """
    least = 2 * confirm * calls_a_row
    usual = default_budget(CANDIDATES, order) * calls_a_row + least
    total = limits.calls if limits.calls is not None else int(usual)
    needed = int(least + LEAST_CANDIDATES * min(ROWS_EACH, order) * calls_a_row + 0.999)
    if total < needed:
        told = f"--budget calls={total} is too small: the confirmation asks {confirm} rows twice, {least:.0f} calls"
        hint = (
            f"at least calls={needed}, better calls={int(usual)}; or give the suite fewer rows (`data: {{sample: 60}}`)"
        )
        raise InputError(f"{told}, and a search needs a block of rows for two candidates", hint=hint)
    a_row = confirm * calls_a_row
    most = max(1.0, CONFIRM_SHARE * total / a_row - 1) if a_row else inf
    dearest = prod(max((each for each in levels if each <= most), default=1.0) for levels in prices)
    set_aside = int(a_row * (1 + min(most, max(1.0, dearest))) + 0.999)
    set_aside = min(set_aside, total - (needed - int(least)))
    return BudgetShares(total=total, search=total - set_aside, confirm=set_aside, most_requests=most)


def estimated_calls(ground: DataSplit) -> float:
    """Return about how many calls a row of the start takes, before any was asked: by the techniques of its steps, the
    repeats of the suite, and the items that the first rows have for a `for_each`."""
    suite = ground.suite
    pipeline, rows = suite.baseline.pipeline, [ground.rows[place].inputs[0] for place in ground.order[:ROWS_EACH]]
    return suite.repeat * max(1.0, sum(_requests(pipeline, step, rows) for step in pipeline.steps.values()))


def _requests(pipeline: Pipeline, step: Step, rows: Sequence[Mapping[str, Any]]) -> float:
    if step.pipeline is not None:
        return sum(_requests(step.pipeline, each, ()) for each in step.pipeline.steps.values())
    if step.prompt_call is None:
        return 0.0
    items = [_item_count(pipeline, step, row) for row in rows] or [1]
    return written_requests(pipeline, step) * sum(items) / len(items)


def _item_count(pipeline: Pipeline, step: Step, row: Mapping[str, Any]) -> int:
    """Return how many items a step has of a row; 1 where only the steps before it tell."""
    try:
        return max(1, len(step_inputs(pipeline, step, row)))
    except InputError:
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCost:
    """What a row of the start takes, as measured: `calls` with its judge's, whose tokens are `judging`, and `seconds`
    by the clock."""

    calls: float
    tokens: float
    seconds: float
    judging: float = 0.0


def row_cost(cells: Sequence[RowResult], *, seconds: float | None, parallel: int) -> RowCost:
    """Return what a row takes by the cells of some.

    `seconds` are what all took by the clock, None where they were known: then it is what they took the model when they
    were asked, `parallel` at once.
    """
    count = max(1, len(cells))
    if seconds is None:
        seconds = sum(each.seconds for each in cells) / parallel
    return RowCost(
        calls=sum(each.calls for each in cells) / count or 1.0,
        tokens=sum(each.tokens for each in cells) / count,
        judging=sum(each.judging for each in cells) / count,
        seconds=seconds / count,
    )


class TuningBudget:
    """The budget of one tuning: `search` narrows it to what may be searched with, `rest` gives all that is left."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began = time.monotonic()
        seconds = inf if limits.minutes is None else 60 * limits.minutes
        tokens = inf if limits.tokens is None else limits.tokens
        self.budget = Budget(inf if limits.calls is None else limits.calls, tokens=tokens, seconds=seconds)
        self._deadline = self.budget.deadline

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._began

    def search(self, shares: BudgetShares, price: RowCost, *, confirm: int) -> None:
        """Leave to a search what the confirmation of `confirm` rows is not likely to need.

        No more calls are left than tokens and time are likely to hold: a search that plans by its calls is not broken
        off. Raises InputError where they do not hold the confirmation and one block of two candidates.
        """
        budget, block = self.budget, LEAST_CANDIDATES * ROWS_EACH
        of_start, of_another = (times * price.tokens + price.judging for times in (1, LONGER_TOKENS))
        budget.most_tokens -= confirm * (of_start + of_another)
        budget.deadline -= SLACK * 2 * confirm * price.seconds
        tokens, seconds = budget.most_tokens - budget.spent_tokens, budget.deadline - time.monotonic()
        for limit, left, needed, unit in (("tokens", tokens, of_start, 1), ("minutes", seconds, price.seconds, 60)):
            if left < block * needed:
                given = self._limits.record()[limit] or 0.0
                told = f"--budget {limit}={given:g} is too small for a block of rows and the confirmation of {confirm}"
                hint = f"at least {limit}={ceil(given + (block * needed - left) / unit)}"
                raise InputError(f"{told}, at what the start takes a row", hint=hint)
        rows = min(
            tokens / of_another if of_another else inf,
            seconds / SLACK / price.seconds if price.seconds else inf,
        )
        budget.most = min(shares.search, budget.spent + rows * price.calls)

    def rest(self, shares: BudgetShares) -> None:
        """Leave all that there is."""
        self.budget.most = shares.total
        self.budget.most_tokens = inf if self._limits.tokens is None else self._limits.tokens
        self.budget.deadline = self._deadline


GAIN_TO_ASK: Final = 0.10
"""Where only a gain above this could be shown, a person is asked before anything is spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Rows, candidates and calls of a tuning that nothing was asked for yet.

    `calls` is the most it may ask, `confirm_calls` of these are set aside for the verdict, `candidates` is how many are
    tried at most. `minutes` is at the measured rate, None until something was measured. `smallest` is the gain, as a
    share of the metric's range, that the confirm rows show four times in five; None where they can show none.
    `clusters` are those of the confirm rows, None where rows stand alone.
    """

    target: str
    suite: str
    metric: str
    optimizer: str
    search: int
    pool: int
    confirm: int
    axes: Sequence[Parameter]
    candidates: int
    calls: int
    confirm_calls: int
    limits: Limits
    minutes: float | None = None
    smallest: float | None = None
    clusters: int | None = None
    notes: Sequence[str] = ()

    @property
    def asks(self) -> bool:
        """Whether a person must agree: what could be shown at all is above 10 points, to the point."""
        return self.smallest is None or round(self.smallest, 2) > GAIN_TO_ASK

    def record(self) -> dict[str, Any]:
        """Return the plan as `--dry-run --json` prints it."""
        return {
            "target": self.target,
            "suite": self.suite,
            "metric": self.metric,
            "optimizer": self.optimizer,
            "rows": {"search": self.search, "pool": self.pool, "confirm": self.confirm, "clusters": self.clusters},
            "axes": [
                {"name": axis.name, "step": axis.step, "kind": axis.kind, "levels": [each.name for each in axis.levels]}
                for axis in self.axes
            ],
            "candidates": self.candidates,
            "calls": self.calls,
            "confirm_calls": self.confirm_calls,
            "budget": self.limits.record(),
            "minutes": self.minutes,
            "smallest": self.smallest,
            "notes": list(self.notes),
        }
