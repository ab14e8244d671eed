"""Race, verdict and search decide through the whole stack what they decide over arrays of the same truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tuning.array_searches import screened_and_raced
from tests.tuning.simulated import space
from tests.tuning.stack import KINDS, Planted, over_arrays, planted, through_stack
from tests.tuning.stack_space import searched_through_stack, space_axes

SEEDS = (1, 4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_race_and_its_verdict_are_those_over_arrays(kind: str, seed: int, tmp_path: Path) -> None:
    race = planted(kind, seed)
    ran = await through_stack(race, tmp_path / "project")

    assert ran.decided == over_arrays(race, tmp_path / "arrays")
    assert ran.searching == ran.decided.calls <= race.calls


async def test_a_pick_that_is_far_better_is_improved_in_both(tmp_path: Path) -> None:
    race = Planted(truth=[0.5, 0.5, 0.9, 0.5], rows=100, calls=80, seed=0)
    ran = await through_stack(race, tmp_path / "project")

    assert (ran.decided.pick, ran.decided.verdict) == (2, "improved")
    assert ran.decided == over_arrays(race, tmp_path / "arrays")


async def test_a_pick_that_is_refused_on_too_many_confirm_rows_is_not_shown_in_both(tmp_path: Path) -> None:
    race = Planted(truth=[0.3, 0.99], rows=100, calls=60, seed=0, refused={1: 0.15})
    ran = await through_stack(race, tmp_path / "project")

    assert (ran.decided.pick, ran.decided.verdict) == (1, "not shown")
    assert ran.decided.said[1] > 0
    assert ran.decided == over_arrays(race, tmp_path / "arrays")


async def test_a_block_that_the_budget_does_not_hold_is_left_out_in_both(tmp_path: Path) -> None:
    race = planted("many are asked again", 4, candidates=16)
    ran = await through_stack(race, tmp_path / "project")

    assert (ran.decided.ended, ran.decided.calls) == (None, race.calls)
    assert ran.decided == over_arrays(race, tmp_path / "arrays")


async def test_a_race_made_again_asks_nothing_and_decides_the_same(tmp_path: Path) -> None:
    race = planted("some ask twice", 1)
    first = await through_stack(race, tmp_path)
    again = await through_stack(race, tmp_path)

    assert again.requests == []
    assert again.decided == first.decided


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_search_of_a_space_is_that_over_arrays(seed: int, tmp_path: Path) -> None:
    model = replace(space(seed, start=0.62), axes=space_axes())
    pick, calls, asked = await searched_through_stack(model, 300, tmp_path)

    assert (pick, calls) == screened_and_raced(model, 300)
    assert asked == calls <= 300
