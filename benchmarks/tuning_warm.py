"""Warm starts against cold ones on simulated tasks: what three earlier tunings are worth, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from promptkit.tuning.prior.effect_prior import EffectPrior, Estimate, pooled_effects
from promptkit.tuning.prior.estimates import Scores, estimated_effects
from promptkit.tuning.search_space.candidate import Candidate
from tests.tuning.array_searches import search_space
from tests.tuning.simulated import MODERATE, Floats, Space, axes_of

ROWS, START, RHO = 100, 0.55, 0.5
EARLIER, EARLIER_CALLS = 3, 231
INTERACTION = 0.3
EXAMPLE_SETS = [0, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8]
"""How many examples each level of the axis has: the draws of one size are of one kind."""
CALLS = (120, 231)
SHARED = {"80 %": 0.8, "half": 0.5, "nothing": 0.0}
"""The share of the effects' variance that is common to all tasks on a model."""
LEAST = {"80 %": 0.5, "half": 0.0, "nothing": -1.0}
"""The least that is promised of warm starts over cold ones, in points."""


def kinds_of(levels: Mapping[str, tuple[int, float]]) -> dict[str, dict[str, str]]:
    """Return the kind of each choice by axis: of examples their number, else the level."""
    return {
        f"step.{name}": {
            str(level): f"{name}: {EXAMPLE_SETS[level] if name == 'examples' else level}" for level in range(size)
        }
        for name, (size, _) in levels.items()
    }


def tasks(model: int, count: int, shared: float) -> list[Space]:
    """Return tasks on one model whose effects have a share of their variance in common, interactions included."""
    from scipy.special import ndtr, ndtri

    common = np.random.default_rng([model, 3])
    shapes = _effects(common)
    spaces = []
    for task in range(count):
        mine = _effects(np.random.default_rng([model, 4, task]))
        latent = np.sqrt(shared) * shapes + np.sqrt(1 - shared) * mine
        first = (0,) * latent.ndim
        truth = ndtr(latent - latent[first] + ndtri(START))
        axes = [replace(axis, kind="decide" if axis.name == "step.decide" else "given") for axis in axes_of(MODERATE)]
        spaces.append(Space(axes, truth, ROWS, RHO, 1_000 * model + task))
    return spaces


def _effects(chance: np.random.Generator) -> Floats:
    """Return the effects of all configurations in probits: one dimension an axis."""
    names = list(MODERATE)
    latent = np.zeros([MODERATE[name][0] for name in names])
    for at, name in enumerate(names):
        size, sd = MODERATE[name]
        values = chance.normal(0, sd, size)
        if name == "examples":  # Half of it by their number, half by the draw.
            by_number = dict(zip(sorted(set(EXAMPLE_SETS)), chance.normal(0, sd, 4), strict=True))
            values = (values + np.array([by_number[number] for number in EXAMPLE_SETS])) / np.sqrt(2)
        latent = latent + values.reshape([size if dimension == at else 1 for dimension in range(len(names))])
    for one, other in combinations(range(len(names)), 2):
        (size, sd), (other_size, other_sd) = MODERATE[names[one]], MODERATE[names[other]]
        both = chance.normal(0, INTERACTION * np.sqrt(sd * other_sd), (size, other_size))
        shape = [1] * len(names)
        shape[one], shape[other] = size, other_size
        latent = latent + both.reshape(shape)
    return latent


def left_behind(model: Space, calls: int) -> dict[str, Estimate]:
    """Return what a cold tuning with so many calls leaves for later ones."""
    found = [
        Scores(candidate, range(rows), model.scores(candidate)[:rows])
        for candidate, rows in search_space(model, calls).rows.values()
    ]
    return estimated_effects(found, model.axes, kinds_of(MODERATE))


def gain(model: Space, pick: Candidate) -> float:
    """Return the true gain of a pick over the start, in points."""
    return 100 * float(model.truth[model.place(pick)] - model.truth[model.place(Candidate())])


def compared(models: int, shared: float) -> dict[int, Floats]:
    """Return true gains of cold and warm tunings by calls, (models, 2): each of a further task with earlier ones."""
    found: dict[int, list[list[float]]] = {calls: [] for calls in CALLS}
    for model in range(models):
        *earlier, task = tasks(model, EARLIER + 1, shared)
        pooled = pooled_effects([left_behind(space, EARLIER_CALLS) for space in earlier])
        prior = EffectPrior(kinds_of(MODERATE), {"step": pooled})
        for calls in CALLS:
            found[calls].append([gain(task, search_space(task, calls, known).pick) for known in (None, prior)])
    return {calls: np.array(gains) for calls, gains in found.items()}


def warm_starts(models: int) -> Iterator[tuple[str, float, float]]:
    """Compare warm and cold starts; print them, and yield what is promised: of what, the least, and as measured."""
    print(
        f"\n{models} models, {EARLIER} earlier tasks of {EARLIER_CALLS} calls each: mean gain over the start in points"
    )
    print(f"{'tasks share':<14}{'calls':>6}{'cold':>8}{'warm':>8}{'warm - cold':>14}{'±':>6}")
    for name, shared in SHARED.items():
        for calls, gains in compared(models, shared).items():
            ahead = gains[:, 1] - gains[:, 0]
            cold, warm = gains.mean(axis=0)
            error = ahead.std(ddof=1) / models**0.5
            print(f"{name:<14}{calls:6}{cold:8.1f}{warm:8.1f}{ahead.mean():+14.1f}{error:6.1f}", flush=True)
            yield f"warm - cold, {calls} calls, tasks share {name}, points", LEAST[name], ahead.mean()
