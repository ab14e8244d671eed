"""Draws of demonstrations: choices of `STEP.examples` that show the same ones to all rows, balanced over labels."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from random import Random
from typing import Final

import numpy as np

from promptkit.prompts.nearest_examples import DIGITS, text_of_inputs
from promptkit.prompts.tfidf import word_vectors
from promptkit.tuning.search_space.candidate import Choice
from promptkit.tuning.search_space.demonstration import Demonstration

SIZES: Final = (2, 4, 8)
RANDOM_DRAWS: Final = 3
"""The random draws of each size, beside one that is diverse."""
FEWER_DRAWS: Final = 2
"""The random draws of each size if there are several pools."""
TRIES: Final = 8
"""The number of tries to draw a set that differs from the earlier ones."""


def example_choices(
    step: str,
    pool: Sequence[Demonstration],
    *,
    seed: int = 0,
    called: str = "",
    sizes: Sequence[int] = SIZES,
    draws: int = RANDOM_DRAWS,
    room: int | None = None,
    scored: frozenset[int] = frozenset(),
) -> tuple[Choice, ...]:
    """Return choices of `STEP.examples`: distinct draws of each size; the order is part of a draw.

    `draws` of them are random; of a pool without a name one more is `diverse`. `room`: the most characters that
    examples may have. `called` names the pool if there are several (`that it solved`). `scored` are the rows that
    candidates are scored on. A pool smaller than the smallest size is drawn whole; an empty one gives no choices.
    """
    fitting = [size for size in sizes if size <= len(pool)] or [len(pool)]
    choices: list[Choice] = []
    for size in fitting if pool else ():
        drawn = list(_distinct_draws(pool, size, draws, f"{seed}:{called}:{size}"))
        named = [(f"#{number}", demos) for number, demos in enumerate(drawn, start=1)]
        diverse = () if called else diverse_draw(pool, size, Random(f"{seed}:diverse:{size}"))
        if diverse and diverse not in drawn:
            named.append(("diverse", diverse))
        for mark, demos in named:
            if room is None or sum(demo.length for demo in demos) <= room:
                choices.append(example_choice(step, demos, mark, called, scored))
    return tuple(choices)


def example_choice(
    step: str, drawn: Sequence[Demonstration], mark: str, called: str = "", scored: frozenset[int] = frozenset()
) -> Choice:
    """Return the choice that shows these demonstrations in this order; `mark` tells it from others of its size."""
    count = f"{len(drawn)} example{'s' if len(drawn) > 1 else ''}"
    labels = [str(demo.label) for demo in drawn if demo.label is not None]
    return Choice(
        name=f"{count}{f' {called}' if called else ''} {mark}",
        changes={f"{step}.examples": [demo.example for demo in drawn]},
        about=", ".join(labels),
        rows=tuple(demo.row if demo.row in scored else None for demo in drawn),
    )


def _distinct_draws(
    pool: Sequence[Demonstration], size: int, draws: int, seed: str
) -> Iterator[tuple[Demonstration, ...]]:
    """Yield distinct draws, each ending in the next label, so that no label is favoured by standing last."""
    chance = Random(seed)
    labels = frequent_labels(pool, size)
    chance.shuffle(labels)
    seen: list[tuple[Demonstration, ...]] = []
    for number in range(draws):
        for _ in range(TRIES):
            drawn = _draw(pool, labels, size, labels[number % len(labels)], chance)
            if drawn not in seen:
                seen.append(drawn)
                yield drawn
                break


def diverse_draw(pool: Sequence[Demonstration], size: int, chance: Random) -> tuple[Demonstration, ...]:
    """Return a set that stands for the whole pool, its labels in turn, in a random order.

    Each next example is the one by which the sum over the pool of the similarity to the nearest shown one grows most
    (facility location: Nemhauser, Wolsey & Fisher 1978, Math. Program. 14:265). Similarity is that of words (TF-IDF).
    """
    vectors = np.array(word_vectors([text_of_inputs(demo.inputs) for demo in pool]))
    similar = vectors @ vectors.T
    labels = frequent_labels(pool, size)
    left, nearest, drawn = set(range(len(pool))), np.zeros(len(pool)), list[int]()
    while len(drawn) < min(size, len(pool)):
        turn = labels[len(drawn) % len(labels)]
        able = sorted(at for at in left if pool[at].label == turn) or sorted(left)
        gains = np.maximum(similar[able], nearest).sum(axis=1)
        best = able[int(np.argmax(np.round(gains, DIGITS)))]
        left.remove(best)
        drawn.append(best)
        nearest = np.maximum(nearest, similar[best])
    return _arranged([pool[at] for at in drawn], chance)


def frequent_labels(pool: Sequence[Demonstration], most: int) -> list[Hashable]:
    """Return the labels of a pool, at most `most` of them, the frequent ones first; ties in the pool's order."""
    counts: dict[Hashable, int] = {}
    for demo in pool:
        counts[demo.label] = counts.get(demo.label, 0) + 1
    return sorted(counts, key=lambda label: -counts[label])[:most]


def _draw(
    pool: Sequence[Demonstration], labels: Sequence[Hashable], size: int, last: Hashable, chance: Random
) -> tuple[Demonstration, ...]:
    """Return a set with each label equally often, give or take one, as far as the pool allows.

    It ends in `last`, after another label if there is one: models favour the majority and the recent label (Zhao et al.
    2021, ICML).
    """
    groups = {label: [demo for demo in pool if demo.label == label] for label in labels}
    for group in groups.values():
        chance.shuffle(group)
    others = [label for label in labels if label != last]
    chance.shuffle(others)
    turns = (groups[label][turn : turn + 1] for turn in range(size) for label in (last, *others))
    return _arranged([demo for turn in turns for demo in turn][:size], chance)


def _arranged(drawn: Sequence[Demonstration], chance: Random) -> tuple[Demonstration, ...]:
    """Return a set in a random order that ends in its first member, after one of another label if there is one."""
    ending, *others = drawn
    chance.shuffle(others)
    before = next((at for at, demo in enumerate(others) if demo.label != ending.label), None)
    if before is not None:
        others.append(others.pop(before))
    return (*others, ending)
