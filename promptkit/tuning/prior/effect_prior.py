"""The prior of choices' effects: pooled over earlier tunings by the kind of choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import exp, sqrt
from typing import Final

USUAL_VARIANCE: Final = 0.1**2
"""The variance of a parameter's effects before there is any evidence: 10 points up or down."""
USUAL_VARIANCE_WEIGHT: Final = 4.0
"""The number of effects whose evidence counts as much as `USUAL_VARIANCE`."""
USUAL_SHARE, MOST_SHARE = 0.4, 0.9
"""The share of that variance that is common to all tasks on a model, before there is any evidence and at most."""
USUAL_SHARE_WEIGHT: Final = 6.0
"""The number of pairs of effects whose evidence counts as much as `USUAL_SHARE`."""
SMALLEST_VARIANCE: Final = 0.03**2
LEAST_VARIANCE: Final = 0.2 / 60
"""A prior is at most as strong as 60 rows with a choice, at the variance of right and wrong."""
MOST_OFTEN: Final = 4.0
"""A choice is drawn at most this many times as often as without a prior, and at least 1 / this many times."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated effect, as a share of the metric's range, and its variance."""

    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class EffectPrior:
    """The prior effects of a search space's choices.

    `kinds`: the kind of each choice that means the same in any project, by parameter name and choice name. `effects`:
    the prior effect of each kind by step. Choices that share a kind share the prior mean.
    """

    kinds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    effects: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    def effect(self, parameter: str, choice: str) -> Estimate | None:
        """Return the prior effect of a choice; None without one."""
        of_step = self.effects.get(parameter.partition(".")[0], {})
        return of_step.get(self.kinds.get(parameter, {}).get(choice, ""))

    def mean(self, parameter: str, choice: str) -> float:
        """Return the prior mean of a choice's effect; 0 without one."""
        known = self.effect(parameter, choice)
        return known.mean if known else 0.0

    def is_shared(self, parameter: str, choice: str) -> bool:
        """Tell whether other choices of the parameter are of the same kind, so that only their mean is known."""
        kinds = self.kinds.get(parameter, {})
        return list(kinds.values()).count(kinds.get(choice, "")) > 1

    def draw_weights(self, parameter: str, choices: Sequence[str]) -> list[float]:
        """Return the frequency to draw each choice with, relative to the others, within limits.

        A choice whose effect is expected to be half a standard deviation above the mean is drawn e times as often.
        """
        means = [self.mean(parameter, choice) for choice in choices]
        centre = sum(means) / len(means)
        weights = []
        for choice, mean in zip(choices, means, strict=True):
            known = self.effect(parameter, choice)
            ahead = 2 * (mean - centre) / sqrt(known.variance) if known else 0.0
            weights.append(min(MOST_OFTEN, max(1 / MOST_OFTEN, exp(ahead))))
        return weights


def pooled_effects(tunings: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """Return the expected effect of each kind in a further task, from its estimates in independent tunings.

    A hierarchical model: a task's effect is normal around the kind's mean, which is normal around 0. The variance of
    all effects of a parameter kind is estimated by moments, and the share of it that tasks have in common by the
    products of two tasks' effects, whose errors are independent; both are shrunk towards usual values. Where tasks
    agree in nothing, the means are near 0. The result's variance is that of the prediction for a further task, and at
    least `LEAST_VARIANCE`.
    """
    found: dict[str, list[Estimate]] = {}
    for effects in tunings:
        for kind, estimate in effects.items():
            found.setdefault(kind, []).append(estimate)
    variances = _variances(found)
    share = _common_share(found, variances)
    return {kind: _predicted(estimates, variances[kind], share) for kind, estimates in sorted(found.items())}


def _variances(found: Mapping[str, Sequence[Estimate]]) -> dict[str, float]:
    """Return the variance of effects of each kind's parameter kind, by kind."""
    variances = {}
    for group in {parameter_kind(kind) for kind in found}:
        estimates = [each for kind, of_kind in found.items() if parameter_kind(kind) == group for each in of_kind]
        weights = [USUAL_VARIANCE / (USUAL_VARIANCE + estimate.variance) for estimate in estimates]
        total = USUAL_VARIANCE_WEIGHT * USUAL_VARIANCE + sum(
            weight * (estimate.mean**2 - estimate.variance) for weight, estimate in zip(weights, estimates, strict=True)
        )
        variances[group] = max(SMALLEST_VARIANCE, total / (USUAL_VARIANCE_WEIGHT + sum(weights)))
    return {kind: variances[parameter_kind(kind)] for kind in found}


def _common_share(found: Mapping[str, Sequence[Estimate]], variances: Mapping[str, float]) -> float:
    """Return the share of the variance of effects that is common to all tasks."""
    agreement, pairs = USUAL_SHARE_WEIGHT * USUAL_SHARE, USUAL_SHARE_WEIGHT
    for kind, estimates in found.items():
        variance = variances[kind]
        weights = [variance / (variance + estimate.variance) for estimate in estimates]
        for one, other in combinations(range(len(estimates)), 2):
            weight = weights[one] * weights[other]
            agreement += weight * estimates[one].mean * estimates[other].mean / variance
            pairs += weight
    return min(MOST_SHARE, max(1 - MOST_SHARE, agreement / pairs))


def _predicted(estimates: Sequence[Estimate], variance: float, share: float) -> Estimate:
    between = (1 - share) * variance
    weights = [1 / (estimate.variance + between) for estimate in estimates]
    precision = 1 / (share * variance) + sum(weights)
    mean = sum(weight * estimate.mean for weight, estimate in zip(weights, estimates, strict=True)) / precision
    return Estimate(mean, max(LEAST_VARIANCE, 1 / precision + between))


def parameter_kind(kind: str) -> str:
    """Return the kind of parameter that a kind of choice belongs to: `layout` of `layout: json`."""
    return kind.partition(":")[0]
