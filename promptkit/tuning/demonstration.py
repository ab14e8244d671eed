"""Demonstrations and the sets that are drawn of them: balanced over labels, each draw in an order of its own."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers import AnswerType
from promptkit.tuning.candidate import Level

if TYPE_CHECKING:
    from promptkit.engine import Step
    from promptkit.runtimes import Model

SIZES: Final = (2, 4, 8)
DRAWS: Final = 4
TRIES: Final = 8
"""How often a set is drawn that was drawn before, until it is left out."""
USUAL_CONTEXT: Final = 4_096
"""The window in tokens of a model that names none."""
CONTEXT_SHARE: Final = 1 / 3
CHARACTERS_A_TOKEN: Final = 3
"""Of plain text a token has about four; fewer are counted, so that what is said to fit does."""


Made = Mapping[str, Mapping[str, Sequence["Demonstration"]]]
"""Demonstrations that a model made, by step and by what tells the pools apart."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A row shown with its answer: the inputs of the step's prompt and the output as data.

    `label` is the class that draws are balanced over, None where answers are none. `row` is its place in the ground's
    rows.
    """

    inputs: Mapping[str, Any]
    output: Any
    thoughts: str | None = None
    label: Hashable = None
    row: int = 0

    @property
    def example(self) -> dict[str, Any]:
        """What stands for it in a step's `examples:`."""
        thoughts = {} if self.thoughts is None else {"thoughts": self.thoughts}
        return {"input": dict(self.inputs), **thoughts, "output": self.output}

    @property
    def length(self) -> int:
        """About how many characters a prompt is longer with it."""
        return len(json.dumps(self.example, ensure_ascii=False, default=str))


def label_of(step: Step, output: Any) -> str | bool | None:
    """Return the class of an answer that demonstrations are balanced over; None where answers, or those of a row, are
    none."""
    answer = step.asking.answer if step.asking else None
    is_class = isinstance(answer, AnswerType) and answer.alternatives() and isinstance(output, str | bool)
    return output if is_class else None


def room_for_examples(step: Step, model: Model) -> int:
    """Return how many characters of examples fit a third of the context that a step is asked in."""
    asked = step.asking.options.context if step.asking else None
    return int((asked or model.context or USUAL_CONTEXT) * CONTEXT_SHARE * CHARACTERS_A_TOKEN)


def example_levels(
    step: str,
    pool: Sequence[Demonstration],
    *,
    seed: int = 0,
    called: str = "",
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    room: int | None = None,
) -> tuple[Level, ...]:
    """Return levels of `STEP.examples`: for each size so many draws, distinct; the order is part of the draw.

    `room` is how many characters the examples may have. `called` tells levels of several pools apart (`that it
    solved`). A pool smaller than the smallest size is one size; of an empty one there are no levels.
    """
    fitting = [size for size in sizes if size <= len(pool)] or [len(pool)]
    levels: list[Level] = []
    for size in fitting if pool else ():
        for number, drawn in enumerate(_distinct_draws(pool, size, draws, f"{seed}:{called}:{size}"), start=1):
            if room is None or sum(each.length for each in drawn) <= room:
                levels.append(_level(step, drawn, number, called))
    return tuple(levels)


def _level(step: str, drawn: Sequence[Demonstration], number: int, called: str) -> Level:
    count = f"{len(drawn)} example{'s' if len(drawn) > 1 else ''}"
    labels = [str(each.label) for each in drawn if each.label is not None]
    return Level(
        name=f"{count}{f' {called}' if called else ''} #{number}",
        changes={f"{step}.examples": [each.example for each in drawn]},
        about=", ".join(labels),
    )


def _distinct_draws(
    pool: Sequence[Demonstration], size: int, draws: int, seed: str
) -> Iterator[tuple[Demonstration, ...]]:
    """Yield so many draws as differ, each ending in the next label, so that none is favoured by standing last."""
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


def frequent_labels(pool: Sequence[Demonstration], most: int) -> list[Hashable]:
    """Return the labels of a pool, the frequent ones where there are more than `most`; ties in the pool's order."""
    counts: dict[Hashable, int] = {}
    for each in pool:
        counts[each.label] = counts.get(each.label, 0) + 1
    return sorted(counts, key=lambda label: -counts[label])[:most]


def _draw(
    pool: Sequence[Demonstration], labels: Sequence[Hashable], size: int, last: Hashable, chance: Random
) -> tuple[Demonstration, ...]:
    """Return a set with each label as often as the others, give or take one, as far as there are enough.

    It ends in `last`, after another label where there is one: models favour the majority and the recent label (Zhao et
    al. 2021, ICML).
    """
    groups = {label: [each for each in pool if each.label == label] for label in labels}
    for group in groups.values():
        chance.shuffle(group)
    others = [label for label in labels if label != last]
    chance.shuffle(others)
    turns = (groups[label][turn : turn + 1] for turn in range(size) for label in (last, *others))
    drawn = [each for turn in turns for each in turn][:size]
    ending = drawn.pop(0)
    chance.shuffle(drawn)
    before = next((at for at, each in enumerate(drawn) if each.label != last), None)
    if before is not None:
        drawn.append(drawn.pop(before))
    return (*drawn, ending)
