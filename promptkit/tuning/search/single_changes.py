"""Candidates of one change each: those that a race without screening begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from random import Random

from promptkit.tuning.prior.effect_prior import EffectPrior
from promptkit.tuning.search.effects import main_effects
from promptkit.tuning.search.screening import Screen, draw, finalists
from promptkit.tuning.search_space.candidate import Candidate, Parameter, distinct


def single_changes(
    parameters: Sequence[Parameter], size: int, seed: int, prior: EffectPrior | None = None
) -> list[Candidate]:
    """Return the start, candidates with one change each, and random joint ones if there is room: at most `size`.

    The changes are ways to decide, for half of the room, then examples, then the others by turns. Of several random
    changes one is likely to hurt, and a few rows tell only large effects apart. With parameters of several steps, which
    were tuned alone and may pay only together, random joint ones follow the ways to decide. With a prior, an eighth of
    the candidates, and at least one, are those that it expects most of: a wrong prior loses little.
    """
    chance = Random(seed)
    groups: dict[str, list[list[Candidate]]] = {"decide": [], "examples": [], "others": []}
    for parameter in parameters:
        single = [Candidate().with_choice(parameter.name, choice) for choice in parameter.choices[1:]]
        if parameter.kind != "decide":  # Ways to decide are in the order of their likely gain.
            chance.shuffle(single)
        groups[parameter.kind if parameter.kind in groups else "others"].append(single)
    ways, examples, others = (list(_by_turns(singles)) for singles in groups.values())
    joint = draw(parameters, 2 * size, seed, prior)[1:]
    is_one_step = len({parameter.step for parameter in parameters}) < 2
    rest = [*examples, *others, *joint] if is_one_step else joint
    likely = [Candidate()]
    if prior is not None:
        likely = finalists(Screen(main_effects((), (), (), parameters, prior=prior), ()))[: 1 + max(1, size // 8)]
    return distinct([*likely, *ways[: size // 2], *rest])[:size]


def _by_turns(groups: Sequence[Sequence[Candidate]]) -> Iterator[Candidate]:
    """Yield the first of each group, then the second of each, and so on."""
    for turn in zip_longest(*groups):
        yield from (candidate for candidate in turn if candidate is not None)
