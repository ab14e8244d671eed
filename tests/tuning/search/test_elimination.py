"""Backward elimination: changes that bring nothing go, several at a time; real ones stay."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from promptkit.tuning.search.contributions import Contributions, paired_lead
from promptkit.tuning.search.elimination import CLEAR_LOSS, GROUP_LOSS, LEAST_PAIRS, WORTH, Elimination, WithoutGroup
from tests.tuning.simulated import answers

SD = 0.03


def contributions(means: Mapping[str, float], sd: float = SD) -> Contributions:
    return Contributions(tuple(means), np.array(list(means.values())), np.eye(len(means)) * sd**2)


def without(lead: float, variance: float, *, pairs: int = LEAST_PAIRS, **more: bool) -> WithoutGroup:
    return WithoutGroup(lead=lead, variance=variance, pairs=pairs, **more)


def test_those_that_are_expected_to_bring_least_are_tested_together() -> None:
    known = contributions({"much": 0.2, "little": 0.015, "nothing": 0.0, "less": -0.01})

    assert Elimination(known, known.names).ask() == ("less", "nothing", "little")


def test_a_group_is_not_expected_to_lose_more_than_its_limit() -> None:
    known = contributions({"a": 0.025, "b": 0.025, "c": 0.025})
    group = Elimination(known, known.names).ask()

    assert group == ("a", "b")
    assert known.of(group)[0] <= GROUP_LOSS < known.of(["a", "b", "c"])[0]


def test_what_clearly_brings_something_is_not_tested() -> None:
    known = contributions({"clear": WORTH + 1.3 * SD, "likely": WORTH + 1.25 * SD})

    assert Elimination(known, known.names).ask() == ("likely",)


def test_what_may_not_be_removed_is_not_tested() -> None:
    known = contributions({"a": 0.0, "b": 0.0})

    assert Elimination(known, ["b"]).ask() == ("b",)


def test_a_group_without_which_nothing_is_lost_stays_out() -> None:
    known = contributions({"a": 0.0, "b": 0.005, "c": 0.3})
    elimination = Elimination(known, known.names)

    assert elimination.tell(("a", "b"), without(0.0, 0.0005))
    assert (elimination.taken_back, elimination.ask()) == (["a", "b"], ())


def test_the_limit_is_a_point() -> None:
    for lead, stays_out in ((WORTH - 0.001, True), (WORTH + 0.001, False)):
        elimination = Elimination(contributions({"a": 0.01}), ["a"])
        assert elimination.tell(("a",), without(lead, 1e-9)) is stays_out


def test_the_limit_is_five_points_for_what_a_person_prefers_to_do_without() -> None:
    for lead, stays_out in ((CLEAR_LOSS - 0.001, True), (CLEAR_LOSS + 0.001, False)):
        elimination = Elimination(contributions({"a": 0.01}), ["a"])
        assert elimination.tell(("a",), without(lead, 1e-9, is_preferred=True)) is stays_out


def test_a_change_without_which_all_answers_are_the_same_stays_out_whatever_was_expected() -> None:
    for is_same in (True, False):
        elimination = Elimination(contributions({"a": 0.04}), ["a"])
        assert elimination.tell(elimination.ask(), without(0.0, 0.001, is_same=is_same)) is is_same


def test_a_group_that_is_needed_is_halved_and_a_single_change_is_kept() -> None:
    known = contributions({"a": 0.0, "b": 0.001, "c": 0.002, "d": 0.003})
    elimination = Elimination(known, known.names)

    assert not elimination.tell(elimination.ask(), without(0.05, 0.01))
    assert len(elimination.ask()) == 2
    assert not elimination.tell(elimination.ask(), without(0.05, 0.01))
    [single] = elimination.ask()
    assert not elimination.tell((single,), without(0.05, 0.001))
    assert single not in elimination.ask()


def test_nothing_is_taken_back_on_few_rows_or_for_a_longer_prompt() -> None:
    for pairs, is_shorter in ((LEAST_PAIRS - 1, True), (LEAST_PAIRS, False)):
        elimination = Elimination(contributions({"a": 0.0}), ["a"])
        compared = without(0.0, 0.0001, pairs=pairs, is_same=True, is_shorter=is_shorter)
        assert not elimination.tell(("a",), compared)
        assert (elimination.taken_back, elimination.ask()) == ([], ())


def test_a_group_that_clearly_brings_something_is_not_compared_on_more_rows() -> None:
    elimination = Elimination(contributions({"a": 0.0}, sd=1.0), ["a"])

    assert elimination.is_needed(("a",), without(CLEAR_LOSS + 0.001, 1e-9))
    assert not elimination.is_needed(("a",), without(CLEAR_LOSS - 0.001, 1e-9))


def test_dead_changes_go_and_changes_of_three_points_are_kept_more_often_than_not() -> None:
    kept = {"dead": 0, "three": 0, "ten": 0}
    seeds, rows = 200, 40
    gains = {"dead": 0.0, "three": 0.03, "ten": 0.1}
    for seed in range(seeds):
        chance = np.random.default_rng(seed)
        # The screen knows each contribution with an error of 3 points; what it shows as harmful is not in a winner.
        screened = {name: abs(gain + chance.normal(0, SD)) for name, gain in gains.items()}
        elimination = Elimination(contributions(screened), list(gains))
        while group := elimination.ask():
            gain = sum(gains[name] for name in group)
            pair = answers(np.array([0.75, 0.75 - gain]), rows, 0.95, chance) if gain else np.ones((2, rows))
            lead, variance, pairs = paired_lead(*pair)
            elimination.tell(group, without(lead, variance, pairs=pairs, is_same=bool((pair[0] == pair[1]).all())))
        for name in gains:
            kept[name] += name not in elimination.taken_back

    assert kept["dead"] <= 0.25 * seeds
    assert kept["three"] >= 0.6 * seeds
    assert kept["ten"] >= 0.97 * seeds
