"""Lists: values of one type, separated by a character or by line breaks; records as one JSON array."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from promptkit.answers.base import (
    WHOLE_REPLY,
    AnswerType,
    Reading,
    Refusal,
    Unparsed,
    after_marker,
    hashable,
    nonblank_lines,
    paragraphs,
    quoted,
    shown,
    stripped_forms,
    unique_by,
)
from promptkit.answers.constraints.gbnf import BLANKS, Grammar, literal, none_of
from promptkit.answers.json_value import Json
from promptkit.answers.number import Number
from promptkit.answers.reader.code_reader import MOST_DECLINING
from promptkit.answers.reader.json_reader import json_readings
from promptkit.answers.reader.list_reader import (
    ANSWER_LINES,
    Items,
    listed_items,
    names_several,
    plain_lines,
    quoted_items,
    sentence_items,
    with_line_breaks,
)
from promptkit.answers.reader.markers import text_after_marker
from promptkit.answers.reader.refusals import declines, refuses
from promptkit.answers.text import Text
from promptkit.errors import InputError

EMPTY = "none"
_BULLET = re.compile(r"(?:[-*•–]|\(?[0-9]{1,3}[.)])\s+(?=\S)")
_BREAK = re.compile(r"[\r\n]+")
_FRAME = re.compile(
    r"[^\n,;:]{0,120}:[ \t]{1,9}(?=\S)"
    r"|[^\n,;:]{0,120}?\b(?:is|are|was|were|includes?|as|namely)\b[ \t]{1,9}"
    r"(?=[^\n]*[,;&]|[^\n]*\band\b|\S{1,2}(?:[ \t]\S{1,2})+\.?$)",
    re.IGNORECASE,
)


class ListOf(AnswerType):
    """A list of values of the type `of`, one a line or with a `separator` between them. An empty list is written
    `none`.

    `unique` drops items that count as the same answer as an earlier one. `most` (`max` in a file) limits the number of
    items: the grammar ends there, and a longer reply is not an answer. Without it a small model may continue until it
    is cut off. `in_full` is for items that are sentences: commas and the words of an answer (`the answer is`) are a
    part of them, and so are explanations after a name.
    """

    name = "list"

    def __init__(
        self,
        of: AnswerType | None = None,
        *,
        separator: Any = None,
        unique: Any = False,
        most: Any = None,
        in_full: bool = False,
    ) -> None:
        self.of = of or Text()
        self.in_full = in_full
        self.separator = _read_separator(separator, self.of)
        self.unique = read_flag("unique", unique)
        self.most = read_max_items(most)

    def format(self, value: Any) -> str:
        if not isinstance(value, list):
            raise ValueError(f"{shown(value)} is not a list")
        if not value:
            return EMPTY
        return self._between.join(self.of.write(item) for item in value)

    def read(self, text: str) -> list[Any]:
        if says_none(text) and EMPTY not in self.of.alternatives():
            return []
        text = with_line_breaks(text)
        listed = self._listed(text)
        return self._values(listed.texts if listed else self._plain_items(text))

    def conclude(self, text: str, cue: str, *, thinks: bool = False, cut: bool = False, question: str = "") -> Reading:
        if refuses(text):
            raise Refusal(f"the reply declines to answer: {quoted(text)}")
        text = with_line_breaks(text)
        listed = self._listed(text)
        if self.in_full and not says_none(text):
            items = listed.texts if listed else quoted_items(text) or self._plain_items(text)
            return Reading(self._values(items), listed.rule if listed else WHOLE_REPLY)
        if listed and listed.rule == ANSWER_LINES:
            return Reading(self._values(listed.texts), ANSWER_LINES)
        rest, marked = after_marker(text, cue)
        if marked and rest.strip():
            return Reading(self._first(rest), "cue")
        concluded = text_after_marker(text, "", anywhere=True)
        if concluded is not None and not _ends_with_colon(concluded):
            with suppress(Unparsed):
                return Reading(self._sentence(concluded), "marker")
        if thinks:
            return Reading(self._last(text), "last paragraph", is_weak=True)
        if listed:
            return Reading(self._values(listed.texts), listed.rule)
        return self._unlisted(text)

    def _listed(self, text: str) -> Items | None:
        """Return the items of a reply that marks them. A single line with separators is none of these."""
        listed = listed_items(text, in_full=self.in_full)
        alone = listed is not None and listed.rule == "list" and len(listed.texts) == 1
        return None if alone and self.separator != "\n" and self.separator in text else listed

    def _unlisted(self, text: str) -> Reading:
        """Return the list of a reply without thoughts that marks no items."""
        lines = nonblank_lines(text)
        is_joined = names_several(text) or quoted_items(text) or (_FRAME.match(text.strip()) and "," in text)
        is_sentence = self.separator != "\n" or is_joined
        if len(lines) == 1 and is_sentence and not says_none(text):
            return Reading(self._sentence(text), "first sentence")
        try:
            return Reading(self.read(text), WHOLE_REPLY)
        except Unparsed:
            return Reading(self._sentence(text), "first sentence")

    def _first(self, text: str) -> list[Any]:
        """Return the list right after a cue."""
        whole = paragraphs(text)
        if not whole:
            raise Unparsed(f"the reply is empty; an empty list is written {EMPTY}")
        first = whole[0] if not _ends_with_colon(whole[0]) or len(whole) == 1 else "\n\n".join(whole[:2])
        if self._listed(first) or says_none(first):
            return self.read(first)
        if self.separator == "\n":
            return self.read(first) if "\n" in first else self._sentence(first)
        return self._sentence(nonblank_lines(first)[0])

    def _last(self, text: str) -> list[Any]:
        """Return the list that thoughts end in."""
        listed = self._listed(text)
        if listed and listed.rule != "list":
            return self._values(listed.texts)
        whole = paragraphs(text) or [""]
        last = "\n\n".join(whole[-2:]) if len(whole) > 1 and _ends_with_colon(whole[-2]) else whole[-1]
        if len(whole) > 1 and not self._listed(last) and self._listed(whole[-2]):  # A remark follows the list.
            last = whole[-2]
        if self._listed(last) or (self.separator == "\n" and "\n" in last) or says_none(last):
            return self.read(last)
        return self._sentence((nonblank_lines(last) or [""])[-1])

    def _sentence(self, text: str) -> list[Any]:
        """Return the list that a sentence names, after the words that announce it."""
        if says_none(text) and EMPTY not in self.of.alternatives():
            return []
        if declines(text[:MOST_DECLINING]):
            raise Refusal(f"the reply declines to answer: {quoted(text)}")
        if in_quotes := quoted_items(text):
            return self._values(in_quotes)
        framed = _FRAME.match(text.strip())
        text = text.strip()[framed.end() :] if framed else text
        with suppress(Unparsed):
            return self._values(sentence_items(text, self.separator))
        named = list(self.of.mentions(text))
        if not named:
            raise Unparsed(f"{quoted(text)} is not a list of {self.of.name}s")
        return self._bounded(named)

    def _plain_items(self, text: str) -> list[str]:
        """Return the items of a reply that is nothing but a list. Lines for semicolons are one."""
        if self.separator not in text or self.separator == "\n":
            return [_on_one_line(line) for line in plain_lines(text)]
        lines = nonblank_lines(text)
        if len(lines) > 1 and _ends_with_colon(lines[0]) and self.separator not in lines[0]:
            text = "\n".join(lines[1:])
        return [_on_one_line(part) for part in text.split(self.separator) if part.strip()]

    def _values(self, texts: Sequence[str]) -> list[Any]:
        """Return the values of items. Raises Unparsed."""
        if not texts:
            raise Unparsed(f"the reply is empty; an empty list is written {EMPTY}")
        return self._bounded([self.of.parse(without_bullet(text)) for text in texts])

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
            raise ValueError(f"{shown(value)} is not a list")
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

    def _readings(self, text: str) -> list[Reading]:
        """Return the arrays of a reply; without one, the array in an object of one key, or the records in a row."""
        try:
            found = super()._readings(text)
        except Unparsed as unparsed:
            found = [self._gathered(text, unparsed)]
        if not self.unique:
            return found
        return [replace(reading, value=unique_by(reading.value, hashable)) for reading in found]

    def _gathered(self, text: str, unparsed: Unparsed) -> Reading:
        records = [reading.value for reading in json_readings(text)]
        wrapped = [next(iter(record.values())) for record in records if isinstance(record, dict) and len(record) == 1]
        for candidate in (*wrapped, records):
            if candidate and isinstance(candidate, list) and not self._schema.fault(candidate):
                return Reading(candidate, "records")
        raise unparsed

    def description(self) -> Mapping[str, Any]:
        return {"of": {"name": "json", "schema": self.given["items"]}, "unique": self.unique, "most": self.most}


def says_none(text: str) -> bool:
    """Return True where a reply says that the list is empty."""
    return any(form.casefold() == EMPTY for form in stripped_forms(text))


def without_bullet(item: str) -> str:
    """Return an item without a leading dash or number."""
    item = item.strip()
    return _BULLET.sub("", item, count=1) if _BULLET.match(item) else item


def _ends_with_colon(text: str) -> bool:
    return text.rstrip("*_ \n").endswith((":", "："))


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
