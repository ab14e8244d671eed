"""The race: successive elimination of candidates on paired rows. It has no input or output of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

DropReason = Literal["too many", "too costly", "format", "no answer", "repeats", "behind", "cut"]
RaceEnd = Literal["one left", "all rows", "budget"]

SMOKE_ROWS: Final = 8
MORE_UNPARSED: Final = 4
"""A candidate with this many more unparsed answers in the smoke block than the start is dropped."""
SPARE_MISSING, MOST_MISSING = 2, 0.02
"""The number of answers that a candidate may lack more than another, and the share of rows."""
BLOCK: Final = 10
DROPS_FROM: Final = 20
"""With fewer rows nobody is dropped for being behind."""
BEHIND_ERRORS: Final = 2.5
"""Standard errors behind the leader. A drop saves calls and claims nothing: the test is repeated at each block."""
ROWS_EACH: Final = 12
"""A budget admits no more candidates than it can take to this many rows: otherwise the first rung is noise."""
DEARER_TIMES: Final = 1.5
"""A candidate at most this many times the start's cost is never too costly."""
NOT_WORSE_ERRORS: Final = 1.96
"""A candidate at most this many standard errors behind the leader is not shown to be worse."""
CHEAP_PLACES: Final = 3
"""Where cheap candidates are kept, one place in so many is for the cheapest of those not shown to be worse."""
EQUAL_MEANS: Final = 0.005
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is due: rows of the row order on which none of `alive` has scores yet."""

    alive: tuple[int, ...]
    rows: range


@dataclass(slots=True)
class RaceEntry:
    """One candidate's course: its scores on a prefix of the row order, and after how many rows it was dropped.

    `tokens`: mean per row. `shown`: rows of the prefix that it shows as examples and has no score on. `why` is None for
    finalists; one that was not admitted was dropped at 0.
    """

    scores: Floats = field(default_factory=lambda: _no_scores())
    tokens: float = 0.0
    shown: int = 0
    dropped_at: int | None = None
    why: DropReason | None = None

    @property
    def rows(self) -> int:
        """The number of rows that it has scores on."""
        return len(self.scores)

    @property
    def missing(self) -> int:
        """The number of rows without a score, but for those that it shows as examples."""
        return int(np.isnan(self.scores).sum()) - self.shown


class Race:
    """A race of candidates over the rows of one order, for a budget in calls. Candidate 0 is the start.

    All go to a first rung, the largest from which halving the candidates and doubling the rows ends within the budget;
    at each rung the best stay, as many as can be paid for (successive halving: Karnin, Koren & Somekh 2013, ICML; here
    the rows double, where theirs gives each rung equal budget). Between rungs, candidates far behind are dropped. Ask
    and tell: as long as `ask` returns a block, its rows are evaluated and the scores handed to `tell`. Decisions depend
    on these scores alone, so a repeated race takes the same course.
    """

    def __init__(
        self,
        *,
        costs: Sequence[float],
        rows: int,
        budget: float,
        equal: float = EQUAL_MEANS,
        keeps_cheap: bool = False,
        swing: float = 0.0,
        spent: float = 0.0,
        known: Sequence[int] | None = None,
    ) -> None:
        """Enter candidates with these costs in calls per row.

        `spent` calls of the same budget went before the race, into screening. `known`: how many rows of the order each
        has results on already; these are due like others, but cost nothing. If there are too many candidates, the first
        are admitted. `keeps_cheap`: at a rung some places are for the candidates with the fewest tokens that are not
        shown to be worse. `swing`: the difference that one answer can make, if scores also count costs; these differ
        alike on all rows, so the rows alone would make a difference of a few tokens look certain. Raises ValueError for
        no candidates, no rows, and different lengths.
        """
        count = len(costs)
        self._costs = RaceCosts(costs, [0] * count if known is None else known)
        if not count or rows < 1 or count != len(self._costs.known):
            raise ValueError("a race needs candidates, rows, and the known rows of each candidate")
        self.rows, self.budget_left, self.equal, self.keeps_cheap = rows, float(budget), equal, keeps_cheap
        self._swing = swing
        self.entries = [RaceEntry() for _ in costs]
        self.ended: RaceEnd | None = None
        self.unreadable = False
        """True if no candidate's answers in the smoke block could be read: then the answer format is the problem."""
        self._alive = self._admit(spent)
        self._rows_seen, self._rung, self._is_first_rung = 0, rows, True
        self._block = self._next_block()

    def ask(self) -> Block | None:
        """Return the block that is due, the same until `tell` gets its scores; None if the race has ended."""
        return self._block

    def tell(
        self,
        scores: Mapping[int, ArrayLike],
        unparsed: Mapping[int, ArrayLike],
        calls: float,
        tokens: Mapping[int, float] | None = None,
        shown: Mapping[int, int] | None = None,
        repeats: Sequence[int] = (),
    ) -> None:
        """Take the scores of the block that is due.

        `scores` and `unparsed` hold for each alive candidate an array (rows so far,): scores, higher is better and NaN
        if missing, and whether an answer was not parsed or was cut off (or in what share of its repeats). Scores of
        earlier rows may have changed, as they do if a calibration is fitted to all of them. `calls`: the cost of the
        block when it was asked, now or earlier, so that a resumed race decides the same; `known` rows cost nothing.
        `tokens`: mean per row by candidate. `shown`: the number of scores that a candidate lacks because it shows these
        rows as examples, which is no fault of its answers. `repeats`: those that sent the requests of another on all
        rows so far: they leave. Raises ValueError if no block is due, and for other lengths.
        """
        if self._block is None:
            raise ValueError("no block is due: the race has ended")
        stop = self._block.rows.stop
        given = {candidate: np.asarray(scores[candidate], dtype=np.float64) for candidate in self._alive}
        failed = {candidate: np.asarray(unparsed[candidate], dtype=np.float64) for candidate in self._alive}
        if any(array.shape != (stop,) for array in (*given.values(), *failed.values())):
            raise ValueError(f"there must be one score of each of {stop} rows")
        for candidate in self._alive:
            self.entries[candidate].scores = given[candidate]
            self.entries[candidate].tokens = (tokens or {}).get(candidate, 0.0)
            self.entries[candidate].shown = (shown or {}).get(candidate, 0)
        is_smoke, self._rows_seen = self._rows_seen == 0, stop
        self.budget_left -= calls
        self._drop(repeats, "repeats")
        if is_smoke:
            self._drop_failing(failed)
        self._advance()
        self._block = self._next_block()

    @property
    def finalists(self) -> tuple[int, ...]:
        """The candidates that are alive."""
        return tuple(self._alive)

    @property
    def incumbent(self) -> int:
        """The candidate with the highest mean; of those within `equal` of it, the one with the fewest tokens.

        Ties in tokens go to the higher mean, then to the first. Before the end it is the best so far.
        """
        ahead = self._leads()
        best = max(ahead.values())
        near = [candidate for candidate in self._alive if ahead[candidate] >= best - self.equal]
        return min(near, key=lambda candidate: (self.entries[candidate].tokens, -ahead[candidate], candidate))

    def _admit(self, spent: float) -> list[int]:
        """Return the candidates that enter.

        Left out are those much costlier than the start that alone would take half of the budget on all rows, at which
        many others would see few, and those that are more than the budget can tell apart.
        """
        alive = [0]
        most = most_cost(self.budget_left + spent, self.rows, start=self._costs.costs[0])
        for candidate, entry in list(enumerate(self.entries))[1:]:
            if self._costs.costs[candidate] > most:
                entry.dropped_at, entry.why = 0, "too costly"
            elif self._costs.of([*alive, candidate], 0, min(ROWS_EACH, self.rows)) > self.budget_left:
                entry.dropped_at, entry.why = 0, "too many"
            else:
                alive.append(candidate)
        return alive

    def _next_block(self) -> Block | None:
        """Return the next block, up to the next row at which anything is decided; or end the race."""
        if len(self._alive) == 1:
            self.ended = "one left"
        elif self._rows_seen == self.rows:
            self.ended = "all rows"
        if self._rows_seen == 0:
            stop = min(SMOKE_ROWS, self.rows)
        else:
            stop = min(self._rung, max(DROPS_FROM, (self._rows_seen // BLOCK + 1) * BLOCK))
        if self.ended is None and self._costs.of(self._alive, self._rows_seen, stop) > self.budget_left:
            self.ended = "budget"
        return None if self.ended else Block(tuple(self._alive), range(self._rows_seen, stop))

    def _advance(self) -> None:
        """Drop who is behind and, at a rung or if the way to it can no longer be paid, whom the budget cannot keep."""
        if self._is_first_rung:
            # Calls may cost more than expected; calls saved by drops keep more candidates alive later.
            reach = first_rung(self._costs, self._alive, self._rows_seen, self.rows, self.budget_left)
            self._rung = min(self._rung, reach)
        if self._rows_seen >= DROPS_FROM:
            self._drop_silent()
        if self._rows_seen >= DROPS_FROM or self._rows_seen == self._rung:
            self._drop_behind()
        if len(self._alive) == 1 or self._rows_seen == self.rows:
            return
        if self._rows_seen >= self._rung or self._costs.of(self._alive, self._rows_seen, self._rung) > self.budget_left:
            self._cut()

    def _cut(self) -> None:
        """Keep as many of the best as can go on; if not even two can, end the race with all that are alive."""
        ranked = self._ranked()
        kept = survivors(self._costs, ranked, self._rows_seen, self.rows, self.budget_left)
        if kept < 2:
            self.ended = "budget"
            return
        self._drop(ranked[kept:], "cut")
        self._rung, self._is_first_rung = min(self.rows, 2 * self._rows_seen), False

    def _ranked(self) -> list[int]:
        """Return the alive candidates in the order in which they are kept: the best first, or by turns with the
        cheapest.
        """
        ahead = self._leads()
        ranked = sorted(
            self._alive, key=lambda candidate: (-ahead[candidate], self.entries[candidate].tokens, candidate)
        )
        if not self.keeps_cheap:
            return ranked
        near = [
            candidate
            for candidate, errors in zip(self._alive, self._errors_behind(), strict=True)
            if errors < NOT_WORSE_ERRORS
        ]
        cheapest = sorted(near, key=lambda candidate: (self.entries[candidate].tokens, ranked.index(candidate)))
        order: dict[int, None] = {}
        while len(order) < len(ranked):
            # The second place of each group is for a cheap one: the last two alive are the best and the cheapest.
            group = [*cheapest, *ranked] if len(order) % CHEAP_PLACES == 1 else ranked
            order[next(candidate for candidate in group if candidate not in order)] = None
        return list(order)

    def _drop_failing(self, unparsed: Mapping[int, Floats]) -> None:
        """After the smoke block, drop candidates whose answers are unreadable or missing, unless all are."""
        missing = {candidate: self.entries[candidate].missing for candidate in self._alive}
        failed = {candidate: missing[candidate] + float(np.nansum(unparsed[candidate])) for candidate in self._alive}
        if min(failed.values()) >= MORE_UNPARSED:
            self.unreadable = True
            means = {candidate: float(np.nansum(self.entries[candidate].scores)) for candidate in self._alive}
            best = sorted(self._alive, key=lambda candidate: (failed[candidate], -means[candidate], candidate))[:2]
            self._drop([candidate for candidate in self._alive if candidate not in best], "format")
            return
        silent = [candidate for candidate in self._alive if missing[candidate] >= missing[0] + MORE_UNPARSED]
        self._drop(silent, "no answer")
        self._drop([candidate for candidate in self._alive if failed[candidate] >= failed[0] + MORE_UNPARSED], "format")

    def _drop_silent(self) -> None:
        """Drop who lacks more answers than others: it may lead on the rows that it has, but could not be confirmed."""
        missing = {candidate: self.entries[candidate].missing for candidate in self._alive}
        most = min(missing.values()) + SPARE_MISSING + MOST_MISSING * self._rows_seen
        self._drop([candidate for candidate in self._alive if missing[candidate] >= most], "no answer")

    def _drop_behind(self) -> None:
        """Drop who is behind the leader by more than chance usually makes."""
        far = zip(self._alive, self._errors_behind(), strict=True)
        self._drop([candidate for candidate, errors in far if errors >= BEHIND_ERRORS], "behind")

    def _errors_behind(self) -> list[float]:
        """Return the distance of each alive candidate behind the leader in standard errors.

        By McNemar's score statistic if all scores are 0 or 1, otherwise by the mean difference over its standard error
        with two pseudo-rows, as in the interval of such differences.
        """
        differences, shared = self._differences()
        pairs = shared.sum(axis=1)
        behind, squares, differ = -differences.sum(axis=1), (differences**2).sum(axis=1), (differences != 0).sum(axis=1)
        if np.isin(differences, (-1.0, 0.0, 1.0)).all():
            return list(behind / np.sqrt(np.maximum(differ, 1)))
        square = np.maximum(np.where(differ > 0, squares / np.maximum(differ, 1), 1.0), self._swing**2)
        mean = behind / (pairs + 2)
        variance = (squares + 2 * square - (pairs + 2) * mean**2) / (pairs + 1)
        return list(mean / np.sqrt(variance / (pairs + 2)))

    def _drop(self, candidates: Sequence[int], why: DropReason) -> None:
        for candidate in candidates:
            self.entries[candidate].dropped_at, self.entries[candidate].why = self._rows_seen, why
        self._alive = [candidate for candidate in self._alive if candidate not in candidates]

    def _leads(self) -> dict[int, float]:
        """Return the lead of each alive candidate's mean over the leader's, on the rows that both have."""
        differences, shared = self._differences()
        pairs = shared.sum(axis=1)
        ahead = np.where(pairs > 0, differences.sum(axis=1) / np.maximum(pairs, 1), -np.inf)
        # Differences by rounding alone are ties.
        return dict(zip(self._alive, np.round(ahead, _DIGITS).tolist(), strict=True))

    def _differences(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the scores of each alive candidate minus the leader's, (alive, rows), and which rows both have.

        A difference is 0 if either score is missing.
        """
        scores = np.stack([self.entries[candidate].scores for candidate in self._alive])
        there = ~np.isnan(scores)
        sums, counts = np.where(there, scores, 0.0).sum(axis=1), there.sum(axis=1)
        leader = int(np.argmax(np.where(counts > 0, np.round(sums / np.maximum(counts, 1), _DIGITS), -np.inf)))
        shared = there & there[leader]
        return np.where(shared, scores - scores[leader], 0.0), shared


def most_cost(calls: float, rows: int, *, start: float = 1.0) -> float:
    """Return the highest cost per row at which a race of so many calls and rows admits a candidate."""
    return max(DEARER_TIMES * start, calls / 2 / rows)


def default_budget(candidates: int, rows: int) -> int:
    """Return the usual number of calls of a race: little is lost against evaluating everything. Rounded up."""
    share = 1 / 2 if candidates <= 16 else 2 / 5 if candidates <= 32 else 1 / 3
    return ceil(share * candidates * rows)


def _no_scores() -> Floats:
    return np.empty(0)


CostOfBest = Callable[[int, int, int], float]
"""The cost of a number of the best candidates from one row to another."""


@dataclass(frozen=True, slots=True)
class RaceCosts:
    """Calls per row of each candidate, and the number of rows of the order that it has results on."""

    costs: Sequence[float]
    known: Sequence[int]

    def of(self, candidates: Sequence[int], start: int, stop: int) -> float:
        """Return the cost of taking candidates from `start` rows to `stop`."""
        return sum(self.costs[candidate] * max(0, stop - max(start, self.known[candidate])) for candidate in candidates)


def remaining_cost(cost: CostOfBest, alive: int, seen: int, rows: int) -> float:
    """Return the cost from a row on, halving the candidates and doubling the rows until one is left."""
    total = 0.0
    while seen < rows and alive > 1:
        until = min(rows, 2 * seen)
        total += cost(alive, seen, until)
        seen, alive = until, ceil(alive / 2)
    return total


def first_rung(prices: RaceCosts, alive: Sequence[int], seen: int, rows: int, budget: float) -> int:
    """Return the largest row that all can reach so that the race can still go on from there with half of them.

    Who will be left is not known in advance, so a half costs half of all. It is `seen` if nothing can be paid.
    """

    def cost(count: int, start: int, stop: int) -> float:
        return prices.of(alive, start, stop) * count / len(alive)

    def needed(rung: int) -> float:
        return cost(len(alive), seen, rung) + remaining_cost(cost, ceil(len(alive) / 2), rung, rows)

    # The cost grows with the rung: a further row for all costs more than it saves in a later doubling.
    return seen + bisect_right(range(seen + 1, rows + 1), budget, key=needed)


def survivors(prices: RaceCosts, ranked: Sequence[int], seen: int, rows: int, budget: float) -> int:
    """Return the number of the best that can go on from a rung within the budget; fewer than 2 if no race can."""

    def cost(count: int, start: int, stop: int) -> float:
        return prices.of(ranked[:count], start, stop)

    return next((s for s in range(len(ranked), 1, -1) if remaining_cost(cost, s, seen, rows) <= budget), 1)
