"""The race: successive elimination of candidates on paired rows. It has no input or output of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

DropReason = Literal["too many", "too costly", "format", "no answer", "behind", "cut"]
RaceEnd = Literal["one left", "all rows", "budget"]

SMOKE_ROWS: Final = 8
MORE_UNPARSED: Final = 4
"""A candidate with so many more unparsed answers in the smoke block than the start is dropped."""
SPARE_MISSING, MOST_MISSING = 2, 0.02
"""How many more answers than another, and which share of all rows, a candidate may lack."""
BLOCK: Final = 10
DROPS_FROM: Final = 20
"""On fewer rows nobody is dropped for being behind."""
BEHIND_ERRORS: Final = 2.5
"""Standard errors behind the leader. It saves calls and claims nothing, for it is looked at again and again."""
ROWS_EACH: Final = 12
"""A budget lets no more candidates in than it can take so far: else the first rung is noise."""
DEARER_TIMES: Final = 1.5
"""What costs no more than so many times the start is never too costly: a request more now and then is no reason."""
EQUAL_MEANS: Final = 0.005
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Block:
    """What is due: the rows of the row order that none of `alive` has been given scores of."""

    alive: tuple[int, ...]
    rows: range


@dataclass(slots=True)
class RaceEntry:
    """What became of one candidate: its scores on a prefix of the row order, and after how many rows it was dropped.

    `tokens` is the mean of a row. `why` is None for finalists; one that did not enter was dropped at 0.
    """

    scores: Floats = field(default_factory=lambda: _no_scores())
    tokens: float = 0.0
    dropped_at: int | None = None
    why: DropReason | None = None

    @property
    def rows(self) -> int:
        """Return how many rows it has seen."""
        return len(self.scores)


class Race:
    """A race of candidates, of which number 0 is the start, over the rows of one order, for a budget in calls.

    All go to a first rung, the largest from which halving the field and doubling the rows ends within the budget; at
    each rung the best stay, as many as can be paid for (successive halving: Karnin, Koren & Somekh 2013, ICML; here
    the rows double, where theirs gives each rung equal money). Between rungs whoever is far behind is dropped. As long
    as `next` gives a block, its cells are asked and their scores handed to `give`. Decisions are a function of what was
    given and of nothing else, so that a race which is given the same again goes the same way.
    """

    def __init__(
        self,
        *,
        costs: Sequence[float],
        rows: int,
        budget: float,
        equal: float = EQUAL_MEANS,
        spent: float = 0.0,
        known: Sequence[int] | None = None,
    ) -> None:
        """Enter candidates that cost so many calls a row.

        `spent` calls of the same budget went before the race, in a screen. `known` says how many rows of the order each
        has been asked already: they are due as others are, but cost nothing of the budget. Where there are too many,
        those that come first enter. Raises ValueError for no candidates, no rows, and unlike lengths.
        """
        count = len(costs)
        self._prices = RaceCosts(costs, [0] * count if known is None else known)
        if not count or rows < 1 or count != len(self._prices.known):
            raise ValueError("a race has candidates and rows, and says of each candidate what it knows")
        self.rows, self.left, self.equal = rows, float(budget), equal
        self.lanes = [RaceEntry() for _ in costs]
        self.ended: RaceEnd | None = None
        self.unreadable = False
        """Whether nobody's answers in the smoke block could be read: then the format is the problem."""
        self._alive = self._entering(spent)
        self._seen, self._rung, self._is_first_rung = 0, rows, True
        self._block = self._due()

    def next(self) -> Block | None:
        """Return the block that is due, the same until its scores are given; None where the race has ended."""
        return self._block

    def give(
        self,
        scores: Mapping[int, ArrayLike],
        unparsed: Mapping[int, ArrayLike],
        calls: float,
        tokens: Mapping[int, float] | None = None,
    ) -> None:
        """Take what the block gave.

        `scores` and `unparsed` hold for each candidate that is alive (rows so far,): scores in [0, 1], NaN where
        missing, and whether an answer was not parsed or was cut off (or in what share of its repeats). Scores of rows
        given before may have changed, as they do where a calibration is fitted to all of them. `calls` is what the
        block's cells cost when they were asked, be it now or before, so that a race that is resumed decides the same;
        those that were `known` cost nothing. `tokens` are the mean of a row by candidate. Raises ValueError if
        no block is due, and for other lengths.
        """
        import numpy as np

        if self._block is None:
            raise ValueError("the race has ended: no block is due")
        stop = self._block.rows.stop
        given = {each: np.asarray(scores[each], dtype=np.float64) for each in self._alive}
        failed = {each: np.asarray(unparsed[each], dtype=np.float64) for each in self._alive}
        if any(each.shape != (stop,) for each in (*given.values(), *failed.values())):
            raise ValueError(f"there must be one score of each of {stop} rows")
        for each in self._alive:
            self.lanes[each].scores = given[each]
            self.lanes[each].tokens = (tokens or {}).get(each, 0.0)
        is_smoke, self._seen = self._seen == 0, stop
        self.left -= calls
        if is_smoke:
            self._drop_failing(failed)
        self._move_on()
        self._block = self._due()

    @property
    def finalists(self) -> tuple[int, ...]:
        """Who is alive: before the end, who still is."""
        return tuple(self._alive)

    @property
    def pick(self) -> int:
        """The candidate of the highest mean, or of those within `equal` of it the one of the fewest tokens.

        Of equal tokens it is the higher mean, then the first. Before the end it is the best so far.
        """
        ahead = self._ahead()
        best = max(ahead.values())
        near = [each for each in self._alive if ahead[each] >= best - self.equal]
        return min(near, key=lambda each: (self.lanes[each].tokens, -ahead[each], each))

    def _entering(self, spent: float) -> list[int]:
        """Return who enters: nobody much dearer than the start who alone would take half of the budget on all rows,
        for whom many others would see few, and no more than the budget can tell apart."""
        alive = [0]
        most = max(DEARER_TIMES * self._prices.costs[0], (self.left + spent) / 2 / self.rows)
        for each, lane in list(enumerate(self.lanes))[1:]:
            if self._prices.costs[each] > most:
                lane.dropped_at, lane.why = 0, "too costly"
            elif self._prices.of([*alive, each], 0, min(ROWS_EACH, self.rows)) > self.left:
                lane.dropped_at, lane.why = 0, "too many"
            else:
                alive.append(each)
        return alive

    def _due(self) -> Block | None:
        """Return the next block, up to the next row at which anything is decided; or end."""
        if len(self._alive) == 1:
            self.ended = "one left"
        elif self._seen == self.rows:
            self.ended = "all rows"
        if self._seen == 0:
            stop = min(SMOKE_ROWS, self.rows)
        else:
            stop = min(self._rung, max(DROPS_FROM, (self._seen // BLOCK + 1) * BLOCK))
        if self.ended is None and self._prices.of(self._alive, self._seen, stop) > self.left:
            self.ended = "budget"
        return None if self.ended else Block(tuple(self._alive), range(self._seen, stop))

    def _move_on(self) -> None:
        """Drop who is behind and, at a rung or where the way to it can no longer be paid, whom no money is left for."""
        if self._is_first_rung:
            # Calls may turn out dearer than expected; what is saved by drops keeps more alive later.
            reach = first_rung(self._prices, self._alive, self._seen, self.rows, self.left)
            self._rung = min(self._rung, reach)
        if self._seen >= DROPS_FROM:
            self._drop_silent()
        if self._seen >= DROPS_FROM or self._seen == self._rung:
            self._drop_behind()
        if len(self._alive) == 1 or self._seen == self.rows:
            return
        if self._seen >= self._rung or self._prices.of(self._alive, self._seen, self._rung) > self.left:
            self._cut()

    def _cut(self) -> None:
        """Keep as many of the best as can go on; where not even two can, the race ends with all that are here."""
        ahead = self._ahead()
        ranked = sorted(self._alive, key=lambda each: (-ahead[each], self.lanes[each].tokens, each))
        kept = survivors(self._prices, ranked, self._seen, self.rows, self.left)
        if kept < 2:
            self.ended = "budget"
            return
        self._drop(ranked[kept:], "cut")
        self._rung, self._is_first_rung = min(self.rows, 2 * self._seen), False

    def _drop_failing(self, unparsed: Mapping[int, Floats]) -> None:
        """After the smoke block drop whose answers cannot be read or are not there, unless that holds for all."""
        import numpy as np

        missing = {each: int(np.isnan(self.lanes[each].scores).sum()) for each in self._alive}
        failed = {each: missing[each] + float(np.nansum(unparsed[each])) for each in self._alive}
        if min(failed.values()) >= MORE_UNPARSED:
            self.unreadable = True
            means = {each: float(np.nansum(self.lanes[each].scores)) for each in self._alive}
            best = sorted(self._alive, key=lambda each: (failed[each], -means[each], each))[:2]
            self._drop([each for each in self._alive if each not in best], "format")
            return
        silent = [each for each in self._alive if missing[each] >= missing[0] + MORE_UNPARSED]
        self._drop(silent, "no answer")
        self._drop([each for each in self._alive if failed[each] >= failed[0] + MORE_UNPARSED], "format")

    def _drop_silent(self) -> None:
        """Drop who lacks more answers than others do: on rows that it has it may lead, and could not be confirmed."""
        import numpy as np

        missing = {each: int(np.isnan(self.lanes[each].scores).sum()) for each in self._alive}
        most = min(missing.values()) + SPARE_MISSING + MOST_MISSING * self._seen
        self._drop([each for each in self._alive if missing[each] >= most], "no answer")

    def _drop_behind(self) -> None:
        """Drop who is behind the leader by more than chance mostly makes.

        By McNemar's score statistic where all scores are 0 or 1, else by the mean difference over its standard error
        with two pseudo-rows, as in the interval of such differences.
        """
        import numpy as np

        differences, shared = self._differences()
        pairs = shared.sum(axis=1)
        behind, squares, differ = -differences.sum(axis=1), (differences**2).sum(axis=1), (differences != 0).sum(axis=1)
        if np.isin(differences, (-1.0, 0.0, 1.0)).all():
            z = behind / np.sqrt(np.maximum(differ, 1))
        else:
            square = np.where(differ > 0, squares / np.maximum(differ, 1), 1.0)
            mean = behind / (pairs + 2)
            variance = (squares + 2 * square - (pairs + 2) * mean**2) / (pairs + 1)
            z = mean / np.sqrt(variance / (pairs + 2))
        self._drop([each for each, far in zip(self._alive, z >= BEHIND_ERRORS, strict=True) if far], "behind")

    def _drop(self, candidates: Sequence[int], why: DropReason) -> None:
        for each in candidates:
            self.lanes[each].dropped_at, self.lanes[each].why = self._seen, why
        self._alive = [each for each in self._alive if each not in candidates]

    def _ahead(self) -> dict[int, float]:
        """Return how far the mean of each that is alive is ahead of the leader's, on the rows that both have."""
        import numpy as np

        differences, shared = self._differences()
        pairs = shared.sum(axis=1)
        ahead = np.where(pairs > 0, differences.sum(axis=1) / np.maximum(pairs, 1), -np.inf)
        # What differs by rounding alone is a tie.
        return dict(zip(self._alive, np.round(ahead, _DIGITS).tolist(), strict=True))

    def _differences(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the scores of each that is alive minus the leader's, 0 where either is missing, and where none is."""
        import numpy as np

        scores = np.stack([self.lanes[each].scores for each in self._alive])
        there = ~np.isnan(scores)
        sums, counts = np.where(there, scores, 0.0).sum(axis=1), there.sum(axis=1)
        leader = int(np.argmax(np.where(counts > 0, np.round(sums / np.maximum(counts, 1), _DIGITS), -np.inf)))
        shared = there & there[leader]
        return np.where(shared, scores - scores[leader], 0.0), shared


def default_budget(candidates: int, rows: int) -> int:
    """Return the calls of a race for which none are named: what loses little against asking everything, rounded up."""
    share = 1 / 2 if candidates <= 16 else 2 / 5 if candidates <= 32 else 1 / 3
    return ceil(share * candidates * rows)


def _no_scores() -> Floats:
    import numpy as np

    return np.empty(0)


CostOfBest = Callable[[int, int, int], float]
"""What so many of the best cost from one row to another."""


@dataclass(frozen=True, slots=True)
class RaceCosts:
    """Calls a row of each candidate, and how many rows of the order each has seen already."""

    costs: Sequence[float]
    known: Sequence[int]

    def of(self, candidates: Sequence[int], start: int, stop: int) -> float:
        """Return what it costs that candidates who have seen `start` rows see `stop`."""
        return sum(self.costs[each] * max(0, stop - max(start, self.known[each])) for each in candidates)


def remaining_cost(cost: CostOfBest, alive: int, seen: int, rows: int) -> float:
    """Return what it costs to go on from a row, with the field halved and the rows doubled until one is left."""
    total = 0.0
    while seen < rows and alive > 1:
        until = min(rows, 2 * seen)
        total += cost(alive, seen, until)
        seen, alive = until, ceil(alive / 2)
    return total


def first_rung(prices: RaceCosts, alive: Sequence[int], seen: int, rows: int, budget: float) -> int:
    """Return the largest row to which all can go so that the race can still go on from there with half of them.

    Who will be left is not known before it, so a half costs half of all. It is `seen` where nothing can be paid.
    """

    def cost(count: int, start: int, stop: int) -> float:
        return prices.of(alive, start, stop) * count / len(alive)

    def needed(rung: int) -> float:
        return cost(len(alive), seen, rung) + remaining_cost(cost, ceil(len(alive) / 2), rung, rows)

    # The cost grows with the rung: a further row for all costs more than it saves of a later doubling.
    return seen + bisect_right(range(seen + 1, rows + 1), budget, key=needed)


def survivors(prices: RaceCosts, ranked: Sequence[int], seen: int, rows: int, budget: float) -> int:
    """Return how many of the best can go on from a rung within the budget; fewer than 2 where a race cannot."""

    def cost(count: int, start: int, stop: int) -> float:
        return prices.of(ranked[:count], start, stop)

    return next((s for s in range(len(ranked), 1, -1) if remaining_cost(cost, s, seen, rows) <= budget), 1)
