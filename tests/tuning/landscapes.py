"""Search spaces of known truth that are not of the kind that a fit of main effects is made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from math import sqrt
from typing import Final

import numpy as np

from promptkit.tuning.search.effects import are_related
from tests.tuning.simulated import (
    Floats,
    Levels,
    Space,
    along,
    anchored,
    axes_of,
    interactions,
    random_effects,
)

START: Final = 0.55
ROWS: Final = 64
RHO: Final = 0.5
AXES: Final[Levels] = {
    "decide": (6, 0.45),
    "examples": (12, 0.25),
    "layout": (5, 0.10),
    "technique": (4, 0.20),
    "wording": (2, 0.07),
}
"""Levels of each axis and the deviation of their effects, in probits: 2,880 configurations."""
INTERACTION: Final = 0.3
ROW_TYPES: Final = 6
TOGETHER: Final = 1.3
"""The gain in probits of two changes that each hurt alone by up to `ALONE`."""
ALONE: Final = 0.3


def mild(chance: np.random.Generator) -> Floats:
    """Return normal effects and mild interactions."""
    return random_effects(chance, AXES, INTERACTION)[None]


def heavy_tails(chance: np.random.Generator) -> Floats:
    """Return effects by a t distribution with 2 degrees of freedom: a few levels decide nearly everything."""
    latent = interactions(chance, AXES, INTERACTION)
    for at, (size, sd) in enumerate(AXES.values()):
        latent = latent + along(sd / sqrt(2) * chance.standard_t(2, size), (at,), latent.ndim)
    return latent[None]


def example_sets(chance: np.random.Generator) -> Floats:
    """Return example sets that all differ much."""
    return random_effects(chance, {**AXES, "examples": (AXES["examples"][0], 0.5)}, INTERACTION)[None]


def row_types(chance: np.random.Generator) -> Floats:
    """Return effects by type of row, half of whose variance the types share."""
    shared = random_effects(chance, AXES, INTERACTION)
    own = [random_effects(chance, AXES, INTERACTION) for _ in range(ROW_TYPES)]
    return sqrt(0.5) * shared + sqrt(0.5) * np.stack(own)


def gate(chance: np.random.Generator, *, levels: float | None = 0.5) -> Floats:
    """Return changes that all hurt alone, of which some on two related axes pay together.

    `levels`: the share of each of the two axes' changes that are among them; None for one of each.
    """
    names, sizes = list(AXES), [size for size, _ in AXES.values()]
    latent = interactions(chance, AXES, INTERACTION / 3)
    for at, (size, sd) in enumerate(AXES.values()):
        effects = -np.abs(chance.normal(0, sd, size))
        latent = latent + along(np.where(np.arange(size) > 0, effects, 0.0), (at,), latent.ndim)
    axes = axes_of(AXES)
    pairs = [pair for pair in combinations(range(len(names)), 2) if are_related(axes[pair[0]], axes[pair[1]])]
    one, other = pairs[chance.integers(len(pairs))]
    marks = []
    for at in (one, other):
        count = 1 if levels is None else max(1, int(levels * sizes[at]))
        marks.append(np.isin(np.arange(sizes[at]), chance.choice(np.arange(1, sizes[at]), count, replace=False)))
        latent = latent - ALONE * along(marks[-1].astype(np.float64), (at,), latent.ndim)
    both = np.asarray((TOGETHER + 2 * ALONE) * np.outer(*marks), dtype=np.float64)
    return (latent + along(both, (one, other), latent.ndim))[None]


def narrow_gate(chance: np.random.Generator) -> Floats:
    """Return changes that all hurt alone, of which one pair on two related axes pays together."""
    return gate(chance, levels=None)


LANDSCAPES: Final[Mapping[str, Callable[[np.random.Generator], Floats]]] = {
    "mild": mild,
    "heavy tails": heavy_tails,
    "example sets differ": example_sets,
    "effects by type of row": row_types,
    "gate": gate,
    "narrow gate": narrow_gate,
}


def landscape(name: str, seed: int) -> Space:
    """Return a space of a landscape, its start at 55 % on each type of row."""
    chance = np.random.default_rng([list(LANDSCAPES).index(name), seed])
    latent = LANDSCAPES[name](chance)
    types = chance.integers(len(latent), size=ROWS)
    return anchored(latent, AXES, start=START, types=types, rho=RHO, seed=seed)
