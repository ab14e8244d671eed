"""Lists: values of one type, separated by a character or by line breaks; records as one JSON array."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from promptkit.answers.base import AnswerType, Unparsed, hashable, nonblank_lines, paragraphs, stripped_forms, unique_by
from promptkit.answers.gbnf import BLANKS, Grammar, literal, none_of
from promptkit.answers.json_value import Json
from promptkit.answers.number import Number
from promptkit.answers.text import Text
from promptkit.errors import InputError

EMPTY = "none"
_BULLET = re.compile(r"(?:[-*•–]|\(?[0-9]{1,3}[.)])\s+(?=\S)")
_BREAK = re.compile(r"[\r\n]+")


class ListOf(AnswerType):
    """A list of values of the type `of`, one a line or with a `separator` between them. An empty list is written
    `none`.

    `unique` drops items that count as the same answer as an earlier one. `most` (`max` in a file) limits the number of
    items: the grammar ends there, and a longer reply is not an answer. Without it a small model may continue until it
    is cut off.
    """

    name = "list"

    def __init__(
        self, of: AnswerType | None = None, *, separator: Any = None, unique: Any = False, most: Any = None
    ) -> None:
        self.of = of or Text()
        self.separator = _read_separator(separator, self.of)
        self.unique = read_flag("unique", unique)
        self.most = read_max_items(most)

    def format(self, value: Any) -> str:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list")
        if not value:
            return EMPTY
        return self._between.join(self.of.write(item) for item in value)

    def read(self, text: str) -> list[Any]:
        if says_none(text) and EMPTY not in self.of.alternatives():
            return []
        # Lines where semicolons were asked for are still a list.
        between = self.separator if self.separator in text else "\n"
        parts = [_on_one_line(part) for part in text.split(between) if part.strip()]
        if not parts:
            raise Unparsed(f"the reply is empty; an empty list is written {EMPTY}")
        return self._bounded([self.of.parse(without_bullet(part)) for part in parts])

    def first(self, text: str) -> list[Any]:
        whole = paragraphs(text) if self.separator == "\n" else nonblank_lines(text)
        return self.read((whole or [""])[0])

    def last(self, text: str) -> list[Any]:
        whole = paragraphs(text) if self.separator == "\n" else nonblank_lines(text)
        return self.read((whole or [""])[-1])

    def expression(self, grammar: Grammar) -> str:
        item = self._text_item(grammar) if isinstance(self.of, Text) else self.of.expression(grammar)
        name = grammar.rule("item", item or "")
        most = self._longest()
        if most == 1:
            return f"{literal(EMPTY)} | {name}"
        count = "*" if most is None else f"{{0,{most - 1}}}"
        return f"{literal(EMPTY)} | {name} ({literal(self._between)} {name}){count}"

    def schema(self) -> Mapping[str, Any]:
        items = {"type": "string", "minLength": 1} if isinstance(self.of, Text) else self.of.schema()
        most = self._longest()
        return {"type": "array", "items": items, **({} if most is None else {"maxItems": most})}

    def json_value(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list")
        return [self.of.json_value(item) for item in value]

    def from_json(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            return list(super().from_json(value))
        items = (_on_one_line(item) if isinstance(item, str) else item for item in value)
        return self._bounded([self.of.from_json(item) for item in items if item != ""])

    def vote_key(self, value: Any) -> Hashable:
        return tuple(self.of.vote_key(item) for item in value)

    def description(self) -> Mapping[str, Any]:
        return {
            "of": {**self.of.description(), "name": self.of.name},
            "separator": self.separator,
            "unique": self.unique,
            "most": self.most,
            "empty": EMPTY,
        }

    def _bounded(self, items: list[Any]) -> list[Any]:
        """Return the items, with `unique` without repetitions. Raises Unparsed where there are too many."""
        items = unique_by(items, self.of.vote_key) if self.unique else items
        if self.most is not None and len(items) > self.most:
            raise Unparsed(f"the list has {len(items)} items, and may have at most {self.most}")
        return items

    def _longest(self) -> int | None:
        """Return the highest number of items; distinct items of a closed set are bounded too."""
        bounds = [self.most, len(self.of.alternatives()) or None if self.unique else None]
        return min((bound for bound in bounds if bound is not None), default=None)

    @property
    def _between(self) -> str:
        return "\n" if self.separator == "\n" else f"{self.separator} "

    def _text_item(self, grammar: Grammar) -> str:
        within = none_of("".join(dict.fromkeys(f"{self.separator}\n\r")))
        start = none_of("".join(dict.fromkeys(f"{self.separator}{BLANKS}")))
        return f"{start} {within}*"


class JsonList(Json):
    """A list of JSON records, written as one JSON array. Its items follow the schema of the type `of`."""

    name = "list"

    def __init__(self, of: Json, *, unique: Any = False, most: Any = None) -> None:
        definitions = {"$defs": of.given["$defs"]} if "$defs" in of.given else {}
        items = {key: value for key, value in of.given.items() if key != "$defs"}
        self.most = read_max_items(most)
        bound = {} if self.most is None else {"maxItems": self.most}
        super().__init__({"type": "array", "items": items, **bound, **definitions})
        self.unique = read_flag("unique", unique)

    def read(self, text: str) -> Any:
        found = super().read(text)
        return unique_by(found, hashable) if self.unique else found

    def description(self) -> Mapping[str, Any]:
        return {"of": {"name": "json", "schema": self.given["items"]}, "unique": self.unique, "most": self.most}


def says_none(text: str) -> bool:
    """Return True where a reply says that the list is empty."""
    return any(form.casefold() == EMPTY for form in stripped_forms(text))


def without_bullet(item: str) -> str:
    """Return an item without a leading dash or number."""
    item = item.strip()
    return _BULLET.sub("", item, count=1) if _BULLET.match(item) else item


def _on_one_line(item: str) -> str:
    return " ".join(line.strip() for line in _BREAK.split(item) if line.strip())


def read_flag(key: str, value: Any) -> bool:
    """Return an option that is true or false. Raises InputError."""
    if not isinstance(value, bool):
        raise InputError(f"list: `{key}` must be true or false, not {value!r}")
    return value


def read_max_items(value: Any) -> int | None:
    """Return the option `max`, the highest number of items. Raises InputError."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InputError(f"list: `max` must be a whole number from 1, not {value!r}")
    return value


def _read_separator(given: Any, of: AnswerType) -> str:
    """Return the character between items, a line break by default. Raises InputError."""
    if given is None or given == "\n":
        return "\n"
    mark = given.strip() if isinstance(given, str) else ""
    if len(mark) != 1 or mark.isalnum() or not mark.isprintable():
        raise InputError(f"list: `separator` must be one sign such as `;`, not {given!r}")
    if isinstance(of, Number) and mark in ".-":
        raise InputError(f"list: the separator {mark!r} is part of numbers")
    held = [label for label in of.alternatives() if mark in label]
    if held:
        raise InputError(f"list: the separator {mark!r} is part of the label {held[0]!r}")
    return mark
