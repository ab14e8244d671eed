"""Screening: joint configurations evaluated on few rows, and the main effect of each choice."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from math import ceil, isnan, prod
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
SHRINKAGE_ROWS: Final = NOISE / PRIOR_SD**2
"""The number of rows at which the observed effect counts as much as the prior of none."""
RUNNERS_UP: Final = 2
"""This many further choices of each parameter are raced, each with the predicted best of the others."""
BEST_SEEN: Final = 3
PAIR_SHARE: Final = 0.5
"""The prior variance of the effect of a pair of related choices, as a share of that of a choice."""
TWO_PARTS_FROM: Final = 16
"""So many configurations and more are screened in two parts: the second are those that look likely after the first."""
FIRST_SHARE: Final = 2 / 3
"""The share of the first part: with less, a pair of choices that pays only together is more often not tried at all."""
TOKEN_PRICES: Final = (0.02, 0.05, 0.1, 0.2)
"""Prices of as many tokens as a row of the start takes, in shares of the score's range."""
LEAST_STEP: Final = 1e-9
"""A smaller gain in a prediction is rounding."""
RELATED: Final = frozenset(
    frozenset(pair)
    for pair in (("decide", "technique"), ("examples", "technique"), ("examples", "layout"), ("technique", "given"))
)
"""Kinds of parameters whose choices belong together: a technique and examples that show its thoughts, a technique and
the tokens that it needs. Such choices may pay only together."""


def are_related(one: Parameter, other: Parameter) -> bool:
    """Return whether choices of two parameters belong together: they are of one step and of related kinds.

    A cue and a way to decide that `tune:` declares each by itself are of one kind.
    """
    kinds = frozenset((one.kind, other.kind))
    return one.name != other.name and one.step == other.step and (kinds in RELATED or kinds == {"decide"})


@dataclass(frozen=True, slots=True)
class Effects:
    """The effect of each choice on the mean score of all configurations, and of pairs of related choices beyond that.

    `added` is by parameter name and choice name, `pairs` by two parameter names and two choice names; pairs that no
    configuration had are left out. `rows`: the mean number of rows of a configuration.
    """

    mean: float
    added: Mapping[str, Mapping[str, float]]
    parameters: tuple[Parameter, ...]
    rows: float
    pairs: Mapping[tuple[str, str], Mapping[tuple[str, str], float]] = field(default_factory=dict)

    def of(self, parameter: str, choice: Choice) -> float:
        """Return the effect of a choice; 0 if no configuration with a score had it."""
        return self.added[parameter][choice.name]

    def predict(self, candidate: Candidate) -> float:
        """Return the mean plus the effects of a candidate's choices and pairs; it may lie outside [0, 1]."""
        return self._predict(dict(_taken(candidate, self.parameters)))

    def _predict(self, taken: Mapping[str, Choice]) -> float:
        single = sum(self.added[parameter][choice.name] for parameter, choice in taken.items())
        pairs = sum(of.get((taken[one].name, taken[other].name), 0.0) for (one, other), of in self.pairs.items())
        return self.mean + single + pairs

    def likely(self, candidate: Candidate, score: float) -> float:
        """Return the likely score of a configuration with this mean score: between that and the prediction.

        The part that no sum of effects explains, by interaction or by luck with the rows, is shrunk as an effect is.
        """
        predicted = self.predict(candidate)
        return predicted + (score - predicted) * self.rows / (self.rows + SHRINKAGE_ROWS)

    def ranked(self, parameter: Parameter) -> list[Choice]:
        """Return a parameter's choices, the best first; of equal ones the earlier."""
        return sorted(parameter.choices, key=lambda choice: -self.of(parameter.name, choice))

    def best(self) -> Candidate:
        """Return the configuration with the highest prediction.

        It is climbed to from the best choice of each parameter, by changes of one parameter or of two related ones.
        """
        choices = {parameter.name: parameter.choices for parameter in self.parameters}
        found = {parameter.name: self.ranked(parameter)[0] for parameter in self.parameters}
        value, is_better = self._predict(found), bool(self.pairs)
        while is_better:
            is_better = False
            for names in (*((name,) for name in choices), *self.pairs):
                for chosen in product(*(choices[name] for name in names)):
                    other = {**found, **dict(zip(names, chosen, strict=True))}
                    if self._predict(other) > value + LEAST_STEP:
                        found, value, is_better = other, self._predict(other), True
        return Candidate({name: choice for name, choice in found.items() if choice.changes})

    def minus(self, costs: Effects, price: float) -> Effects:
        """Return the effects on the score minus `price` times what costs, for the effects on costs."""
        added = {
            name: {choice: effect - price * costs.added[name][choice] for choice, effect in of.items()}
            for name, of in self.added.items()
        }
        return replace(self, mean=self.mean - price * costs.mean, added=added)


