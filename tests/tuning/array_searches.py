"""Searches of a simulated space over arrays of answers: a tuning's own, and those that it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from promptkit.tuning.prior.effect_prior import EffectPrior
from promptkit.tuning.search.effects import main_effects
from promptkit.tuning.search.race import ROWS_EACH, SMOKE_ROWS, Race
from promptkit.tuning.search.screening import (
    LEAST_BUDGET,
    Screen,
    draw,
    draw_likely,
    finalists,
    first_part,
    screen_rows,
    screen_size,
)
from promptkit.tuning.search.search import START_SHARE
from promptkit.tuning.search.single_changes import single_changes
from promptkit.tuning.search_space.candidate import Candidate
from tests.tuning.simulated import Floats, Space, run

Search = Callable[[Space, int], tuple[Candidate, float]]
"""Searches a space within a number of calls; returns the pick and the calls."""


@dataclass(frozen=True)
class Searched:
    """A search of a space: its pick, the calls that it took, and the rows that each candidate saw, by its key."""

    pick: Candidate
    calls: float
    rows: Mapping[str, tuple[Candidate, int]]


def search_space(model: Space, calls: int, prior: EffectPrior | None = None) -> Searched:
    """Search a space as a tuning does: the start alone, a screen of half of the calls, the race of its finalists."""
    smoke = min(SMOKE_ROWS, model.rows)
    left = calls - smoke
    if left < LEAST_BUDGET:
        return _raced(model, calls, smoke, single_changes(model.axes, left // ROWS_EACH, model.seed, prior), {})
    size = screen_size(left)
    first = first_part(size)
    drawn = draw(model.axes, first, model.seed, prior)
    rows = screen_rows(left * first // size, [1] * len(drawn), model.rows)
    if first < size:
        means = _means(model, drawn, rows)
        likely = draw_likely(drawn, means, rows, model.axes, size=size - first, seed=model.seed, prior=prior)
        drawn += likely[: left // 2 // rows - len(drawn)]
    means = _means(model, drawn, rows)
    effects = main_effects(drawn, means, [rows] * len(means), model.axes, prior=prior)
    entering = finalists(Screen(effects, list(zip(drawn, means, strict=True))))
    return _raced(model, calls, smoke, entering, {candidate.key: (candidate, rows) for candidate in drawn})


def _raced(
    model: Space, calls: int, smoke: int, entering: Sequence[Candidate], screened: Mapping[str, tuple[Candidate, int]]
) -> Searched:
    """Race the entering candidates, the start first, for the calls that the smoke test and the screen have left."""
    start = Candidate()
    asked = {start.key: (start, smoke)} | dict(screened)
    asked[start.key] = start, max(smoke, asked[start.key][1])
    known = [asked[candidate.key][1] if candidate.key in asked else 0 for candidate in entering]
    spent: float = sum(rows for _, rows in asked.values())
    race = Race(costs=[1] * len(entering), rows=model.rows, budget=calls - spent, spent=spent, known=known)
    raced = run(race, _scores(model, entering), known=known)
    for candidate, entry, seen in zip(entering, race.entries, known, strict=True):
        asked[candidate.key] = candidate, max(entry.rows, seen)
    spent += raced.calls
    behind = race.entries[raced.pick].rows - asked[start.key][1]
    if 0 < behind <= min(calls - spent, START_SHARE * calls):
        spent += behind  # The start catches up.
        asked[start.key] = start, race.entries[raced.pick].rows
    return Searched(entering[raced.pick], spent, asked)


def screened_and_raced(model: Space, calls: int) -> tuple[Candidate, float]:
    """Search a space as a tuning does; return the pick and the calls."""
    found = search_space(model, calls)
    return found.pick, found.calls


def one_axis_at_a_time(model: Space, calls: int) -> tuple[Candidate, float]:
    """Search a space as many do: a race of one axis' levels after the other, the best so far kept."""
    best, spent = Candidate(), 0.0
    for parameter in model.axes:
        field = [best.with_choice(parameter.name, choice) for choice in parameter.choices]
        share = len(parameter.choices) / sum(len(parameter.choices) for parameter in model.axes)
        raced = run(Race(costs=[1] * len(field), rows=model.rows, budget=int(calls * share)), _scores(model, field))
        best, spent = field[raced.pick], spent + raced.calls
    return best, spent


def halving(model: Space, calls: int) -> tuple[Candidate, float]:
    """Race random configurations: successive halving alone."""
    field = draw(model.axes, max(2, calls // ROWS_EACH), model.seed)
    raced = run(Race(costs=[1] * len(field), rows=model.rows, budget=calls), _scores(model, field))
    return field[raced.pick], raced.calls


def greedy(model: Space, calls: int) -> tuple[Candidate, float]:
    """Take the best level of one axis after the other, all levels on equal rows, as a careful person does."""
    best, spent = Candidate(), 0.0
    rows = min(model.rows, calls // sum(len(parameter.choices) for parameter in model.axes))
    for parameter in model.axes:
        field = [best.with_choice(parameter.name, choice) for choice in parameter.choices]
        best, spent = field[int(np.argmax(_means(model, field, rows)))], spent + rows * len(field)
    return best, spent


def random_draws(model: Space, calls: int) -> tuple[Candidate, float]:
    """Take the best of random configurations, all on equal rows."""
    field = draw(model.axes, max(2, calls // ROWS_EACH), model.seed)
    rows = min(model.rows, calls // len(field))
    return field[int(np.argmax(_means(model, field, rows)))], rows * len(field)


RIVALS: Final[Mapping[str, Search]] = {"halving": halving, "greedy": greedy, "random": random_draws}


def gains(search: Search, calls: int, spaces: Sequence[Space]) -> Floats:
    """Return the true gain over the start that a search ends with on each space, (spaces,)."""
    starts = [float(model.truth[model.place(Candidate())]) for model in spaces]
    ends = [float(model.truth[model.place(search(model, calls)[0])]) for model in spaces]
    return np.asarray(np.subtract(ends, starts), dtype=np.float64)


def best_gains(spaces: Sequence[Space]) -> Floats:
    """Return the largest gain over the start that there is on each space, (spaces,)."""
    best = [float(model.truth.max() - model.truth[model.place(Candidate())]) for model in spaces]
    return np.array(best, dtype=np.float64)


def _scores(model: Space, candidates: Sequence[Candidate]) -> Floats:
    return np.stack([model.scores(candidate) for candidate in candidates])


def _means(model: Space, candidates: Sequence[Candidate], rows: int) -> list[float]:
    return [float(model.scores(candidate)[:rows].mean()) for candidate in candidates]
