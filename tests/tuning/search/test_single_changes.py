"""Candidates of one change each: their order, and what a race of them gains where few calls allow no screening."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from promptkit.tuning.search.race import ROWS_EACH, SMOKE_ROWS, Race
from promptkit.tuning.search.screening import draw
from promptkit.tuning.search.single_changes import single_changes
from promptkit.tuning.search_space.candidate import Candidate, Parameter, ParameterKind, distinct
from tests.tuning.array_searches import best_gains, gains
from tests.tuning.simulated import Space, anchored, axes_of, run, space

KINDS: dict[str, ParameterKind] = {
    "step.decide": "decide",
    "step.examples": "examples",
    "step.layout": "layout",
    "step.wording": "wording",
}
LEVELS = {"decide": (9, 0.25), "examples": (13, 0.25), "layout": (6, 0.15), "wording": (7, 0.07)}
MEANS = {"decide": -0.25, "examples": 0.1, "layout": -0.15, "wording": -0.05}
"""The mean effect of a choice that is not as written, in probits."""
CALLS, SPACES = 108, 40


def of_kinds(parameters: list[Parameter]) -> list[Parameter]:
    return [replace(parameter, kind=KINDS[parameter.name]) for parameter in parameters]


def careful_space(seed: int) -> Space:
    """Return a space in which examples help a little on average, and any other change of the start mostly hurts."""
    chance = np.random.default_rng([seed, 7])
    latent = np.zeros([size for size, _ in LEVELS.values()])
    for at, (name, (size, deviation)) in enumerate(LEVELS.items()):
        shape = [size if place == at else 1 for place in range(latent.ndim)]
        effects = chance.normal(MEANS[name], deviation, size)
        latent = latent + np.where(np.arange(size) == 0, 0.0, effects).reshape(shape)
    return anchored(latent[None], LEVELS, start=0.62, types=np.zeros(64, dtype=np.int64), rho=0.5, seed=seed)


def raced(model: Space, entering: list[Candidate]) -> tuple[Candidate, float]:
    """Race candidates on a space for the calls that are left after the smoke test."""
    known = [SMOKE_ROWS, *[0] * (len(entering) - 1)]
    race = Race(costs=[1] * len(entering), rows=model.rows, budget=CALLS - SMOKE_ROWS, spent=SMOKE_ROWS, known=known)
    ended = run(race, np.stack([model.scores(candidate) for candidate in entering]), known=known)
    return entering[ended.pick], ended.calls


SIZE = (CALLS - SMOKE_ROWS) // ROWS_EACH


def of_one_change(model: Space, _calls: int) -> tuple[Candidate, float]:
    return raced(model, single_changes(model.axes, SIZE, model.seed))


def of_random_changes(model: Space, _calls: int) -> tuple[Candidate, float]:
    """Race ways to decide and, for the other half, random joint configurations."""
    decide = model.axes[0]
    ways = [Candidate().with_choice(decide.name, choice) for choice in decide.choices[1:]][: SIZE // 2]
    return raced(model, distinct([Candidate(), *ways, *draw(model.axes, SIZE, model.seed)])[:SIZE])


def test_ways_to_decide_have_half_of_the_room_then_come_examples_then_the_others_by_turns() -> None:
    parameters = of_kinds(axes_of({"decide": (9, 0), "examples": (4, 0), "layout": (3, 0), "wording": (3, 0)}))
    entering = single_changes(parameters, 11, seed=0)

    assert entering[0] == Candidate()
    assert all(len(candidate.choices) == 1 for candidate in entering[1:])
    kinds = [next(iter(candidate.choices)) for candidate in entering[1:]]
    others = ["step.layout", "step.wording"]
    assert kinds == ["step.decide"] * 5 + ["step.examples"] * 3 + others
    assert entering[1:6] == [Candidate().with_choice("step.decide", choice) for choice in parameters[0].choices[1:6]]


def test_joint_configurations_fill_what_single_changes_leave() -> None:
    parameters = of_kinds(axes_of({"decide": (2, 0), "layout": (3, 0)}))
    entering = single_changes(parameters, 20, seed=0)

    counts = [len(candidate.choices) for candidate in entering]
    assert counts == [0, 1, 1, 1, 2, 2]
    assert all(one <= other for one, other in pairwise(counts))


def test_parameters_of_several_steps_are_combined_after_the_ways_to_decide() -> None:
    parameters = of_kinds(axes_of({"decide": (4, 0), "layout": (4, 0)}))
    entering = single_changes([parameters[0], replace(parameters[1], step="other")], 8, seed=0)

    assert [len(candidate.choices) for candidate in entering[:4]] == [0, 1, 1, 1]
    assert any(len(candidate.choices) == 2 for candidate in entering[4:])


def test_where_most_changes_hurt_single_ones_gain_and_random_ones_do_not() -> None:
    spaces = [careful_space(seed) for seed in range(SPACES)]
    single, random = (float(gains(search, CALLS, spaces).mean()) for search in (of_one_change, of_random_changes))

    assert best_gains(spaces).mean() > 0.2
    assert single > 0.05
    assert single > random + 0.04


def test_where_changes_help_as_often_as_they_hurt_single_ones_lose_little() -> None:
    spaces = [space(seed, start=0.62, rows=64) for seed in range(SPACES)]
    for model in spaces:
        model.axes = of_kinds(model.axes)
    single, random = (float(gains(search, CALLS, spaces).mean()) for search in (of_one_change, of_random_changes))

    assert single > random - 0.04