def draw(parameters: Sequence[Parameter], size: int, seed: int) -> list[Candidate]:
    """Return distinct joint configurations, at most `size`: the start, and random ones.

    Each choice of a parameter appears about as often as its other choices, and so do pairs of choices of related
    parameters: each next configuration is one of those whose choices and pairs were drawn least so far.
    """
    pool = _configuration_pool(parameters, seed)
    codes = _choice_codes(pool, parameters)
    counts = [np.zeros(int(column.max()) + 1) for column in codes]
    drawn: list[Candidate] = []
    left = np.ones(len(pool), dtype=bool)
    for _ in range(min(size, len(pool))):
        often = sum((count[column] for count, column in zip(counts, codes, strict=True)), np.zeros(len(pool)))
        # The start is first in the pool, and of configurations drawn equally often the first is taken.
        taken = int(np.argmin(np.where(left, often, np.inf)))
        left[taken] = False
        for count, column in zip(counts, codes, strict=True):
            count[column[taken]] += 1
        drawn.append(_configuration(parameters, pool[taken]))
    return distinct(drawn)


def _choice_codes(pool: NDArray[np.int64], parameters: Sequence[Parameter]) -> list[NDArray[np.int64]]:
    """Return the choices of configurations as codes (configurations,), one array per parameter and related pair."""
    pairs = [
        pool[:, one] * len(parameters[other].choices) + pool[:, other]
        for one, other in combinations(range(len(parameters)), 2)
        if are_related(parameters[one], parameters[other])
    ]
    return [*pool.T, *pairs]


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


def first_part(size: int) -> int:
    """Return how many of so many screened configurations are drawn before any was evaluated: all, or most of many."""
    return size if size < TWO_PARTS_FROM else ceil(FIRST_SHARE * size)


def affordable_candidates(candidates: Sequence[Candidate], budget: int) -> list[Candidate]:
    """Return the configurations that half of the budget can evaluate on the fewest rows; the start in any case."""
    start, others = candidates[:1], candidates[1:]
    cost = SCREENING_SHARE * budget / LEAST_ROWS - sum(candidate.requests for candidate in start)
    return [*start, *within_cost(others, cost)]


def within_cost(candidates: Sequence[Candidate], cost: float) -> list[Candidate]:
    """Return the candidates that this cost per row covers, without those that are too dear where they come."""
    kept = []
    for candidate in candidates:
        if candidate.requests <= cost:
            kept.append(candidate)
            cost -= candidate.requests
    return kept


def main_effects(
    candidates: Sequence[Candidate], scores: ArrayLike, rows_each: ArrayLike, parameters: Sequence[Parameter]
) -> Effects:
    """Return the main effects of choices from configurations' mean scores, shrunk towards none.

    `scores` and `rows_each` are (candidates,): the mean in [0, 1] and its number of rows; NaN or 0 rows are left out.
    Ridge regression on one dummy per choice, the mean not shrunk (Hoerl & Kennard 1970, Technometrics 12:55). The
    penalty is the variance of a row's score over that of an effect, so the result is the posterior mean of normal
    effects. Choices that share a setting (the same cue, as many examples) share half of that variance: an observation
    of one informs about the others. Pairs of choices of related parameters have dummies of their own, of a smaller
    variance. Without scores the mean is 0 and all effects are 0.
    """
    fit = _fit(candidates, scores, rows_each, parameters)
    effects = list(zip(fit.columns, fit.coefficients[1:].tolist(), strict=True))
    added = {
        parameter.name: {
            choice.name: sum(
                effect for column, effect in effects if column.choices.keys() == {at} and index in column.choices[at]
            )
            for index, choice in enumerate(parameter.choices)
        }
        for at, parameter in enumerate(parameters)
    }
    pairs: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for column, effect in effects:
        if len(column.choices) == 2:
            (one, other), ((first,), (second,)) = column.choices, column.choices.values()
            names = parameters[one].choices[first].name, parameters[other].choices[second].name
            pairs.setdefault((parameters[one].name, parameters[other].name), {})[names] = effect
    return Effects(float(fit.coefficients[0]), added, tuple(parameters), fit.rows, pairs)


