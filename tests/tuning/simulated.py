"""A simulated model of known truth: what candidates get right, by rows that are hard or easy for all of them.

A candidate j is right on row i where z(μ_j) + √ρ·u_i + √(1−ρ)·e_ij > 0, u and e standard normal, so with probability
μ_j exactly: what is measured is compared with the truth, not with an estimate of it. ρ is what rows have in common.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from promptkit.tuning.search.race import Block, Race
from promptkit.tuning.search_space.candidate import KINDS, Candidate, Choice, Parameter

Floats = NDArray[np.float64]
Truths = Callable[[int, np.random.Generator], Floats]


def answers(truth: Floats, rows: int, rho: float, chance: np.random.Generator) -> Floats:
    """Return 1 where a candidate is right and 0 where it is wrong, (candidates, rows)."""
    shared = sqrt(rho) * chance.standard_normal(rows)
    noise = sqrt(1 - rho) * chance.standard_normal((len(truth), rows))
    return np.asarray(ndtri(truth)[:, None] + shared + noise > 0, dtype=np.float64)


COPIES = 4
ALIKE = 0.9
"""The share of a cell's own noise that a row in other words has in common with the row."""
GRADES = np.array([0.25, 0.5, 0.75, 1.0])


def reworded(truth: Floats, rows: int, rho: float, chance: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Return answers to rows that each stand there four times in other words, and the cluster of each."""
    texts = np.arange(rows) // COPIES
    shared = sqrt(rho) * chance.standard_normal(int(texts[-1]) + 1)[texts]
    own = sqrt(ALIKE) * chance.standard_normal((len(truth), int(texts[-1]) + 1))[:, texts]
    wording = sqrt(1 - ALIKE) * chance.standard_normal((len(truth), rows))
    latent = ndtri(truth)[:, None] + shared + sqrt(1 - rho) * (own + wording)
    return np.asarray(latent > 0, dtype=np.float64), texts


def graded(truth: Floats, rows: int, rho: float, chance: np.random.Generator) -> Floats:
    """Return scores that are often 0 and else one of four grades, of mean `truth`, (candidates, rows)."""
    some = answers(truth / GRADES.mean(), rows, rho, chance)
    return np.asarray(some * chance.choice(GRADES, some.shape), dtype=np.float64)


@dataclass(frozen=True)
class Hashed:
    """The same by what candidates and rows are called: a cell is the same in whatever order cells are asked."""

    truth: Mapping[str, float]
    rho: float
    seed: int = 0

    def is_right(self, candidate: str, row: str) -> bool:
        """Return whether a candidate is right on a row."""
        shared, own = self._normal(row), self._normal(candidate, row)
        mean = NormalDist().inv_cdf(self.truth[candidate])
        return mean + sqrt(self.rho) * shared + sqrt(1 - self.rho) * own > 0

    def _normal(self, *names: str) -> float:
        told = "\0".join((str(self.seed), *names)).encode()
        number = int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big")
        return NormalDist().inv_cdf((number + 0.5) / 2**64)


# Fields of candidates: their true rates, of which the best is `top`.


def _top(chance: np.random.Generator) -> float:
    return float(chance.uniform(0.75, 0.85))


def _shifted(rates: Floats, top: float) -> Floats:
    return rates + (top - float(rates.max()))


def leader(k: int, chance: np.random.Generator) -> Floats:
    """One is 3 to 8 points ahead of each other one."""
    return _top(chance) - np.array([0.0, *chance.uniform(0.03, 0.08, k - 1)])


def one_ahead(by: float) -> Truths:
    """One is ahead, the rest are equal."""
    return lambda k, chance: _top(chance) - np.array([0.0] + [by] * (k - 1))


def normal(k: int, chance: np.random.Generator) -> Floats:
    """Normal, of a deviation of 4 points."""
    return _shifted(chance.normal(0, 0.04, k), _top(chance))


def spread(k: int, chance: np.random.Generator) -> Floats:
    """Evenly spread over 10 points."""
    return _top(chance) - np.linspace(0, 0.1, k)


def cluster(k: int, chance: np.random.Generator) -> Floats:
    """An eighth is within a point of the best, the rest 3 or 8 points behind."""
    near = max(1, k // 8)
    behind = np.concatenate([[0.0], chance.uniform(0, 0.01, near - 1), chance.choice([0.03, 0.08], k - near)])
    return _top(chance) - behind


def wild(k: int, chance: np.random.Generator) -> Floats:
    """Three tenths are near a half: broken. The rest are normal, of a deviation of 5 points."""
    broken = round(0.3 * k)
    rest = _shifted(chance.normal(0, 0.05, k - broken), _top(chance))
    return np.concatenate([rest, chance.normal(0.5, 0.02, broken)])


FIELDS: Mapping[str, Truths] = {
    "leader": leader,
    "one +5": one_ahead(0.05),
    "one +10": one_ahead(0.10),
    "normal": normal,
    "spread": spread,
    "cluster": cluster,
    "wild": wild,
}


def null(k: int, chance: np.random.Generator) -> Floats:
    """All are equal."""
    return np.full(k, 0.75)


def null_with_worse(k: int, chance: np.random.Generator) -> Floats:
    """Half of them, not the start, are 15 points worse."""
    return np.where(np.arange(k) < (k + 1) // 2, 0.75, 0.60)


def start_best(k: int, chance: np.random.Generator) -> Floats:
    """The start is 3 points better than all others."""
    return np.array([0.78] + [0.75] * (k - 1))


def start_below(k: int, chance: np.random.Generator) -> Floats:
    """The start is 6 points under the mean of a normal field."""
    return np.array([0.69, *chance.normal(0.75, 0.04, k - 1)])


@dataclass(frozen=True)
class Setting:
    """One setting of the mixture on which selection rules are compared."""

    field: str
    candidates: int
    rows: int
    rho: float

    def draw(self, chance: np.random.Generator) -> tuple[Floats, Floats]:
        """Return true rates, in random order, and answers."""
        truth = chance.permutation(FIELDS[self.field](self.candidates, chance))
        return truth, answers(truth, self.rows, self.rho, chance)


SETTINGS = [Setting(*item) for item in product(FIELDS, (8, 16, 32, 64), (100, 200, 400), (0.5, 0.8))]


# Races over arrays of answers.


@dataclass
class Run:
    """A race that has ended, what it cost, and the blocks that it was given."""

    race: Race
    calls: float = 0.0
    blocks: list[Block] = field(default_factory=list)

    @property
    def pick(self) -> int:
        """The candidate that it ends with."""
        return self.race.incumbent


def run(
    race: Race,
    scores: Floats,
    *,
    unparsed: NDArray[np.bool_] | None = None,
    costs: ArrayLike = 1.0,
    tokens: Floats | None = None,
    known: Sequence[int] | None = None,
) -> Run:
    """Run a race to its end, or until a block costs more than is left of its budget: then that is spent.

    `scores`, `unparsed` and `tokens` are (candidates, rows), and so are `costs`, in calls, or one for all cells.
    `known` is what the race was told is known.
    """
    ended = Run(race)
    failed = np.zeros(scores.shape, dtype=bool) if unparsed is None else unparsed
    asked = np.array(np.broadcast_to(np.asarray(costs, dtype=np.float64), scores.shape))
    for number, seen in enumerate(known or ()):
        asked[number, :seen] = 0.0
    while (block := race.ask()) is not None:
        stop, alive = block.rows.stop, list(block.alive)
        cost = float(asked[alive, block.rows.start : stop].sum())
        if cost > race.budget_left:
            ended.calls += race.budget_left
            break
        race.tell(
            {number: scores[number, :stop] for number in alive},
            {number: failed[number, :stop] for number in alive},
            cost,
            None if tokens is None else {number: float(tokens[number, :stop].mean()) for number in alive},
        )
        ended.calls += cost
        ended.blocks.append(block)
    return ended


def raced(scores: Floats, share: float) -> Run:
    """Run a race of candidates of one call a row for a share of all cells."""
    k, rows = scores.shape
    return run(Race(costs=[1] * k, rows=rows, budget=share * k * rows), scores)


def uniform(scores: Floats, share: float) -> int:
    """Pick after as many calls, spent on the same rows for all."""
    return int(np.argmax(scores[:, : int(share * scores.shape[1])].mean(axis=1)))


def unpaired(scores: Floats, share: float) -> int:
    """Pick after as many calls, each candidate on rows of its own choice."""
    k, rows = scores.shape
    seen = int(share * rows)
    return int(
        np.argmax([np.take(scores[j], np.arange(j * seen, (j + 1) * seen), mode="wrap").mean() for j in range(k)])
    )


# A space with main effects and interactions.


MODERATE = {"decide": (4, 0.45), "examples": (12, 0.25), "layout": (4, 0.10), "wording": (6, 0.07)}
"""Levels of each axis and the deviation of their effects, in probits."""


def axes_of(levels: Mapping[str, tuple[int, float]]) -> list[Parameter]:
    """Return axes of so many levels, of which the first changes nothing; an axis named after a kind is of that kind."""
    return [
        Parameter(
            name=f"step.{name}",
            step="step",
            kind=next((kind for kind in KINDS if kind == name), "given"),
            choices=tuple(Choice(str(n), {f"step.{name}": n} if n else {}) for n in range(size)),
        )
        for name, (size, _) in levels.items()
    ]


@dataclass
class Space:
    """All joint configurations of axes with their true rates, and what they get right on the rows of one order.

    `latent` is in probits, (types of row, levels of each axis…); `types` has the type of each row, (rows,). `truth` is
    the mean rate over the types, which are equally likely.
    """

    axes: list[Parameter]
    latent: Floats
    types: NDArray[np.int64]
    rho: float
    seed: int
    truth: Floats = field(init=False)
    _shared: Floats = field(init=False)
    _seen: dict[tuple[int, ...], Floats] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.truth = ndtr(self.latent).mean(axis=0)
        self._shared = np.random.default_rng([self.seed, 1]).standard_normal(self.rows)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.types)

    def place(self, candidate: Candidate) -> tuple[int, ...]:
        """Return the numbers of a candidate's levels."""
        return tuple(
            parameter.choices.index(candidate.choices.get(parameter.name, parameter.choices[0]))
            for parameter in self.axes
        )

    def scores(self, candidate: Candidate) -> Floats:
        """Return the scores on all rows, the same each time."""
        at = self.place(candidate)
        if at not in self._seen:
            noise = np.random.default_rng([self.seed, 2, *at]).standard_normal(self.rows)
            latent = self.latent[(self.types, *at)] + sqrt(self.rho) * self._shared + sqrt(1 - self.rho) * noise
            self._seen[at] = np.asarray(latent > 0, dtype=np.float64)
        return self._seen[at]


Levels = Mapping[str, tuple[int, float]]


def space(
    seed: int, *, start: float, rows: int = 100, rho: float = 0.5, levels: Levels = MODERATE, interaction: float = 0.3
) -> Space:
    """Return a space of random effects, and of interactions of pairs that are a share of both's deviation."""
    latent = random_effects(np.random.default_rng([seed, 0]), levels, interaction)
    return anchored(latent[None], levels, start=start, types=np.zeros(rows, dtype=np.int64), rho=rho, seed=seed)


def random_effects(chance: np.random.Generator, levels: Levels, interaction: float) -> Floats:
    """Return normal effects of levels and of pairs of levels, in probits, (levels of each axis…)."""
    names = list(levels)
    latent = np.zeros([levels[name][0] for name in names])
    for at, name in enumerate(names):
        latent = latent + along(chance.normal(0, levels[name][1], levels[name][0]), (at,), latent.ndim)
    return latent + interactions(chance, levels, interaction)


def interactions(chance: np.random.Generator, levels: Levels, share: float) -> Floats:
    """Return normal effects of pairs of levels, of a share of the geometric mean of both axes' deviations."""
    names = list(levels)
    latent = np.zeros([levels[name][0] for name in names])
    for one, other in combinations(range(len(names)), 2):
        (size, sd), (other_size, other_sd) = levels[names[one]], levels[names[other]]
        both = chance.normal(0, share * sqrt(sd * other_sd), (size, other_size))
        latent = latent + along(both, (one, other), latent.ndim)
    return latent


def anchored(latent: Floats, levels: Levels, *, start: float, types: NDArray[np.int64], rho: float, seed: int) -> Space:
    """Return the space of latent rates, (types of row, levels…), moved so that the start has its rate on each type."""
    first = latent.reshape(len(latent), -1)[:, 0].reshape(-1, *[1] * len(levels))
    return Space(axes_of(levels), latent - first + ndtri(start), types, rho, seed)


def along(values: Floats, dimensions: tuple[int, ...], of: int) -> Floats:
    shape = [1] * of
    for at, dimension in enumerate(dimensions):
        shape[dimension] = values.shape[at]
    return values.reshape(shape)
