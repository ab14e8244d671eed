"""Screening: joint configurations evaluated on few rows, and the main effect of each choice."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isnan, prod
from typing import TYPE_CHECKING, Final

from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter, distinct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

LEAST_BUDGET: Final = 120
"""With fewer calls nothing is screened: the race takes all."""
SCREENING_SHARE: Final = 0.5
LEAST_CONFIGURATIONS, MOST_CONFIGURATIONS = 8, 64
"""How many configurations a screen has."""
CALLS_EACH: Final = 10
LEAST_ROWS: Final = 3
CONFIGURATION_POOL: Final = 4_096
"""A space of up to so many configurations is drawn from as a whole, of a larger one so many at random."""
NOISE: Final = 0.2
"""The variance of one cell's score: about that of right and wrong."""
PRIOR_SD: Final = 0.1
"""What a level is taken to bring before anything is seen: 10 points up or down."""
SHRINKAGE_ROWS: Final = NOISE / PRIOR_SD**2
"""How many rows it takes until what was seen counts as much as that nothing was expected."""
RUNNERS_UP: Final = 2
"""So many further levels of each axis are raced, each with the predicted best of the other axes."""
BEST_SEEN: Final = 3


@dataclass(frozen=True, slots=True)
class Effects:
    """What each level of each axis adds to the mean score of all configurations; `added` is by axis and level name.

    `rows` is on how many rows a configuration was seen, in the mean of all.
    """

    mean: float
    added: Mapping[str, Mapping[str, float]]
    axes: tuple[Parameter, ...]
    rows: float

    def of(self, axis: str, level: Choice) -> float:
        """Return what a level adds to the mean; 0 where no configuration with a score had it."""
        return self.added[axis][level.name]

    def predict(self, candidate: Candidate) -> float:
        """Return the score that the sum of its levels' effects makes; it may be beyond 0 and 1."""
        return self.mean + sum(self.of(axis.name, level) for axis, level in _taken(candidate, self.axes))

    def likely(self, candidate: Candidate, score: float) -> float:
        """Return what a configuration that had this mean score is likely to have: between that and what is predicted.

        What no sum of effects tells, because levels go well together or because the rows were lucky, is shrunk
        as an effect is.
        """
        predicted = self.predict(candidate)
        return predicted + (score - predicted) * self.rows / (self.rows + SHRINKAGE_ROWS)

    def ranked(self, axis: Parameter) -> list[Choice]:
        """Return an axis' levels, the best first; of equal ones the earlier."""
        return sorted(axis.levels, key=lambda level: -self.of(axis.name, level))


def draw(axes: Sequence[Parameter], size: int, seed: int) -> list[Candidate]:
    """Return so many distinct joint configurations, or all there are: the start, and random ones.

    Each level of an axis appears as often as its other levels, as near as can be: each next configuration is one of
    those whose levels were drawn least so far.
    """
    import numpy as np

    pool = _configuration_pool(axes, seed)
    counts = [np.zeros(len(axis.levels)) for axis in axes]
    drawn: list[Candidate] = []
    left = np.ones(len(pool), dtype=bool)
    for _ in range(min(size, len(pool))):
        often = sum((count[pool[:, at]] for at, count in enumerate(counts)), np.zeros(len(pool)))
        # The start is first in the pool, and the first of those that are equally often drawn is taken.
        taken = int(np.argmin(np.where(left, often, np.inf)))
        left[taken] = False
        for count, level in zip(counts, pool[taken], strict=True):
            count[level] += 1
        drawn.append(_configuration(axes, pool[taken]))
    return distinct(drawn)


def _configuration_pool(axes: Sequence[Parameter], seed: int) -> NDArray[np.int64]:
    """Return distinct configurations, (configurations, axes), as the numbers of levels: the start, others shuffled."""
    import numpy as np

    chance = random.Random(seed)
    sizes = [len(axis.levels) for axis in axes]
    start = (0,) * len(axes)
    if prod(sizes) <= CONFIGURATION_POOL:
        others = [each for each in product(*map(range, sizes)) if each != start]
        chance.shuffle(others)
    else:
        drawn = (tuple(chance.randrange(size) for size in sizes) for _ in range(CONFIGURATION_POOL))
        others = [each for each in dict.fromkeys(drawn) if each != start]
    return np.array([start, *others], dtype=np.int64).reshape(1 + len(others), len(axes))


def _configuration(axes: Sequence[Parameter], levels: Sequence[int] | NDArray[np.int64]) -> Candidate:
    candidate = Candidate()
    for axis, level in zip(axes, levels, strict=True):
        candidate = candidate.taking(axis.name, axis.levels[level])
    return candidate


