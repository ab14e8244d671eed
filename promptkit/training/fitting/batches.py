"""Batches of examples in few shapes, since each shape is compiled anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptkit.training.step_requests import TrainingExample
from promptkit.training.transformer.architectures import TransformerConfig

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
    """The sizes of a batch: tokens of a text, tokens of its reply, and tokens that are `allowed` in place of each.

    Of packed texts `length` counts the tokens after the beginning that all share.
    """

    length: int
    replies: int
    allowed: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The shapes of batches of `size` examples, and the tokens with which all of them begin.

    Where there is such a beginning, a batch is one row: the beginning once, then what follows it in each example.
    """

    size: int
    beginning: tuple[int, ...]
    shapes: tuple[Shape, ...]

    def tokens(self, shape: Shape) -> tuple[int, int]:
        """Return the rows and the length of a batch."""
        if not self.beginning:
            return self.size, shape.length
        return 1, len(self.beginning) + self.size * shape.length


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded at their right, in rows: one for each, or one for all of them.

    `tokens` [rows, length] with `positions` and `texts` [length] as in `Packing`. `places` [rows, places a row] are
    where a token of a reply is predicted, `targets` [size, replies] that token, `weights` [size, replies] 1 for it
    and 0 for padding, and `allowed` [size, replies, allowed] the tokens that a closed set allows there, the target in
    place of none. `examples` are the examples' places in order; what follows them is padding.
    """

    tokens: Ints
    positions: Ints
    texts: Ints
    places: Ints
    targets: Ints
    weights: Floats
    allowed: Ints
    examples: tuple[int, ...]


class Batches:
    """Examples in batches. Each example is in the smallest shape that holds it."""

    def __init__(self, examples: Sequence[TrainingExample], layout: Layout) -> None:
        self.examples = examples
        self.layout = layout
        self._of_shape: list[tuple[Shape, list[int]]] = []
        before = 0
        for shape in layout.shapes:
            places = [at for at in range(len(examples)) if before < self.length(at) <= shape.length]
            if places:
                self._of_shape.append((shape, places))
            before = shape.length

    def __len__(self) -> int:
        """The number of batches in one pass over the examples."""
        return sum(-(-len(places) // self.layout.size) for _, places in self._of_shape)

    def length(self, at: int) -> int:
        """Return the tokens of an example after the beginning that all share."""
        return len(self.examples[at]) - len(self.layout.beginning)

    def start(self, row: int, shape: Shape) -> tuple[int, int]:
        """Return the row and column at which the tokens of a batch's example begin; `row` is its place."""
        beginning = len(self.layout.beginning)
        return (0, beginning + row * shape.length) if beginning else (row, 0)

    def all(self) -> Iterator[tuple[Shape, Batch]]:
        """Yield all examples in their order."""
        size = self.layout.size
        for shape, places in self._of_shape:
            for start in range(0, len(places), size):
                yield shape, self._batch(shape, places[start : start + size])

    def shuffled(self, seed: int, epoch: int, at: int) -> tuple[Shape, Batch]:
        """Return the batch in the place `at` of a pass over the examples, whose order seed and epoch decide."""
        random, size = np.random.default_rng([seed, epoch]), self.layout.size
        found: list[tuple[Shape, list[int]]] = []
        for shape, places in self._of_shape:
            order = [places[at] for at in random.permutation(len(places))]
            found += [(shape, order[start : start + size]) for start in range(0, len(order), size)]
        shape, chosen = found[random.permutation(len(found))[at]]
        return shape, self._batch(shape, chosen)

    def _batch(self, shape: Shape, chosen: Sequence[int]) -> Batch:
        size, beginning = self.layout.size, self.layout.beginning
        tokens = np.zeros(self.layout.tokens(shape), np.int32)
        tokens[:, : len(beginning)] = beginning
        places = np.zeros((size, shape.replies), np.int32)
        targets = np.zeros((size, shape.replies), np.int32)
        weights = np.zeros((size, shape.replies), np.float32)
        allowed = np.zeros((size, shape.replies, shape.allowed), np.int32)
        for number, at in enumerate(chosen):
            example, (row, column) = self.examples[at], self.start(number, shape)
            after = (*example.prompt, *example.reply)[len(beginning) :]
            tokens[row, column : column + len(after)] = after
            replied = len(example.reply)
            places[number, :replied] = column + len(after) - replied - 1 + np.arange(replied)
            targets[number, :replied] = example.reply
            weights[number, :replied] = 1
            allowed[number] = targets[number][:, None]
            for place, among in enumerate(example.allowed):
                allowed[number, place, : len(among)] = among
        positions, texts = self._packing(shape, tokens.shape[1])
        return Batch(
            tokens, positions, texts, places.reshape(len(tokens), -1), targets, weights, allowed, tuple(chosen)
        )

    def _packing(self, shape: Shape, length: int) -> tuple[Ints, Ints]:
        beginning = len(self.layout.beginning)
        after = np.arange(length - beginning)
        positions = np.concatenate([np.arange(beginning), beginning + after % shape.length])
        texts = np.concatenate([np.zeros(beginning, np.int64), 1 + after // shape.length])
        return positions.astype(np.int32), texts.astype(np.int32)


def choose_layout(examples: Sequence[TrainingExample], config: TransformerConfig, *, size: int, epochs: int) -> Layout:
    """Return the layout of batches that costs the least computing.

    To compute a shared beginning once, a batch must be one row, in which attention costs more.
    """
    beginning = _shared_beginning(examples)
    rest = float(np.mean([len(example) for example in examples])) - len(beginning)
    numbers = sum(out * into for out, into in config.matrix_shapes.values())

    def cost(rows: int, length: float) -> float:
        return rows * length * (numbers + 2 * length * config.heads * config.head_size)

    packs = cost(1, len(beginning) + size * rest) < cost(size, len(beginning) + rest)
    beginning = beginning if packs else ()
    return Layout(size, beginning, choose_shapes(examples, len(beginning), size, epochs))


def _shared_beginning(examples: Sequence[TrainingExample]) -> tuple[int, ...]:
    """Return the tokens that all prompts begin with; each has at least one more, after which its reply is predicted."""
    shared = examples[0].prompt[: min(len(example.prompt) for example in examples) - 1]
    for example in examples:
        same = next((at for at, (a, b) in enumerate(zip(shared, example.prompt, strict=False)) if a != b), len(shared))
        shared = shared[:same]
    return shared


def choose_shapes(examples: Sequence[TrainingExample], beginning: int, size: int, epochs: int) -> tuple[Shape, ...]:
    """Return the shapes for examples without their beginning: those that cost the least padding and compilation.

    A shape costs as many tokens as COMPILATION_STEPS batches of the mean length, padding its tokens in each epoch.
    """
    lengths = np.sort(np.array([len(example) - beginning for example in examples]))
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
    borders = (0, *(int(ends[at]) for at in best[1]))
    return tuple(_shape(examples, beginning, before, end) for before, end in pairwise(borders))


def _shape(examples: Sequence[TrainingExample], beginning: int, before: int, end: int) -> Shape:
    inside = [example for example in examples if before < len(example) - beginning <= end]
    sizes = [len(among) for example in inside for among in example.allowed]
    return Shape(end, max(len(example.reply) for example in inside), max(sizes, default=0))
