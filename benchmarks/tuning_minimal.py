"""Backward elimination against simulated changes of known worth, in arrays: nothing is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from tuning_simulated import Bound, at_least, at_most

from promptkit.tuning.minimal import TEST_ROWS, search_calls
from promptkit.tuning.search.contributions import Contributions, paired_lead, screened_contributions
from promptkit.tuning.search.effects import Effects, main_effects
from promptkit.tuning.search.elimination import LEAST_PAIRS, Elimination, WithoutGroup
from promptkit.tuning.search.race import Race
from promptkit.tuning.search.screening import Screen, draw, finalists, screen_rows, screen_size
from promptkit.tuning.search_space.candidate import Candidate, Parameter
from tests.tuning.simulated import Floats, axes_of, run

ROWS, CALLS, START, SHARED = 80, 640, 0.5, 0.8
"""The search of 200 rows at the default budget; `SHARED` is what candidates have in common on a row."""
FEW = "4 real changes, 4 dead"
SPACES: Mapping[str, tuple[float, ...]] = {
    FEW: (0.15, 0.08, 0.03, 0.03, 0, 0, 0, 0),
    "12 real changes, 5 dead": (0.12, 0.1, 0.08, 0.05, *[0.03] * 8, *[0] * 5),
}


@dataclass
class Changes:
    """Changes that add so much to the share of right answers; one that adds nothing alters no answer, or some."""

    gains: Floats
    seed: int
    dead_alter: bool
    axes: list[Parameter] = field(init=False)
    _answers: dict[str, Floats] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.axes = axes_of({f"change{number:02}": (2, 0.0) for number in range(len(self.gains))})

    def has(self, candidate: Candidate) -> NDArray[np.bool_]:
        """Return which changes a candidate has."""
        return np.array([parameter.name in candidate.choices for parameter in self.axes])

    def truth(self, candidate: Candidate) -> float:
        """Return how often it is right."""
        return float(np.clip(START + self.has(candidate) @ self.gains, 0.02, 0.98))

    def scores(self, candidate: Candidate) -> Floats:
        """Return the scores on all rows, the same each time."""
        from scipy.special import ndtri

        if candidate.key not in self._answers:
            shared = np.random.default_rng([self.seed, 1]).standard_normal(ROWS)
            altering = self.has(candidate) & (self.dead_alter | (self.gains != 0))
            own = np.random.default_rng([self.seed, 2, *altering.astype(int)]).standard_normal(ROWS)
            right = ndtri(self.truth(candidate)) + sqrt(SHARED) * shared + sqrt(1 - SHARED) * own > 0
            self._answers[candidate.key] = right.astype(np.float64)
        return self._answers[candidate.key]


@dataclass
class Searched:
    """The pick of a search, its screen, and how many rows each candidate was asked."""

    pick: Candidate
    effects: Effects
    known: dict[Candidate, int]
    calls: float


def search(model: Changes, calls: int) -> Searched:
    """Search as a tuning does: a screen of half of the calls, then the race of its finalists."""
    drawn = draw(model.axes, screen_size(calls), model.seed)
    rows = screen_rows(calls, [1] * len(drawn), ROWS)
    means = [float(model.scores(candidate)[:rows].mean()) for candidate in drawn]
    effects = main_effects(drawn, means, [rows] * len(drawn), model.axes)
    entering = finalists(Screen(effects, list(zip(drawn, means, strict=True))))
    seen = {candidate.key: rows for candidate in drawn}
    known = [seen.get(candidate.key, 0) for candidate in entering]
    spent = rows * len(drawn)
    race = Race(costs=[1] * len(entering), rows=ROWS, budget=calls - spent, spent=spent, known=known)
    raced = run(race, np.stack([model.scores(candidate) for candidate in entering]), known=known)
    asked = dict.fromkeys(drawn, rows)
    for candidate, entry in zip(entering, race.entries, strict=True):
        asked[candidate] = max(entry.rows, seen.get(candidate.key, 0))
    return Searched(entering[raced.pick], effects, asked, spent + raced.calls)


def eliminated(model: Changes, searched: Searched, calls: float) -> Candidate:
    """Return the pick without the changes that elimination takes back within so many calls."""
    current, known = searched.pick, searched.known
    elimination = Elimination(_known(model, searched), list(current.choices))
    while group := elimination.ask():
        without = current
        for name in group:
            without = without.with_choice(name, None)
        for most in (LEAST_PAIRS, TEST_ROWS):
            lacking = sum(max(0, most - known.get(candidate, 0)) for candidate in (current, without))
            if lacking > calls:
                return current
            calls -= lacking
            for candidate in (current, without):
                known[candidate] = max(most, known.get(candidate, 0))
            one, other = (model.scores(candidate)[:most] for candidate in (current, without))
            lead, variance, pairs = paired_lead(one, other)
            same = bool((one == other).all())
            compared = WithoutGroup(lead=lead, variance=variance, pairs=pairs, is_same=same)
            if elimination.is_needed(group, compared):
                break
        if elimination.tell(group, compared):
            current = without
    return current


def _known(model: Changes, searched: Searched) -> Contributions:
    contributions, pick = screened_contributions(searched.pick, searched.effects), searched.pick
    for candidate, rows in searched.known.items():
        shared = min(rows, searched.known[pick])
        if shared and candidate.choices.keys() < pick.choices.keys():
            taken_back = pick.choices.keys() - candidate.choices.keys()
            lead, variance, _ = paired_lead(model.scores(pick)[:shared], model.scores(candidate)[:shared])
            contributions = contributions.observe(taken_back, lead, variance)
    return contributions


def eliminations(seeds: int) -> Iterator[Bound]:
    """Search and take back; print what went and what it cost, and yield what is promised."""
    print(f"\n{seeds} spaces of two-level changes, {ROWS} rows, {CALLS} calls: what of a pick is taken back, in %")
    print(f"{'changes':<26}{'dead ones alter':>17}{'dead':>8}{'+3 points':>11}{'gain lost':>11}{'by fewer calls':>16}")
    for name, gains in SPACES.items():
        for dead_alter in (False, True):
            dead, three, lost, fewer = _taken_back(gains, seeds, dead_alter)
            altered = "answers" if dead_alter else "nothing"
            print(f"{name:<26}{altered:>17}{dead:8.0f}{three:11.0f}{lost:11.1f}{fewer:16.1f}")
            yield at_most(f"+3 points taken back, {name}, %", most=40, measured=three)
            if name == FEW and not dead_alter:
                yield at_least(f"dead changes taken back, {name}, %", least=60, measured=dead)
            yield at_most(f"points lost by taking back, {name}", most=1.5, measured=lost, digits=2)


def minimal(seeds: int) -> bool:
    """Measure; print the bounds and whether they are held, and return whether all are."""
    bounds = list(eliminations(seeds))
    print()
    for bound in bounds:
        print(bound.line())
    return all(bound.held for bound in bounds)


def _taken_back(gains: Sequence[float], seeds: int, dead_alter: bool) -> tuple[float, float, float, float]:
    """Return the shares of dead changes and of those of 3 points that went, and the points lost to that and calls."""
    before, after = np.zeros(2), np.zeros(2)
    lost = fewer = 0.0
    for seed in range(seeds):
        model = Changes(np.random.default_rng(seed).permutation(gains), seed, dead_alter)
        searched = search(model, search_calls(CALLS, 1, 1))
        left = eliminated(model, searched, CALLS - searched.calls)
        for counts, candidate in ((before, searched.pick), (after, left)):
            has = model.has(candidate)
            counts += [(has & (model.gains == 0)).sum(), (has & (model.gains == 0.03)).sum()]
        lost += model.truth(searched.pick) - model.truth(left)
        fewer += model.truth(search(model, CALLS).pick) - model.truth(searched.pick)
    shares = 100 * (1 - after / before)
    return float(shares[0]), float(shares[1]), 100 * lost / seeds, 100 * fewer / seeds