def screen_size(budget: int) -> int:
    """Return how many configurations a screen has of a budget in calls."""
    return max(LEAST_CONFIGURATIONS, min(MOST_CONFIGURATIONS, budget // CALLS_EACH))


def screen_rows(budget: int, costs: Sequence[float], rows: int) -> int:
    """Return on how many rows configurations that cost so many calls a row are screened: of half of the budget."""
    return min(rows, max(LEAST_ROWS, int(SCREENING_SHARE * budget / sum(costs))))


def affordable_candidates(candidates: Sequence[Candidate], budget: int) -> list[Candidate]:
    """Return as many configurations as half of the budget lets see on the fewest rows; the start in any case."""
    kept, cost = list(candidates[:1]), LEAST_ROWS * sum(each.requests for each in candidates[:1])
    for candidate in candidates[1:]:
        cost += LEAST_ROWS * candidate.requests
        if cost <= SCREENING_SHARE * budget:
            kept.append(candidate)
        else:
            cost -= LEAST_ROWS * candidate.requests
    return kept


def main_effects(
    candidates: Sequence[Candidate], scores: ArrayLike, rows_each: ArrayLike, axes: Sequence[Parameter]
) -> Effects:
    """Return the effects of levels that configurations' mean scores say, shrunk towards none.

    `scores` and `rows_each` are (candidates,): the mean in [0, 1] and of how many rows it is; NaN or 0 rows: left out.
    Ridge regression on one dummy a level, the mean not shrunk (Hoerl & Kennard 1970, Technometrics 12:55). The penalty
    is the variance of a cell over that of an effect, so that it is the posterior mean of normal
    effects. Levels that have a setting in common (the same cue, as many examples) share half of that variance: what is
    seen of one tells of the others. Every cell tells of every axis. Of no score the mean is 0 and there are no effects.
    """
    import numpy as np

    means = np.asarray(scores, dtype=np.float64)
    weights = np.where(np.isnan(means), 0.0, np.asarray(rows_each, dtype=np.float64))
    columns = [column for at, axis in enumerate(axes) for column in _columns(axis, at)]
    taken = [[level for _, level in _taken(each, axes)] for each in candidates]
    dummies = np.array([[float(each.holds(levels)) for each in columns] for levels in taken], dtype=np.float64)
    design = np.column_stack([np.ones(len(means)), dummies.reshape(len(means), -1)])
    penalty = np.diag([0.0, *(NOISE / each.variance for each in columns)])
    weighed = design.T * weights
    fitted = np.linalg.pinv(weighed @ design + penalty) @ (weighed @ np.nan_to_num(means))
    effects = list(zip(columns, fitted[1:].tolist(), strict=True))
    added = {
        axis.name: {
            level.name: sum(effect for column, effect in effects if column.axis == at and level in column.levels)
            for level in axis.levels
        }
        for at, axis in enumerate(axes)
    }
    rows = float(weights.sum()) / max(1, int((weights > 0).sum()))
    return Effects(float(fitted[0]), added, tuple(axes), rows)


@dataclass(frozen=True, slots=True)
class _Column:
    """What levels of an axis have in common: one level itself, or a setting of several; and how much that may bring."""

    axis: int
    levels: tuple[Choice, ...]
    variance: float

    def holds(self, taken: Sequence[Choice]) -> bool:
        """Tell whether a configuration that takes one level of each axis has it."""
        return taken[self.axis] in self.levels


def _columns(axis: Parameter, at: int) -> list[_Column]:
    shared: dict[str, list[Choice]] = {}
    for level in axis.levels:
        for key, value in level.changes.items():
            told = f"{len(value)} of them" if isinstance(value, list) else json.dumps(value, sort_keys=True)
            shared.setdefault(f"{key}: {told}", []).append(level)
    common = dict.fromkeys(tuple(each) for each in shared.values() if 1 < len(each) < len(axis.levels))
    variance = PRIOR_SD**2
    own = [
        _Column(at, (level,), variance / 2 if any(level in each for each in common) else variance)
        for level in axis.levels
    ]
    return [*own, *(_Column(at, levels, variance / 2) for levels in common)]


def _taken(candidate: Candidate, axes: Sequence[Parameter]) -> list[tuple[Parameter, Choice]]:
    return [(axis, candidate.choices.get(axis.name, axis.levels[0])) for axis in axes]


def finalists(effects: Effects, seen: Sequence[tuple[Candidate, float]]) -> list[Candidate]:
    """Return who is raced after a screen, those first that a small field must have.

    The start, the predicted best, the three that are likely to be best of those `seen` with their mean scores, and the
    predicted best with each axis at its second and third level, those first that are predicted to lose least.
    """
    ranked = {axis.name: effects.ranked(axis) for axis in effects.axes}
    best = Candidate()
    for axis in effects.axes:
        best = best.taking(axis.name, ranked[axis.name][0])
    swapped = [
        best.taking(axis.name, level) for axis in effects.axes for level in ranked[axis.name][1 : 1 + RUNNERS_UP]
    ]
    swapped.sort(key=lambda candidate: -effects.predict(candidate))
    answered = [(candidate, score) for candidate, score in seen if not isnan(score)]
    likeliest = sorted(answered, key=lambda each: -effects.likely(*each))[:BEST_SEEN]
    return distinct([Candidate(), best, *(candidate for candidate, _ in likeliest), *swapped])
