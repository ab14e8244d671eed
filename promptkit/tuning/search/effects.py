"""The effects of choices, and of pairs of choices that belong together, on the mean score of configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptkit.tuning.prior.effect_prior import EffectPrior
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter

NOISE: Final = 0.2
"""The variance of one row's score: about that of right and wrong."""
PRIOR_SD: Final = 0.1
"""The prior standard deviation of a choice's effect: 10 points up or down."""
MOST_SCALE: Final = 4.0
"""The variance of an effect with a prior is at most this many times the usual one."""
SHRINKAGE_ROWS: Final = NOISE / PRIOR_SD**2
"""The number of rows at which the observed effect counts as much as the prior of none."""
PAIR_SHARE: Final = 0.5
"""The prior variance of the effect of a pair of related choices, as a share of that of a choice."""
LEAST_STEP: Final = 1e-9
"""A smaller gain in a prediction is rounding."""
RELATED: Final = frozenset(
    frozenset(pair)
    for pair in (("decide", "technique"), ("examples", "technique"), ("examples", "layout"), ("technique", "given"))
)
"""Kinds of parameters whose choices belong together: a technique and examples that show its thoughts, a technique and
the tokens that it needs. Such choices may pay only together."""


def are_related(one: Parameter, other: Parameter) -> bool:
    """Tell whether choices of two parameters belong together: they are of one step and of related kinds.

    A cue and a way to decide that `tune:` declares each by itself are of one kind.
    """
    kinds = frozenset((one.kind, other.kind))
    return one.name != other.name and one.step == other.step and (kinds in RELATED or kinds == {"decide"})


