"""A session in which a person labels answers. Each label is on disk before the next answer is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from promptkit.cli.label_keys import Keys, Typed, echo
from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels
from promptkit.evaluation.labelling.items import LabelItem
from promptkit.evaluation.labelling.levels import LabelLevels
from promptkit.evaluation.labelling.queue import Draw
from promptkit.reports.evaluation.labels import help_lines, item_lines, level_keys
from promptkit.reports.output import note, print_report
from promptkit.reports.text import counted
from promptkit.storage.strict_json import parse_json


class Queue(Protocol):
    """An order of answers, which knows the labels that this person has given."""

    def label(self, item: LabelItem) -> AnswerLabel | None: ...

    def __len__(self) -> int:
        """Return the number of answers that people label; unparsed and cut-off ones are not among them."""
        ...

    def left(self) -> int: ...

    def next(self, passed: Sequence[str] = ()) -> Draw | None: ...


@dataclass(frozen=True, slots=True)
class LabelWriter:
    """Makes labels of one person under one metric, and writes them."""

    labels: AnswerLabels
    metric: str
    person: str

    def label(self, draw: Draw, level: str, *, value: Any = None, why: str = "") -> AnswerLabel:
        """Write a label. Raises StoreFailed."""
        label = AnswerLabel(
            metric=self.metric,
            **draw.item.content,
            level=level,
            drawn=draw.drawn,
            person=self.person,
            value=value,
            why=why,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.labels.add(label)
        return label

    def given(self) -> list[AnswerLabel]:
        """Return this person's labels under the metric, in the file's order."""
        return [label for label in self.labels if label.metric == self.metric and label.person == self.person]


class LabelSession:
    """Asks for labels until `most` are given, the answers are at an end, or the person quits.

    `items` are those that a label of the file may be of, by their keys.
    """

    def __init__(
        self, queue: Queue, writer: LabelWriter, levels: LabelLevels, keys: Keys, items: dict[str, LabelItem], most: int
    ) -> None:
        self.given = 0
        self._queue = queue
        self._writer = writer
        self._levels = levels
        self._keys = keys
        self._items = items
        self._most = min(most, queue.left())
        self._by_key = level_keys(levels)
        self._visited: list[Draw] = []
        self._latest: list[str] = []
        self._at = 0
        self._why = ""
        self._value: Any = None
        self._whole = False

    def run(self) -> None:
        """Ask. Raises StoreFailed where a label cannot be written, and KeyboardInterrupt."""
        while (draw := self._current()) is not None:
            self._show(draw)
            while self._current() is draw:
                try:
                    typed = self._keys.read()
                    if typed.word == "q":
                        return
                    self._take(typed, draw)
                except EOFError:
                    return

    def _current(self) -> Draw | None:
        """Return the answer that is asked now; a new one where all that were seen are done."""
        while self._at >= len(self._visited):
            if self.given >= self._most:
                return None
            draw = self._queue.next([visited.item.key for visited in self._visited])
            if draw is None:
                return None
            if not draw.item.flag:
                self._visited.append(draw)
            else:  # It counts as the worst in every suite: nobody need look at it.
                self._writer.label(draw, self._levels.worst)
        return self._visited[self._at]

    def _show(self, draw: Draw) -> None:
        skipped = sum(self._queue.label(visited.item) is None for visited in self._visited[: self._at])
        head = f"{self._at + 1} of {self._most + skipped} · {self._writer.metric}"
        label, whole = self._queue.label(draw.item), self._whole
        print_report(
            lambda width: item_lines(draw.item, self._levels, width, head=head, label=label, whole=whole), stderr=True
        )

    def _take(self, typed: Typed, draw: Draw) -> None:
        level = self._level(typed.word)
        if level is not None:
            self._record(draw, level)
        elif typed.word in COMMANDS:
            COMMANDS[typed.word](self, typed, draw)
        elif typed.word:
            note(f"`{typed.word}` is not a key here; ? shows the keys")

    def _level(self, word: str) -> str | None:
        levels = self._levels
        if word in ("y", "n"):
            return levels.best if word == "y" else levels.worst
        if len(levels.names) > 2 and word in self._by_key:
            return self._by_key[word]
        # On a line of its own a level can be written out.
        return next((name for name in levels.names if len(word) > 1 and name.casefold() == word.casefold()), None)

    def _record(self, draw: Draw, level: str) -> None:
        before = self._queue.label(draw.item)
        if before is not None:
            draw = replace(draw, drawn=before.drawn)
            why, value = self._why or before.why, before.value if self._value is None else self._value
        else:
            why, value = self._why, self._value
        self._writer.label(draw, level, value=value, why=why)
        self._latest = [*(key for key in self._latest if key != draw.item.key), draw.item.key]
        self.given += before is None
        echo(f"{level}, since {why}" if why else level)
        self._move(1)

    def _move(self, by: int) -> None:
        self._at += by
        self._why, self._value, self._whole = "", None, False

    def _skip(self, typed: Typed, draw: Draw) -> None:
        if self._queue.label(draw.item) is None:
            echo("skipped: it is asked again next time")
        self._move(1)

    def _back(self, typed: Typed, draw: Draw) -> None:
        if not self._at:
            note("this is the first answer of this session; u takes back the last label of an earlier one")
            return
        self._move(-1)

    def _undo(self, typed: Typed, draw: Draw) -> None:
        mine = {label.key: label for label in self._writer.given() if self._is_asked(label.key)}
        if not mine:
            note("there is no label to take back")
            return
        last = mine[self._latest.pop()] if self._latest else next(reversed(mine.values()))
        self._writer.labels.remove(last)
        places = [place for place, visited in enumerate(self._visited) if visited.item.key == last.key]
        if places:
            self.given -= 1
            self._move(places[0] - self._at)
        else:
            self._visited.insert(self._at, Draw(self._items[last.key], last.drawn))
            self._most += 1
            self._move(0)
        echo(f"the label {last.level} is out of the file again")
        if self._visited[self._at] is draw:
            self._show(draw)

    def _is_asked(self, key: str) -> bool:
        return key in self._items and not self._items[key].flag

    def _reason(self, typed: Typed, draw: Draw) -> None:
        why = typed.rest or self._keys.text("why")
        if not why:
            return
        label = self._queue.label(draw.item)
        if label is None:
            self._why = why
            echo("the reason is kept with the label that you give now")
            return
        self._writer.labels.add(label.model_copy(update={"why": why}))
        echo(f"{label.level}, since {why}")

    def _type_value(self, typed: Typed, draw: Draw) -> None:
        text = typed.rest or self._keys.text("right answer")
        if not text:
            return
        self._value = read_value(text, draw.item.answer)
        if len(self._levels.names) == 2:
            self._record(draw, self._levels.best if self._value == draw.item.answer else self._levels.worst)
        else:
            echo("it is kept with the label that you give now")

    def _all(self, typed: Typed, draw: Draw) -> None:
        self._whole = True
        self._show(draw)

    def _help(self, typed: Typed, draw: Draw) -> None:
        print_report(lambda width: help_lines(self._levels, width), stderr=True)


def read_value(text: str, answer: Any) -> Any:
    """Return a typed answer as a value of the kind that the answer has: a text as it is, all else as JSON if it is."""
    if isinstance(answer, str):
        return text
    try:
        return parse_json(text)
    except ValueError:
        return text


COMMANDS = {
    "s": LabelSession._skip,
    "b": LabelSession._back,
    "u": LabelSession._undo,
    "w": LabelSession._reason,
    "v": LabelSession._type_value,
    "a": LabelSession._all,
    "?": LabelSession._help,
}


def kept_text(given: int, file: str) -> str:
    """Return the number of labels of a session in the file."""
    return f"{counted(given, 'label')} given, in {file}"
