"""The reserve of a budget for the confirmation; the search may spend what is not in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from promptkit.runtimes.budget import Budget
from promptkit.tuning.costs import Amounts, CandidateCosts
from promptkit.tuning.search.race import ROWS_EACH
from promptkit.tuning.search_space.candidate import Candidate

LEAST_CANDIDATES: Final = 2
"""The candidates of which a search evaluates one block of rows at least."""
MOST_SHARE: Final = 0.5
"""The largest share of a budget that dear candidates take from the search; a pick that is dearer gets fewer pairs."""
SLACK: Final = 1.2
"""The factor on expected times: they vary more than calls and tokens."""


def reserve_amount(wanted: Amounts, *, plain: Amounts, total: Amounts, search: Amounts) -> Amounts:
    """Return the amount of `total` to set aside where the dearest candidate alive wants `wanted`.

    A confirmation at twice the start's cost, `plain`, is always set aside, but for the least of a `search`.
    """
    finite = np.isfinite(total)
    most = np.minimum(np.maximum(plain, MOST_SHARE * total), total - search)
    return np.where(finite, np.minimum(wanted, most), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRows:
    """The rows that a confirmation asks.

    Each of `pairs` held-out rows is asked of the start and of `candidates` candidates, each of `further` rows of
    another suite of the start and of one.
    """

    pairs: int
    candidates: int = 1
    further: int = 0

    @property
    def of_start(self) -> int:
        """The number of rows that the start is asked."""
        return self.pairs + self.further

    @property
    def of_candidates(self) -> int:
        """The number of rows that the candidates are asked together."""
        return self.pairs * self.candidates + self.further


def least_search(rows: int) -> int:
    """Return the least that a search on `rows` rows takes, in rows of the start: a block of rows for two candidates."""
    return LEAST_CANDIDATES * min(ROWS_EACH, rows)


class ConfirmationReserve:
    """Sets aside what the confirmation of `rows` takes, by the dearest candidate that is alive.

    It lowers the limits of a budget, and raises them again when candidates turn out cheaper or are dropped. Without
    `costs`, or for no rows, nothing is set aside.
    """

    def __init__(
        self,
        budget: Budget,
        costs: CandidateCosts | None = None,
        *,
        rows: ConfirmationRows | None = None,
        search_rows: int = ROWS_EACH,
    ) -> None:
        self._budget, self._costs, self._rows = budget, costs, rows or ConfirmationRows(pairs=0)
        self._least_search = least_search(search_rows)
        self._limits = np.array([budget.most, budget.most_tokens, budget.deadline])
        self._total = np.array([budget.most, budget.most_tokens, budget.seconds_left])
        self._held: Amounts = np.zeros(3)
        self._kept: Amounts = np.zeros(3)
        self._row: Amounts = np.array([1.0, 0.0, 0.0])
        self._alive: dict[str, Amounts] = {}
        self._share_end = inf

    async def hold(self, alive: Sequence[Candidate]) -> None:
        """Set aside what the dearest of these candidates takes beside the start, as far as that leaves a search."""
        if self._costs is None:
            return
        start = (await self._costs.of(Candidate())).amounts
        costs = np.array([(await self._costs.of(candidate)).amounts for candidate in alive] or [start])
        slack = np.array([1.0, 1.0, SLACK])
        dearest = np.maximum(start, costs.max(axis=0))
        self._held = reserve_amount(
            slack * (self._rows.of_start * start + self._rows.of_candidates * dearest),
            plain=slack * (self._rows.of_start + self._rows.of_candidates) * start,
            total=self._total,
            search=self._least_search * start,
        )
        self._row = costs.mean(axis=0)
        self._alive = {candidate.key: cost for candidate, cost in zip(alive, costs, strict=False)}
        self._limit()

    @property
    def calls_left(self) -> float:
        """The calls that the search may still spend, as many as tokens and time hold at the mean cost of `hold`."""
        rows = self._rows_left()
        calls = self._left()[0] if rows.argmin() == 0 else rows.min() * self._row[0]
        return max(0.0, float(calls))

    @property
    def dearest_calls(self) -> float:
        """The calls of a row of the dearest candidate of `hold`."""
        return float(max((cost[0] for cost in self._alive.values()), default=self._row[0]))

    def weight(self, candidate: Candidate) -> float:
        """Return the weight of a candidate's call in the limit that ends first, relative to the mean of those alive.

        1 where calls end first.
        """
        ends_first, cost = int(self._rows_left().argmin()), self._alive.get(candidate.key)
        if cost is None or not cost[0] or ends_first == 0:
            return 1.0
        return float(cost[ends_first] / self._row[ends_first] * self._row[0] / cost[0])

    def _rows_left(self) -> Amounts:
        """Return the number of rows of the mean cost that each limit holds, (3,)."""
        left = self._left() / np.array([1.0, 1.0, SLACK])
        rows: Amounts = np.divide(left, self._row, out=np.full(3, inf), where=self._row > 0)
        return rows

    async def pairs_held(self, *candidates: Candidate) -> int:
        """Return the number of held-out rows on which the rest of the budget holds the start and the candidates.

        At most all. Further rows take their share of a budget that does not hold all.
        """
        if self._costs is None:
            return self._rows.pairs
        start = (await self._costs.of(Candidate())).amounts
        others = [(await self._costs.of(candidate)).amounts for candidate in candidates]
        row = np.sum([start, *others], axis=0)
        further = self._rows.further / max(1, self._rows.pairs) * (start + others[0])
        held = np.divide(self._left(), row + further, out=np.full(3, inf), where=row > 0).min()
        return max(0, int(min(self._rows.pairs, held)))

    def keep(self, amounts: Amounts) -> None:
        """Keep calls, tokens and seconds, (3,), from the search, besides what the confirmation takes; none for 0."""
        self._kept = amounts
        self._limit()

    def release(self) -> None:
        """Make all of the budget available."""
        self._held = np.zeros(3)
        self._limit()

    @contextmanager
    def share(self, calls: int | None) -> Iterator[None]:
        """Allow at most so many calls within the block, besides what is set aside; None for all."""
        outer = self._share_end
        if calls is not None:
            self._share_end = min(outer, self._budget.spent + calls)
        self._limit()
        try:
            yield
        finally:
            self._share_end = outer
            self._limit()

    def _left(self) -> Amounts:
        budget = self._budget
        # As many tokens as the largest request took are kept back for one in flight.
        tokens = budget.most_tokens - budget.spent_tokens - budget.largest_request
        return np.array([budget.most - budget.spent, tokens, budget.seconds_left])

    def _limit(self) -> None:
        most, tokens, deadline = (self._limits - self._held - self._kept).tolist()
        self._budget.most = min(most, self._share_end)
        self._budget.most_tokens, self._budget.deadline = tokens, deadline
