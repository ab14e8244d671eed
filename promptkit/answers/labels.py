"""Several of a closed set of labels, or none of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from promptkit.answers.base import AnswerType, Unparsed, lines
from promptkit.answers.closed import Names, known, read_names, separator
from promptkit.answers.gbnf import Grammar, literal, one_of
from promptkit.answers.list_of import EMPTY, is_empty, without_bullet

MOST_LINES: Final = 1_000
"""How many lines are read for the last labels among thoughts, from the end."""


class Labels(AnswerType):
    """A list of different labels, separated by the first of comma, semicolon, line break that none of them holds."""

    name = "labels"

    def __init__(self, labels: Any) -> None:
        self.labels = read_names(labels, "labels")
        self._names = Names(tuple(self.labels))
        self.separator = separator(self.labels)
        self.may_be_empty = self._names.whole(EMPTY) is None
        self.max_tokens = max(64, sum(len(label) + 2 for label in self.labels))

    def format(self, value: Any) -> str:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is no list of labels")
        if not value:
            return EMPTY
        return self.separator.join(known(label, self.labels, "label") for label in value)

    def read(self, text: str) -> list[str]:
        if self.may_be_empty and is_empty(text):
            return []
        for mark in dict.fromkeys((self.separator[0], "\n", ";", ",")):
            found = [self._names.whole(without_bullet(part)) for part in text.split(mark) if part.strip()]
            if found and None not in found:
                return list(dict.fromkeys(label for label in found if label is not None))
        mentioned = list(dict.fromkeys(self.mentions(text)))
        if not mentioned:
            return [self._names.only(text)]
        return mentioned

    def mentions(self, text: str) -> Iterator[str]:
        return self._names.mentions(text)

    def first(self, text: str) -> list[str]:
        return self.read((lines(text) or [""])[0] if self.separator != "\n" else text)

    def last(self, text: str) -> list[str]:
        for line in islice(reversed(lines(text)), MOST_LINES):
            try:
                return self.read(line)
            except Unparsed:
                continue
        return self.read(text)

    def expression(self, grammar: Grammar) -> str:
        label = grammar.rule("label", one_of(self.labels))
        more = f" ({literal(self.separator)} {label}){{0,{len(self.labels) - 1}}}" if len(self.labels) > 1 else ""
        return f"{literal(EMPTY)} | {label}{more}" if self.may_be_empty else f"{label}{more}"

    def vote_key(self, value: Any) -> Hashable:
        return frozenset(value)

    def description(self) -> Mapping[str, Any]:
        return {
            "labels": [{"label": label, "definition": text} for label, text in self.labels.items()],
            "separator": self.separator,
            "empty": EMPTY if self.may_be_empty else "",
        }
