"""One of a closed set of labels."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.answers.closed import Names, known, read_names, separator
from promptkit.answers.gbnf import Grammar, one_of


class Label(AnswerType):
    """One label; `labels` maps each to its definition ('' where it has none)."""

    name = "label"
    max_tokens = 32

    def __init__(self, labels: Any) -> None:
        self.labels = read_names(labels, "label")
        self._names = Names(tuple(self.labels))
        self.max_tokens = max(32, max(map(len, self.labels)))

    def format(self, value: Any) -> str:
        return known(value, self.labels, "label")

    def read(self, text: str) -> str:
        return self._names.only(text)

    def mentions(self, text: str) -> Iterator[str]:
        return self._names.mentions(text)

    def expression(self, grammar: Grammar) -> str:
        return grammar.rule("label", one_of(self.labels))

    def vote_key(self, value: Any) -> Hashable:
        return str(value)

    def description(self) -> Mapping[str, Any]:
        return {
            "labels": [{"label": label, "definition": text} for label, text in self.labels.items()],
            "separator": separator(self.labels),
        }

    def alternatives(self) -> tuple[str, ...]:
        return self._names.names