@dataclass(frozen=True, slots=True)
class _Column:
    """A dummy of the regression, with its prior variance.

    `choices`: those of which a configuration has one of each parameter, by the places of the parameters and the
    choices. A choice, a setting that several choices share, or a pair of choices.
    """

    choices: Mapping[int, tuple[int, ...]]
    variance: float

    def of(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return 1 for each configuration that has it and 0 for the others; `taken` is (configurations, parameters)."""
        held = [np.logical_or.reduce([taken[:, at] == one for one in some]) for at, some in self.choices.items()]
        return np.logical_and.reduce(held).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Fit:
    """A fitted regression: coefficients (1 + columns,), the first of them the mean, and their posterior covariance."""

    columns: tuple[_Column, ...]
    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    rows: float

    def design(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the design of configurations, given by the places of their choices."""
        return _design(self.columns, taken)


def _fit(
    candidates: Sequence[Candidate], scores: ArrayLike, rows_each: ArrayLike, parameters: Sequence[Parameter]
) -> _Fit:
    means = np.asarray(scores, dtype=np.float64)
    weights = np.where(np.isnan(means), 0.0, np.asarray(rows_each, dtype=np.float64))
    taken = _choice_places(candidates, parameters)
    single = [column for at, parameter in enumerate(parameters) for column in _columns(parameter, at)]
    columns = (*single, *_pair_columns(taken[weights > 0], parameters))
    design = _design(columns, taken)
    penalty = np.diag([0.0, *(NOISE / column.variance for column in columns)])
    weighed = design.T * weights
    if not weights.any():
        penalty[0, 0] = 1.0  # Nothing is known of the mean: it is 0.
    inverse = np.linalg.inv(weighed @ design + penalty)
    rows = float(weights.sum()) / max(1, int((weights > 0).sum()))
    return _Fit(columns, inverse @ (weighed @ np.nan_to_num(means)), NOISE * inverse, rows)


def _choice_places(candidates: Sequence[Candidate], parameters: Sequence[Parameter]) -> NDArray[np.int64]:
    """Return configurations as the places of their choices, (configurations, parameters)."""
    places = [
        [
            parameter.choices.index(choice)
            for parameter, (_, choice) in zip(parameters, _taken(candidate, parameters), strict=True)
        ]
        for candidate in candidates
    ]
    return np.array(places, dtype=np.int64).reshape(len(candidates), len(parameters))


def _design(columns: Sequence[_Column], taken: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.column_stack([np.ones(len(taken)), *(column.of(taken) for column in columns)])


def _columns(parameter: Parameter, at: int) -> list[_Column]:
    """Return the columns of a parameter's choices and of the settings that some of them share."""
    shared: dict[str, list[int]] = {}
    for place, choice in enumerate(parameter.choices):
        for key, value in choice.changes.items():
            setting = f"{len(value)} of them" if isinstance(value, list) else json.dumps(value, sort_keys=True)
            shared.setdefault(f"{key}: {setting}", []).append(place)
    common = dict.fromkeys(tuple(group) for group in shared.values() if 1 < len(group) < len(parameter.choices))
    variance = PRIOR_SD**2
    single = [
        _Column({at: (place,)}, variance / 2 if any(place in group for group in common) else variance)
        for place in range(len(parameter.choices))
    ]
    return [*single, *(_Column({at: places}, variance / 2) for places in common)]


def _pair_columns(taken: NDArray[np.int64], parameters: Sequence[Parameter]) -> list[_Column]:
    """Return the columns of the pairs of related choices that configurations have."""
    return [
        _Column({one: (first,), other: (second,)}, PAIR_SHARE * PRIOR_SD**2)
        for one, other in combinations(range(len(parameters)), 2)
        if are_related(parameters[one], parameters[other])
        for first, second in np.unique(taken[:, [one, other]], axis=0).tolist()
    ]


def draw_likely(
    candidates: Sequence[Candidate],
    scores: ArrayLike,
    rows: int,
    parameters: Sequence[Parameter],
    *,
    size: int,
    seed: int,
) -> list[Candidate]:
    """Return up to `size` configurations that no candidate has, the likeliest to be good by what was seen of these.

    `scores` are (candidates,): mean scores on `rows` rows each.

    Each next one has the highest upper confidence bound, one standard deviation above its prediction; what it will
    bring is taken to be as predicted, so that the next is another kind (batch GP-UCB: Desautels, Krause & Burdick 2014,
    JMLR 15:4053). The pool is that of `draw`, which a large space is sampled for.
    """
    fit = _fit(candidates, scores, [rows] * len(candidates), parameters)
    pool = _configuration_pool(parameters, seed)
    asked = set(map(tuple, _choice_places(candidates, parameters).tolist()))
    design, covariance = fit.design(pool), fit.covariance
    predicted = np.where([tuple(taken) in asked for taken in pool.tolist()], -np.inf, design @ fit.coefficients)
    variance = ((design @ covariance) * design).sum(axis=1)
    drawn: list[Candidate] = []
    for _ in range(min(size, int(np.isfinite(predicted).sum()))):
        taken = int(np.argmax(predicted + np.sqrt(np.maximum(variance, 0.0))))
        drawn.append(_configuration(parameters, pool[taken]))
        predicted[taken] = -np.inf
        shared = covariance @ design[taken]
        noise = NOISE / rows + float(design[taken] @ shared)
        variance -= (design @ shared) ** 2 / noise
        covariance = covariance - np.outer(shared, shared) / noise
    return drawn


def _taken(candidate: Candidate, parameters: Sequence[Parameter]) -> list[tuple[str, Choice]]:
    """Return the choice of each parameter, by its name."""
    return [(parameter.name, candidate.choices.get(parameter.name, parameter.choices[0])) for parameter in parameters]


@dataclass(frozen=True, slots=True)
class Screen:
    """The screened configurations with their mean values, `seen`, and the effects of choices on these.

    `tokens`: the effects on the tokens of a row, as a multiple of the start's, if cheap candidates are to be raced.
    """

    effects: Effects
    seen: Sequence[tuple[Candidate, float]]
    tokens: Effects | None = None


def finalists(screen: Screen) -> list[Candidate]:
    """Return the candidates to race after screening, those first that a small race must have.

    These are the start, the predicted best, that at some prices of tokens if cheap ones are to be raced, the likeliest
    of the screened configurations, and the predicted best with each parameter at its second and third choice, the
    smallest predicted loss first.
    """
    effects, best = screen.effects, screen.effects.best()
    tokens = screen.tokens
    cheaper = [] if tokens is None else [effects.minus(tokens, price).best() for price in TOKEN_PRICES]
    swapped = [
        candidate
        for parameter in effects.parameters
        for candidate in sorted(_swapped(best, parameter), key=lambda candidate: -effects.predict(candidate))[
            :RUNNERS_UP
        ]
    ]
    swapped.sort(key=lambda candidate: -effects.predict(candidate))
    answered = [(candidate, score) for candidate, score in screen.seen if not isnan(score)]
    likeliest = sorted(answered, key=lambda pair: -effects.likely(*pair))[:BEST_SEEN]
    return distinct([Candidate(), best, *cheaper, *(candidate for candidate, _ in likeliest), *swapped])


def _swapped(best: Candidate, parameter: Parameter) -> list[Candidate]:
    """Return a candidate with each other choice of a parameter."""
    others = (best.with_choice(parameter.name, choice) for choice in parameter.choices)
    return [candidate for candidate in others if candidate.key != best.key]
