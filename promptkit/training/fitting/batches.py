"""Batches of examples in few shapes, since each shape is compiled anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptkit.training.step_requests import TrainingExample

MOST_SHAPES: Final = 4
MOST_ENDS: Final = 100
"""Lengths at which a shape may end."""
COMPILATION_STEPS: Final = 10
"""The steps of training that compiling one more shape costs, measured on SmolLM2-135M."""

_Plan = tuple[float, tuple[int, ...]]
Ints = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a batch: tokens of a row, tokens of its reply, and tokens that are `allowed` in place of each."""

    length: int
    replies: int
    allowed: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded at their right.

    `tokens` [rows, length]; `places` and `targets` [rows, replies] are where a token of the reply is predicted and that
    token; `weights` [rows, replies] are 1 for tokens of replies and 0 for padding; `allowed` [rows, replies, allowed]
    are the tokens that a closed set allows there, the target in place of none. `examples` are the examples' places, in
    the order of the rows; rows after them are padding.
    """

    tokens: Ints
    places: Ints
    targets: Ints
    weights: Floats
    allowed: Ints
    examples: tuple[int, ...]


class Batches:
    """Examples in batches of `size` rows. Each example is in the smallest shape that holds it."""

    def __init__(self, examples: Sequence[TrainingExample], shapes: Sequence[Shape], size: int) -> None:
        self.examples = examples
        self.size = size
        self._of_shape: list[tuple[Shape, list[int]]] = []
        before = 0
        for shape in shapes:
            places = [at for at, example in enumerate(examples) if before < len(example) <= shape.length]
            if places:
                self._of_shape.append((shape, places))
            before = shape.length

    def __len__(self) -> int:
        """The number of batches in one pass over the examples."""
        return sum(-(-len(places) // self.size) for _, places in self._of_shape)

    def all(self) -> Iterator[Batch]:
        """Yield all examples in their order."""
        for shape, places in self._of_shape:
            for start in range(0, len(places), self.size):
                yield self._batch(shape, places[start : start + self.size])

    def shuffled(self, seed: int, epoch: int) -> list[tuple[Shape, list[int]]]:
        """Return one pass over the examples in an order that seed and epoch decide, for `batch`."""
        random = np.random.default_rng([seed, epoch])
        found: list[tuple[Shape, list[int]]] = []
        for shape, places in self._of_shape:
            order = [places[at] for at in random.permutation(len(places))]
            found += [(shape, order[start : start + self.size]) for start in range(0, len(order), self.size)]
        return [found[at] for at in random.permutation(len(found))]

    def batch(self, chosen: tuple[Shape, list[int]]) -> Batch:
        """Return the batch of examples that `shuffled` has chosen."""
        return self._batch(*chosen)

    def _batch(self, shape: Shape, chosen: Sequence[int]) -> Batch:
        rows = self.size
        tokens = np.zeros((rows, shape.length), np.int32)
        places = np.zeros((rows, shape.replies), np.int32)
        targets = np.zeros((rows, shape.replies), np.int32)
        weights = np.zeros((rows, shape.replies), np.float32)
        allowed = np.zeros((rows, shape.replies, shape.allowed), np.int32)
        for row, at in enumerate(chosen):
            example = self.examples[at]
            before, after = len(example.prompt), len(example.reply)
            tokens[row, : before + after] = (*example.prompt, *example.reply)
            places[row, :after] = np.arange(before - 1, before + after - 1)
            targets[row, :after] = example.reply
            weights[row, :after] = 1
            allowed[row] = targets[row][:, None]
            for place, among in enumerate(example.allowed):
                allowed[row, place, : len(among)] = among
        return Batch(tokens, places, targets, weights, allowed, tuple(chosen))


def choose_shapes(examples: Sequence[TrainingExample], size: int, epochs: int) -> tuple[Shape, ...]:
    """Return the shapes for examples, at most MOST_SHAPES: those that cost the least padding and compilation.

    A shape costs as many tokens as COMPILATION_STEPS batches of the mean length, padding its tokens in each epoch.
    """
    lengths = np.sort(np.array([len(example) for example in examples]))
    ends = np.unique(np.quantile(lengths, np.linspace(0, 1, MOST_ENDS), method="higher"))
    counts = np.searchsorted(lengths, ends, side="right")
    compilation = COMPILATION_STEPS * size * float(lengths.mean())
    padded = [compilation + epochs * float(end * count) for end, count in zip(ends, counts, strict=True)]
    # By the number of shapes: the least cost of the examples up to each end, and the ends of these shapes.
    plans: list[_Plan] = [(cost, (at,)) for at, cost in enumerate(padded)]
    best = plans[-1]
    for _ in range(MOST_SHAPES - 1):
        plans = [
            min(
                (plans[before][0] + padded[at] - epochs * float(ends[at] * counts[before]), (*plans[before][1], at))
                for before in range(at)
            )
            if at
            else (float("inf"), ())
            for at in range(len(ends))
        ]
        best = min(best, plans[-1])
    return tuple(_shape(examples, before, end) for before, end in pairwise((0, *(int(ends[at]) for at in best[1]))))


def _shape(examples: Sequence[TrainingExample], before: int, end: int) -> Shape:
    inside = [example for example in examples if before < len(example) <= end]
    sizes = [len(among) for example in inside for among in example.allowed]
    return Shape(end, max(len(example.reply) for example in inside), max(sizes, default=0))
