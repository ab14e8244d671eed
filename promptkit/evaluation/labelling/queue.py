"""The order in which answers are asked: at random, and where a label helps most."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels
from promptkit.evaluation.labelling.items import LabelItem
from promptkit.storage.hashes import content_key

Drawn = Literal["random", "chosen"]
SECOND_SALT = b"second"


@dataclass(frozen=True, slots=True)
class Draw:
    """An item with the way in which it was drawn."""

    item: LabelItem
    drawn: Drawn


def label_value(item: LabelItem) -> float:
    """Return the use of a label of an item, from 0 to 2: its judge is unsure, or its row's answers differ."""
    return 0.0 if item.flag else item.unsure + item.differ


class LabelQueue:
    """Draws the next answer that a person has not labelled: `random_share` of them at random, the others chosen.

    The random order and the ranking of the chosen ones are fixed beforehand by content and scores, and do not depend on
    labels. An answer that the ranking reaches counts as chosen, though it was drawn at random before. So the chosen
    ones are the top of the ranking, and those drawn at random are a simple random sample of all others.
    """

    def __init__(
        self, items: Sequence[LabelItem], labels: AnswerLabels, metric: str, person: str, *, random_share: float
    ) -> None:
        self._items = items
        self._ranked = sorted(filter(label_value, items), key=lambda item: (-label_value(item), item.order))
        self._labels = labels
        self._metric = metric
        self._person = person
        self._random_share = random_share

    def label(self, item: LabelItem) -> AnswerLabel | None:
        """Return the person's label of an item."""
        given = self._labels.of_answer(self._metric, item.key)
        return next((label for label in given if label.person == self._person), None)

    def __len__(self) -> int:
        return sum(not item.flag for item in self._items)

    def left(self) -> int:
        """Return the number of answers that the person can still label."""
        items = self._items if self._random_share else self._ranked
        return sum(self.label(item) is None for item in items if not item.flag)

    def next(self, passed: Collection[str] = ()) -> Draw | None:
        """Return the next answer, None where there is none. `passed` are keys that are not asked now."""
        mine = [label for item in self._items if (label := self.label(item)) is not None]
        at_random = sum(label.drawn == "random" for label in mine)
        if at_random >= self._random_share * (len(mine) + 1) and (item := self._chosen(passed)) is not None:
            return Draw(item, "chosen")
        if not self._random_share:
            return None
        item = next((item for item in self._items if item.key not in passed and self.label(item) is None), None)
        return None if item is None else Draw(item, "random")

    def _chosen(self, passed: Collection[str]) -> LabelItem | None:
        for item in self._ranked:
            if self.label(item) is None and item.key not in passed:
                return item
            self._mark_chosen(item)
        return None

    def _mark_chosen(self, item: LabelItem) -> None:
        for label in self._labels.of_answer(self._metric, item.key):
            if label.drawn == "random":
                self._labels.add(label.model_copy(update={"drawn": "chosen"}))


class SecondQueue:
    """Draws, in a random order, the answers that others have labelled and this person has not."""

    def __init__(self, items: Sequence[LabelItem], labels: AnswerLabels, metric: str, person: str) -> None:
        self._labels = labels
        self._metric = metric
        self._person = person
        others = (item for item in items if any(label.person != person for label in self._of(item)))
        self._items = sorted(others, key=lambda item: content_key(item.key, 8, salt=SECOND_SALT))

    def label(self, item: LabelItem) -> AnswerLabel | None:
        """Return the person's label of an item."""
        return next((label for label in self._of(item) if label.person == self._person), None)

    def __len__(self) -> int:
        return sum(not item.flag for item in self._items)

    def left(self) -> int:
        """Return the number of answers that the person can still label."""
        return sum(self.label(item) is None for item in self._items if not item.flag)

    def next(self, passed: Collection[str] = ()) -> Draw | None:
        """Return the next answer, None where there is none. `passed` are keys that are not asked now."""
        for item in self._items:
            if item.key not in passed and self.label(item) is None:
                return Draw(item, self._of(item)[0].drawn)
        return None

    def _of(self, item: LabelItem) -> tuple[AnswerLabel, ...]:
        return self._labels.of_answer(self._metric, item.key)


def random_sample(items: Sequence[LabelItem], label: Callable[[LabelItem], AnswerLabel | None]) -> RandomSample:
    """Return the labelled items up to the last one that was drawn at random; `items` are in random order.

    They are a simple random sample of all items, since each of them has a label: the `gaps` among them have none.
    """
    labelled = [(item, label(item)) for item in items]
    last = max((at for at, (_, found) in enumerate(labelled) if found and found.drawn == "random"), default=-1)
    reached = labelled[: last + 1]
    return RandomSample(
        items=[item for item, found in reached if found is not None], gaps=sum(found is None for _, found in reached)
    )


@dataclass(frozen=True, slots=True)
class RandomSample:
    """The items of a random sample; `gaps` counts those that belong to it and have no label."""

    items: Sequence[LabelItem]
    gaps: int

    def __iter__(self) -> Iterator[LabelItem]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
