"""Which demonstrations help, as far as the draws of a screen tell, and the draw of the best ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np

from promptkit.tuning.search.demonstration_effects import BEST, best_demonstrations, demonstration_effects
from promptkit.tuning.search.effects import Effects, main_effects
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Candidate, Choice, Parameter

LAYOUT = Parameter(
    name="mood.layout",
    step="mood",
    kind="layout",
    choices=(Choice(AS_WRITTEN), Choice("markdown", {"mood.layout": "markdown"})),
)
ROWS = 8


def draw(number: int, members: Sequence[int]) -> Choice:
    """Return a draw of demonstrations by number; the even ones are good, and the first ten are scored rows."""
    examples = [{"input": {"text": f"row {at}"}, "output": "good" if at % 2 == 0 else "bad"} for at in members]
    rows = tuple(at if at < 10 else None for at in members)
    return Choice(f"{len(members)} examples #{number}", {"mood.examples": examples}, rows=rows)


def screened(draws: Sequence[Choice], helping: Sequence[int]) -> tuple[Effects, list[tuple[Candidate, float]]]:
    """Return a screen in which each of some demonstrations adds 40 points by its share of a draw, markdown 10."""
    parameter = Parameter(
        name="mood.examples", step="mood", kind="examples", choices=(Choice(AS_WRITTEN), *draws, Choice("2 nearest"))
    )
    seen = []
    for layout in LAYOUT.choices:
        for choice in parameter.choices[:-1]:
            members = [int(example["input"]["text"].split()[1]) for example in choice.changes.get("mood.examples", ())]
            share = sum(at in helping for at in members) / max(1, len(members))
            score = 0.4 + 0.4 * share + 0.1 * bool(layout.changes)
            seen.append((Candidate().with_choice("mood.examples", choice).with_choice("mood.layout", layout), score))
    effects = main_effects(
        [each for each, _ in seen], [score for _, score in seen], [ROWS] * len(seen), [parameter, LAYOUT]
    )
    return effects, seen


def draws_of(size: int, count: int) -> list[Choice]:
    chance = Random(5)
    return [draw(number, chance.sample(range(16), size)) for number in range(count)]


def test_a_demonstration_that_helps_has_the_largest_effect() -> None:
    effects, seen = screened(draws_of(4, 12), helping=[3, 12])
    found = demonstration_effects(effects.parameters[0], effects, seen)

    best = sorted(found, key=lambda key: -found[key])[:2]
    assert {key for key in found if '"row 3"' in key or '"row 12"' in key} == set(best)
    assert all(0 < found[key] < 0.5 for key in best)


def test_the_best_ones_are_a_draw_balanced_over_labels_with_the_best_choices_of_the_others() -> None:
    effects, seen = screened(draws_of(4, 12), helping=[3, 12])
    (candidate,) = best_demonstrations(effects, seen)

    choice = candidate.choices["mood.examples"]
    texts = [example["input"]["text"] for example in choice.changes["mood.examples"]]
    assert choice.name == f"4 examples, {BEST}"
    assert {"row 3", "row 12"} == set(texts[-2:]), "the best ones are the last"
    assert [example["output"] for example in choice.changes["mood.examples"]].count("good") == 2
    assert candidate.choices["mood.layout"].name == "markdown"
    assert 3 in candidate.shows and 12 not in candidate.shows


def test_without_draws_or_where_the_best_ones_are_one_there_is_none() -> None:
    assert best_demonstrations(*screened([draw(1, [0, 1])], helping=[0])) == []
    assert best_demonstrations(*screened([draw(1, [0, 1]), draw(2, [2, 3])], helping=[0, 1])) == []


def test_a_configuration_without_a_score_tells_nothing() -> None:
    effects, seen = screened(draws_of(2, 4), helping=[])
    missing = [(candidate, np.nan) for candidate, _ in seen]

    assert demonstration_effects(effects.parameters[0], effects, missing) == {}


def test_demonstrations_with_thoughts_and_without_are_not_mixed() -> None:
    draws = draws_of(4, 12)
    thinking = [
        replace(
            choice,
            name=f"{choice.name} that it solved",
            changes={"mood.examples": [{**each, "thoughts": "So."} for each in choice.changes["mood.examples"]]},
        )
        for choice in draws_of(4, 6)
    ]
    (candidate,) = best_demonstrations(*screened([*draws, *thinking], helping=[3, 12]))

    shown = candidate.choices["mood.examples"].changes["mood.examples"]
    assert len({"thoughts" in example for example in shown}) == 1
