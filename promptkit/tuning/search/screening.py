"""Screening: joint configurations evaluated on few rows, and the main effect of each choice."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isnan, prod
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.tuning.prior.effect_prior import EffectPrior
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter, distinct

LEAST_BUDGET: Final = 120
"""With fewer calls there is no screening: the race takes all."""
SCREENING_SHARE: Final = 0.5
LEAST_CONFIGURATIONS, MOST_CONFIGURATIONS = 8, 64
"""The number of configurations that are screened."""
CALLS_EACH: Final = 10
LEAST_ROWS: Final = 3
CONFIGURATION_POOL: Final = 4_096
"""A space of at most this many configurations is drawn from as a whole; a larger one is sampled this often."""
NOISE: Final = 0.2
"""The variance of one row's score: about that of right and wrong."""
PRIOR_SD: Final = 0.1
"""The prior standard deviation of a choice's effect: 10 points up or down."""
MOST_SCALE: Final = 4.0
"""The variance of an effect with a prior is at most this many times the usual one."""
SHRINKAGE_ROWS: Final = NOISE / PRIOR_SD**2
"""The number of rows at which the observed effect counts as much as the prior of none."""
RUNNERS_UP: Final = 2
"""This many further choices of each parameter are raced, each with the predicted best of the others."""
BEST_SEEN: Final = 3


@dataclass(frozen=True, slots=True)
class Effects:
    """The main effect of each choice on the mean score of all configurations.

    `added` is by parameter name and choice name. `rows`: the mean number of rows of a configuration.
    """

    mean: float
    added: Mapping[str, Mapping[str, float]]
    parameters: tuple[Parameter, ...]
    rows: float

    def of(self, parameter: str, choice: Choice) -> float:
        """Return the effect of a choice; 0 if no configuration with a score had it."""
        return self.added[parameter][choice.name]

    def predict(self, candidate: Candidate) -> float:
        """Return the mean plus the effects of a candidate's choices; it may lie outside [0, 1]."""
        return self.mean + sum(
            self.of(parameter.name, choice) for parameter, choice in _taken(candidate, self.parameters)
        )

    def likely(self, candidate: Candidate, score: float) -> float:
        """Return the likely score of a configuration with this mean score: between that and the prediction.

        The part that no sum of effects explains, by interaction or by luck with the rows, is shrunk as an effect is.
        """
        predicted = self.predict(candidate)
        return predicted + (score - predicted) * self.rows / (self.rows + SHRINKAGE_ROWS)

    def ranked(self, parameter: Parameter) -> list[Choice]:
        """Return a parameter's choices, the best first; of equal ones the earlier."""
        return sorted(parameter.choices, key=lambda choice: -self.of(parameter.name, choice))


def draw(parameters: Sequence[Parameter], size: int, seed: int, prior: EffectPrior | None = None) -> list[Candidate]:
    """Return distinct joint configurations, at most `size`: the start, and random ones.

    Each choice of a parameter appears about as often as its other choices, with a prior in proportion to its weight:
    each next configuration is one of those whose choices were drawn least so far.
    """
    pool = _configuration_pool(parameters, seed)
    counts = [np.zeros(len(parameter.choices)) for parameter in parameters]
    steps = [_draw_steps(parameter, prior) for parameter in parameters]
    drawn: list[Candidate] = []
    left = np.ones(len(pool), dtype=bool)
    for _ in range(min(size, len(pool))):
        often = sum((count[pool[:, at]] for at, count in enumerate(counts)), np.zeros(len(pool)))
        # The start is first in the pool, and of configurations drawn equally often the first is taken.
        taken = int(np.argmin(np.where(left, often, np.inf)))
        left[taken] = False
        for count, step, index in zip(counts, steps, pool[taken], strict=True):
            count[index] += step[index]
        drawn.append(_configuration(parameters, pool[taken]))
    return distinct(drawn)


def _draw_steps(parameter: Parameter, prior: EffectPrior | None) -> list[float]:
    """Return by how much one draw of each choice counts: less for a choice that is to be drawn more often."""
    if prior is None:
        return [1.0] * len(parameter.choices)
    weights = prior.draw_weights(parameter.name, [choice.name for choice in parameter.choices])
    return [1 / weight for weight in weights]


