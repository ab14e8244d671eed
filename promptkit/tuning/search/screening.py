"""Screening: joint configurations evaluated on few rows, and the main effect of each choice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import ceil, isnan, prod
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.tuning.prior.effect_prior import EffectPrior
from promptkit.tuning.search.effects import (
    NOISE,
    Effects,
    are_related,
    choice_places,
    expected_effects,
    fit_effects,
)
from promptkit.tuning.search_space.candidate import Candidate, Parameter, distinct

LEAST_BUDGET: Final = 120
"""With fewer calls there is no screening: the race takes all."""
SCREENING_SHARE: Final = 0.5
LEAST_CONFIGURATIONS, MOST_CONFIGURATIONS = 8, 64
"""The number of configurations that are screened."""
CALLS_EACH: Final = 10
LEAST_ROWS: Final = 3
CONFIGURATION_POOL: Final = 4_096
"""A space of at most this many configurations is drawn from as a whole; a larger one is sampled this often."""
RUNNERS_UP: Final = 2
"""This many further choices of each parameter are raced, each with the predicted best of the others."""
BEST_SEEN: Final = 3
FURTHER_SEEN: Final = 8
"""So many more of the likeliest screened configurations are raced where the budget has places for them: a pair of
choices that pays only together may have been seen in one configuration only."""
TWO_PARTS_FROM: Final = 16
"""So many configurations and more are screened in two parts: the second are those that look likely after the first."""
FIRST_SHARE: Final = 2 / 3
"""The share of the first part: with less, a pair of choices that pays only together is more often not tried at all."""
TOKEN_PRICES: Final = (0.02, 0.05, 0.1, 0.2)
"""Prices of as many tokens as a row of the start takes, in shares of the score's range."""


def draw(parameters: Sequence[Parameter], size: int, seed: int, prior: EffectPrior | None = None) -> list[Candidate]:
    """Return distinct joint configurations, at most `size`: the start, and random ones.

    Each choice of a parameter appears about as often as its other choices, with a prior in proportion to its weight,
    and pairs of choices of related parameters appear about equally often: each next configuration is one of those whose
    choices and pairs were drawn least so far.
    """
    pool = _configuration_pool(parameters, seed)
    codes = _choice_codes(pool, parameters)
    counts = [np.zeros(int(column.max()) + 1) for column in codes]
    steps = [np.ones(len(count)) for count in counts]
    if prior is not None:
        steps[: len(parameters)] = [_draw_steps(parameter, prior) for parameter in parameters]
    drawn: list[Candidate] = []
    left = np.ones(len(pool), dtype=bool)
    for _ in range(min(size, len(pool))):
        often = sum((count[column] for count, column in zip(counts, codes, strict=True)), np.zeros(len(pool)))
        # The start is first in the pool, and of configurations drawn equally often the first is taken.
        taken = int(np.argmin(np.where(left, often, np.inf)))
        left[taken] = False
        for count, step, column in zip(counts, steps, codes, strict=True):
            count[column[taken]] += step[column[taken]]
        drawn.append(_configuration(parameters, pool[taken]))
    return distinct(drawn)


def _draw_steps(parameter: Parameter, prior: EffectPrior) -> NDArray[np.float64]:
    """Return by how much one draw of each choice counts: less for a choice that is to be drawn more often."""
    return 1 / np.array(prior.draw_weights(parameter.name, [choice.name for choice in parameter.choices]))


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


def measured_screen_rows(spent: float, left: float, rows: int, *, part: float = 1.0) -> int:
    """Return the number of planned rows to screen on, once LEAST_ROWS took `spent` calls and `left` are left.

    `part`: the share of the configurations that is screened on them first.
    """
    calls = SCREENING_SHARE * part * (spent + left)
    return min(rows, max(LEAST_ROWS, int(calls / max(1.0, spent) * LEAST_ROWS)))


def first_part(size: int) -> int:
    """Return the number of screened configurations that are drawn before any is evaluated: all, or most of many."""
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


def draw_likely(
    candidates: Sequence[Candidate],
    scores: ArrayLike,
    rows: int,
    parameters: Sequence[Parameter],
    *,
    size: int,
    seed: int,
    prior: EffectPrior | None = None,
) -> list[Candidate]:
    """Return up to `size` configurations that no candidate has, the likeliest to be good by what was seen of these.

    `scores` are (candidates,): mean scores on `rows` rows each. Each next one has the highest upper confidence bound,
    one standard deviation above its prediction; what it will bring is taken to be as predicted, so that the next is
    another kind (batch GP-UCB: Desautels, Krause & Burdick 2014, JMLR 15:4053). The pool is that of `draw`, which a
    large space is sampled for.
    """
    fit = fit_effects(candidates, scores, [rows] * len(candidates), parameters, prior)
    pool = _configuration_pool(parameters, seed)
    asked = set(map(tuple, choice_places(candidates, parameters).tolist()))
    design, covariance = fit.design(pool), fit.covariance
    is_asked = [tuple(taken) in asked for taken in pool.tolist()]
    predicted = np.where(is_asked, -np.inf, design @ fit.coefficients + expected_effects(pool, parameters, prior))
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
    of the screened configurations, the predicted best with each parameter at its second and third choice, the smallest
    predicted loss first, and further likely ones of the screened configurations.
    """
    effects, best = screen.effects, screen.effects.best()
    tokens = screen.tokens
    cheaper = [] if tokens is None else [effects.minus(tokens, price).best() for price in TOKEN_PRICES]
    swapped = [
        candidate
        for parameter in effects.parameters
        for candidate in _by_prediction(effects, _swapped(best, parameter))[:RUNNERS_UP]
    ]
    answered = [(candidate, score) for candidate, score in screen.seen if not isnan(score)]
    likeliest = [candidate for candidate, _ in sorted(answered, key=lambda pair: -effects.likely(*pair))]
    further = likeliest[BEST_SEEN : BEST_SEEN + FURTHER_SEEN]
    swapped = _by_prediction(effects, swapped)
    return distinct([Candidate(), best, *cheaper, *likeliest[:BEST_SEEN], *swapped, *further])


def _by_prediction(effects: Effects, candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: -effects.predict(candidate))


def _swapped(best: Candidate, parameter: Parameter) -> list[Candidate]:
    """Return a candidate with each other choice of a parameter."""
    others = (best.with_choice(parameter.name, choice) for choice in parameter.choices)
    return [candidate for candidate in others if candidate.key != best.key]
