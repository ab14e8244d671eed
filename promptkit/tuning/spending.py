"""How a budget is shared: what the confirmation needs is set aside before anything is searched."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, prod
from typing import TYPE_CHECKING, Any, Final

from promptkit.engine import step_inputs
from promptkit.errors import InputError
from promptkit.runtimes import Budget
from promptkit.tuning.race import ROWS_EACH, default_budget
from promptkit.tuning.technique_levels import own_requests

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.tuning.field import Cell
    from promptkit.tuning.ground import Ground
    from promptkit.tuning.wishes import Limits

CANDIDATES: Final = 16
"""Of so many candidates is the usual number of calls made, where none is named."""
LEAST_CANDIDATES: Final = 2
CONFIRM_SHARE: Final = 0.4
"""Up to this share of the calls is set aside so that a pick that costs more a row can be confirmed."""
LONGER: Final = 2.0
"""A pick is taken to have up to so many times the start's tokens."""
SLACK: Final = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Calls, as they are shared: `search` and `confirm` together are `total`. `most_requests` is the most that a
    candidate may cost a row, of one of the start."""

    total: int
    search: int
    confirm: int
    most_requests: float


def shared(
    limits: Limits, *, order: int, confirm: int, calls_a_row: float, prices: Sequence[Sequence[float]]
) -> Shares:
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
    return Shares(total=total, search=total - set_aside, confirm=set_aside, most_requests=most)


def likely_calls(ground: Ground) -> float:
    """Return about how many calls a row of the start takes, before any was asked: by the techniques of its steps, the
    repeats of the suite, and the items that the first rows have for a `for_each`."""
    suite = ground.suite
    pipeline, rows = suite.baseline.pipeline, [ground.rows[place].inputs[0] for place in ground.order[:ROWS_EACH]]
    return suite.repeat * max(1.0, sum(_requests(pipeline, step, rows) for step in pipeline.steps.values()))


def _requests(pipeline: Pipeline, step: Step, rows: Sequence[Mapping[str, Any]]) -> float:
    if step.pipeline is not None:
        return sum(_requests(step.pipeline, each, ()) for each in step.pipeline.steps.values())
    if step.asking is None:
        return 0.0
    items = [_items(pipeline, step, row) for row in rows] or [1]
    return own_requests(pipeline, step) * sum(items) / len(items)


def _items(pipeline: Pipeline, step: Step, row: Mapping[str, Any]) -> int:
    """Return how many items a step has of a row; 1 where only the steps before it tell."""
    try:
        return max(1, len(step_inputs(pipeline, step, row)))
    except InputError:
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a row of the start takes, as measured: `calls` with its judge's, whose tokens are `judging`, and `seconds`
    by the clock."""

    calls: float
    tokens: float
    seconds: float
    judging: float = 0.0


def price_of(cells: Sequence[Cell], *, seconds: float | None, parallel: int) -> Price:
    """Return what a row takes by the cells of some.

    `seconds` are what all took by the clock, None where they were known: then it is what they took the model when they
    were asked, `parallel` at once.
    """
    count = max(1, len(cells))
    if seconds is None:
        seconds = sum(each.seconds for each in cells) / parallel
    return Price(
        calls=sum(each.calls for each in cells) / count or 1.0,
        tokens=sum(each.tokens for each in cells) / count,
        judging=sum(each.judging for each in cells) / count,
        seconds=seconds / count,
    )


class Spending:
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

    def search(self, shares: Shares, price: Price, *, confirm: int) -> None:
        """Leave to a search what the confirmation of `confirm` rows is not likely to need.

        No more calls are left than tokens and time are likely to hold: a search that plans by its calls is not broken
        off. Raises InputError where they do not hold the confirmation and one block of two candidates.
        """
        budget, block = self.budget, LEAST_CANDIDATES * ROWS_EACH
        of_start, of_another = (times * price.tokens + price.judging for times in (1, LONGER))
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

    def rest(self, shares: Shares) -> None:
        """Leave all that there is."""
        self.budget.most = shares.total
        self.budget.most_tokens = inf if self._limits.tokens is None else self._limits.tokens
        self.budget.deadline = self._deadline
