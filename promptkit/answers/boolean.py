"""True or false."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from promptkit.answers.base import AnswerType, Unparsed, shown
from promptkit.answers.closed import Names
from promptkit.answers.gbnf import Grammar, one_of

_WORDS = {"true": True, "false": False, "yes": True, "no": False}
_NAMES = Names(tuple(_WORDS))


class Boolean(AnswerType):
    """Written `true` or `false`; `yes` and `no` are read as well."""

    name = "boolean"
    max_tokens = 8

    def format(self, value: Any) -> str:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return "true" if value else "false"

    def read(self, text: str) -> bool:
        word = _NAMES.whole(text)
        if word is not None:
            return _WORDS[word]
        found = set(self.mentions(text))
        if len(found) == 1:
            return found.pop()
        raise Unparsed(f"{shown(text)} says {'both' if found else 'neither'} true {'and' if found else 'nor'} false")

    def mentions(self, text: str) -> Iterator[bool]:
        return (_WORDS[word] for word in _NAMES.mentions(text))

    def expression(self, grammar: Grammar) -> str:
        return one_of(self.alternatives())

    def vote_key(self, value: Any) -> Hashable:
        return ("boolean", value)

    def description(self) -> Mapping[str, Any]:
        return {}

    def alternatives(self) -> tuple[str, ...]:
        return ("true", "false")