@dataclass(frozen=True, slots=True)
class Effects:
    """The effect of each choice on the mean score of all configurations, and of pairs of related choices beyond that.

    `added` is by parameter name and choice name, `pairs` by two parameter names and two choice names; pairs that no
    configuration had are left out. `errors` is by parameter name and choice name: the standard deviation of the
    posterior of a choice's effect over that of the parameter's first choice. `rows`: the mean number of rows of a
    configuration.
    """

    mean: float
    added: Mapping[str, Mapping[str, float]]
    parameters: tuple[Parameter, ...]
    rows: float
    pairs: Mapping[tuple[str, str], Mapping[tuple[str, str], float]] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, parameter: str, choice: Choice) -> float:
        """Return the effect of a choice; 0 if no configuration with a score had it."""
        return self.added[parameter][choice.name]

    def over_written(self, name: str, choice: Choice) -> tuple[float, float] | None:
        """Return the effect of a choice over the target as written, and its standard deviation; None if unknown.

        It is unknown if no configuration with a score had the choice, or the screen showed no difference. The effect of
        a choice with further settings, as calibration adds, is that of the screened one.
        """
        known = next((parameter for parameter in self.parameters if parameter.name == name), None)
        if known is None or not any(self.added[name].values()):
            return None
        changes = choice.changes.items()
        screened = [other for other in known.choices if other.changes and other.changes.items() <= changes]
        if not screened:
            return None
        nearest = max(screened, key=lambda other: len(other.changes))
        effect = self.of(name, nearest) - self.of(name, known.choices[0])
        return effect, self.errors.get(name, {}).get(nearest.name, sqrt(2) * PRIOR_SD)

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
        """Return the effects on the score less `price` times the effects of single choices on costs."""
        added = {
            name: {choice: effect - price * costs.added[name][choice] for choice, effect in of.items()}
            for name, of in self.added.items()
        }
        return replace(self, mean=self.mean - price * costs.mean, added=added)


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
    of one informs about the others. Pairs of choices of related parameters have dummies of their own, of a smaller
    variance. Without scores the mean is 0, and all effects are those of the prior.
    """
    fit = fit_effects(candidates, scores, rows_each, parameters, prior)
    effects = list(zip(fit.columns, fit.coefficients[1:].tolist(), strict=True))
    added = {
        parameter.name: {
            choice.name: (prior.mean(parameter.name, choice.name) if prior else 0.0)
            + sum(effect for column, effect in effects if column.is_of(at, index))
            for index, choice in enumerate(parameter.choices)
        }
        for at, parameter in enumerate(parameters)
    }
    errors = {
        parameter.name: {choice.name: fit.error(at, index) for index, choice in enumerate(parameter.choices)}
        for at, parameter in enumerate(parameters)
    }
    pairs: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for column, effect in effects:
        if len(column.choices) == 2:
            (one, other), ((first,), (second,)) = column.choices, column.choices.values()
            names = parameters[one].choices[first].name, parameters[other].choices[second].name
            pairs.setdefault((parameters[one].name, parameters[other].name), {})[names] = effect
    return Effects(float(fit.coefficients[0]), added, tuple(parameters), fit.rows, pairs, errors)


@dataclass(frozen=True, slots=True)
class _Column:
    """A dummy of the regression, with its prior variance.

    `choices`: those of which a configuration has one of each parameter, by the places of the parameters and the
    choices. A choice, a setting that several choices share, or a pair of choices.
    """

    choices: Mapping[int, tuple[int, ...]]
    variance: float

    def is_of(self, parameter: int, choice: int) -> bool:
        """Tell whether it is of one parameter alone, and of this choice among others."""
        return self.choices.keys() == {parameter} and choice in self.choices[parameter]

    def of(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return 1 for each configuration that has it and 0 for the others; `taken` is (configurations, parameters)."""
        held = [np.logical_or.reduce([taken[:, at] == one for one in some]) for at, some in self.choices.items()]
        return np.asarray(np.logical_and.reduce(held), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class EffectsFit:
    """A fitted regression: coefficients (1 + columns,), the first of them the mean, and their posterior covariance.

    It explains what a prior does not expect.
    """

    columns: tuple[_Column, ...]
    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    rows: float

    def design(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the design of configurations, given by the places of their choices."""
        return _design(self.columns, taken)

    def error(self, parameter: int, choice: int) -> float:
        """Return the posterior standard deviation of a choice's effect over that of the parameter's first choice."""
        held = [float(column.is_of(parameter, choice)) - column.is_of(parameter, 0) for column in self.columns]
        contrast = np.array([0.0, *held])
        return float(np.sqrt(contrast @ self.covariance @ contrast))


def fit_effects(
    candidates: Sequence[Candidate],
    scores: ArrayLike,
    rows_each: ArrayLike,
    parameters: Sequence[Parameter],
    prior: EffectPrior | None = None,
) -> EffectsFit:
    """Fit the regression of `main_effects`."""
    means = np.asarray(scores, dtype=np.float64)
    weights = np.where(np.isnan(means), 0.0, np.asarray(rows_each, dtype=np.float64))
    taken = choice_places(candidates, parameters)
    single = [column for at, parameter in enumerate(parameters) for column in _columns(parameter, at, prior)]
    columns = (*single, *_pair_columns(taken[weights > 0], parameters))
    design = _design(columns, taken)
    penalty = np.diag([0.0, *(NOISE / column.variance for column in columns)])
    weighed = design.T * weights
    if not weights.any():
        penalty[0, 0] = 1.0  # Nothing is known of the mean: it is 0.
    inverse = np.asarray(np.linalg.inv(weighed @ design + penalty), dtype=np.float64)
    rows = float(weights.sum()) / max(1, int((weights > 0).sum()))
    unexpected = np.nan_to_num(means - expected_effects(taken, parameters, prior))
    return EffectsFit(columns, inverse @ (weighed @ unexpected), NOISE * inverse, rows)


def expected_effects(
    taken: NDArray[np.int64], parameters: Sequence[Parameter], prior: EffectPrior | None
) -> NDArray[np.float64]:
    """Return the effects that a prior expects of configurations in sum, (configurations,); 0 without a prior."""
    found = np.zeros(len(taken))
    for at, parameter in enumerate(parameters if prior else ()):
        means = [prior.mean(parameter.name, choice.name) for choice in parameter.choices] if prior else [0.0]
        found += np.array(means)[taken[:, at]]
    return found


def choice_places(candidates: Sequence[Candidate], parameters: Sequence[Parameter]) -> NDArray[np.int64]:
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


def _columns(parameter: Parameter, at: int, prior: EffectPrior | None) -> list[_Column]:
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
    columns = [*single, *(_Column({at: places}, variance / 2) for places in common)]
    return columns if prior is None else [_with_prior(column, parameter, at, prior) for column in columns]


def _with_prior(column: _Column, parameter: Parameter, at: int, prior: EffectPrior) -> _Column:
    """Return a column with its variance scaled to that of the prior effects of its choices.

    Choices of one kind, such as draws of as many examples, differ from each other as much as without a prior.
    """
    names = [parameter.choices[place].name for place in column.choices[at]]
    if len(names) == 1 and prior.is_shared(parameter.name, names[0]):
        return column
    known = [prior.effect(parameter.name, name) for name in names]
    scales = [min(MOST_SCALE, effect.variance / PRIOR_SD**2) if effect else 1.0 for effect in known]
    return replace(column, variance=column.variance * sum(scales) / len(scales))


def _pair_columns(taken: NDArray[np.int64], parameters: Sequence[Parameter]) -> list[_Column]:
    """Return the columns of the pairs of related choices that configurations have."""
    return [
        _Column({one: (first,), other: (second,)}, PAIR_SHARE * PRIOR_SD**2)
        for one, other in combinations(range(len(parameters)), 2)
        if are_related(parameters[one], parameters[other])
        for first, second in np.unique(taken[:, [one, other]], axis=0).tolist()
    ]


def _taken(candidate: Candidate, parameters: Sequence[Parameter]) -> list[tuple[str, Choice]]:
    """Return the choice of each parameter, by its name."""
    return [(parameter.name, candidate.choices.get(parameter.name, parameter.choices[0])) for parameter in parameters]