def _configuration_pool(parameters: Sequence[Parameter], seed: int) -> NDArray[np.int64]:
    """Return distinct configurations as indices of choices, (configurations, parameters): the start, others
    shuffled.
    """
    chance = random.Random(seed)
    sizes = [len(parameter.choices) for parameter in parameters]
    start = (0,) * len(parameters)
    if prod(sizes) <= CONFIGURATION_POOL:
        others = [indices for indices in product(*map(range, sizes)) if indices != start]
        chance.shuffle(others)
    else:
        drawn = (tuple(chance.randrange(size) for size in sizes) for _ in range(CONFIGURATION_POOL))
        others = [indices for indices in dict.fromkeys(drawn) if indices != start]
    return np.array([start, *others], dtype=np.int64).reshape(1 + len(others), len(parameters))


def _configuration(parameters: Sequence[Parameter], indices: Sequence[int] | NDArray[np.int64]) -> Candidate:
    candidate = Candidate()
    for parameter, index in zip(parameters, indices, strict=True):
        candidate = candidate.with_choice(parameter.name, parameter.choices[index])
    return candidate


def screen_size(budget: int) -> int:
    """Return the number of configurations to screen with a budget in calls."""
    return max(LEAST_CONFIGURATIONS, min(MOST_CONFIGURATIONS, budget // CALLS_EACH))


def screen_rows(budget: int, costs: Sequence[float], rows: int) -> int:
    """Return the number of rows on which configurations of these costs per row are screened: half of the budget."""
    return min(rows, max(LEAST_ROWS, int(SCREENING_SHARE * budget / sum(costs))))


def affordable_candidates(candidates: Sequence[Candidate], budget: int) -> list[Candidate]:
    """Return the configurations that half of the budget can evaluate on the fewest rows; the start in any case."""
    kept, cost = list(candidates[:1]), LEAST_ROWS * sum(candidate.requests for candidate in candidates[:1])
    for candidate in candidates[1:]:
        cost += LEAST_ROWS * candidate.requests
        if cost <= SCREENING_SHARE * budget:
            kept.append(candidate)
        else:
            cost -= LEAST_ROWS * candidate.requests
    return kept


def unscreened(
    parameters: Sequence[Parameter], size: int, seed: int, prior: EffectPrior | None = None
) -> list[Candidate]:
    """Return the candidates of a race without screening, at most `size`: the start, ways to decide, random ones.

    With a prior, an eighth of them, and at least one, are those that it expects most of: a wrong prior loses little.
    """
    deciding = [parameter for parameter in parameters if parameter.kind == "decide"]
    ways = [
        Candidate().with_choice(parameter.name, choice) for parameter in deciding for choice in parameter.choices[1:]
    ]
    others = draw(parameters, 2 * size, seed, prior)[1:]
    if prior is None:
        return distinct([Candidate(), *ways[: size // 2], *others])[:size]
    likely = finalists(main_effects((), (), (), parameters, prior=prior), ())
    return distinct([*likely[: 1 + max(1, size // 8)], *ways, *others])[:size]


def main_effects(
    candidates: Sequence[Candidate],
    scores: ArrayLike,
    rows_each: ArrayLike,
    parameters: Sequence[Parameter],
    *,
    prior: EffectPrior | None = None,
) -> Effects:
    """Return the main effects of choices from configurations' mean scores, shrunk towards those of `prior`, or none.

    `scores` and `rows_each` are (candidates,): the mean in [0, 1] and its number of rows; NaN or 0 rows are left out.
    Ridge regression on one dummy per choice, the mean not shrunk (Hoerl & Kennard 1970, Technometrics 12:55). The
    penalty is the variance of a row's score over that of an effect, so the result is the posterior mean of normal
    effects. Choices that share a setting (the same cue, as many examples) share half of that variance: an observation
    of one informs about the others. Without scores the mean is 0 and all effects are 0.
    """
    means = np.asarray(scores, dtype=np.float64)
    weights = np.where(np.isnan(means), 0.0, np.asarray(rows_each, dtype=np.float64))
    columns = [column for at, parameter in enumerate(parameters) for column in _columns(parameter, at, prior)]
    taken = [[choice for _, choice in _taken(candidate, parameters)] for candidate in candidates]
    dummies = np.array([[float(column.holds(choices)) for column in columns] for choices in taken], dtype=np.float64)
    design = np.column_stack([np.ones(len(means)), dummies.reshape(len(means), len(columns))])
    penalty = np.diag([0.0, *(NOISE / column.variance for column in columns)])
    weighed = design.T * weights
    expected = {
        (parameter.name, choice.name): prior.mean(parameter.name, choice.name) if prior else 0.0
        for parameter in parameters
        for choice in parameter.choices
    }
    # The regression is on what the prior does not expect.
    offsets = [
        sum(expected[parameter.name, choice.name] for parameter, choice in _taken(candidate, parameters))
        for candidate in candidates
    ]
    fitted = np.linalg.pinv(weighed @ design + penalty) @ (weighed @ np.nan_to_num(means - np.array(offsets)))
    effects = list(zip(columns, fitted[1:].tolist(), strict=True))
    added = {
        parameter.name: {
            choice.name: expected[parameter.name, choice.name]
            + sum(effect for column, effect in effects if column.parameter == at and choice in column.choices)
            for choice in parameter.choices
        }
        for at, parameter in enumerate(parameters)
    }
    rows = float(weights.sum()) / max(1, int((weights > 0).sum()))
    return Effects(float(fitted[0]), added, tuple(parameters), rows)


@dataclass(frozen=True, slots=True)
class _Column:
    """A dummy of the regression: one choice, or a setting that several choices share; with its prior variance."""

    parameter: int
    choices: tuple[Choice, ...]
    variance: float

    def holds(self, taken: Sequence[Choice]) -> bool:
        """Return whether a configuration with one choice per parameter has it."""
        return taken[self.parameter] in self.choices


def _columns(parameter: Parameter, at: int, prior: EffectPrior | None = None) -> list[_Column]:
    shared: dict[str, list[Choice]] = {}
    for choice in parameter.choices:
        for key, value in choice.changes.items():
            setting = f"{len(value)} of them" if isinstance(value, list) else json.dumps(value, sort_keys=True)
            shared.setdefault(f"{key}: {setting}", []).append(choice)
    common = dict.fromkeys(tuple(group) for group in shared.values() if 1 < len(group) < len(parameter.choices))
    variance = PRIOR_SD**2
    single = [
        _Column(at, (choice,), variance / 2 if any(choice in group for group in common) else variance)
        for choice in parameter.choices
    ]
    columns = [*single, *(_Column(at, choices, variance / 2) for choices in common)]
    return columns if prior is None else [_with_prior(column, parameter, prior) for column in columns]


def _with_prior(column: _Column, parameter: Parameter, prior: EffectPrior) -> _Column:
    """Return a column with its variance scaled to that of the prior effects of its choices.

    Choices of one kind, such as draws of as many examples, differ from each other as much as without a prior.
    """
    if len(column.choices) == 1 and prior.is_shared(parameter.name, column.choices[0].name):
        return column
    known = [prior.effect(parameter.name, choice.name) for choice in column.choices]
    scales = [min(MOST_SCALE, effect.variance / PRIOR_SD**2) if effect else 1.0 for effect in known]
    return replace(column, variance=column.variance * sum(scales) / len(scales))


def _taken(candidate: Candidate, parameters: Sequence[Parameter]) -> list[tuple[Parameter, Choice]]:
    return [(parameter, candidate.choices.get(parameter.name, parameter.choices[0])) for parameter in parameters]


def finalists(effects: Effects, seen: Sequence[tuple[Candidate, float]]) -> list[Candidate]:
    """Return the candidates to race after screening, those first that a small race must have.

    These are the start, the predicted best, the three likeliest of the screened configurations, and the predicted best
    with each parameter at its second and third choice, the smallest predicted loss first.
    """
    ranked = {parameter.name: effects.ranked(parameter) for parameter in effects.parameters}
    best = Candidate()
    for parameter in effects.parameters:
        best = best.with_choice(parameter.name, ranked[parameter.name][0])
    swapped = [
        best.with_choice(parameter.name, choice)
        for parameter in effects.parameters
        for choice in ranked[parameter.name][1 : 1 + RUNNERS_UP]
    ]
    swapped.sort(key=lambda candidate: -effects.predict(candidate))
    answered = [(candidate, score) for candidate, score in seen if not isnan(score)]
    likeliest = sorted(answered, key=lambda pair: -effects.likely(*pair))[:BEST_SEEN]
    return distinct([Candidate(), best, *(candidate for candidate, _ in likeliest), *swapped])
