"""Answers from a closed set: one label, several labels, a lettered option, true or false."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from string import ascii_uppercase
from typing import Any, Final

from promptkit.answers.base import AnswerType, Unparsed, nonblank_lines, quoted
from promptkit.answers.closed_sets import ClosedSet, as_text, check_known, read_names, separator_for
from promptkit.answers.gbnf import Grammar, literal, one_of
from promptkit.answers.lists import EMPTY, says_none, without_bullet
from promptkit.errors import InputError


class Label(AnswerType):
    """One label; `labels` maps each to its definition ('' where it has none)."""

    name = "label"
    max_tokens = 32

    def __init__(self, labels: Any) -> None:
        self.labels = read_names(labels, "label")
        self._names = ClosedSet(tuple(self.labels))
        self.max_tokens = max(32, max(map(len, self.labels)))

    def format(self, value: Any) -> str:
        return check_known(value, self.labels, "label")

    def read(self, text: str) -> str:
        return self._names.only(text)

    def mentions(self, text: str) -> Iterator[str]:
        return self._names.mentions(text)

    def expression(self, grammar: Grammar) -> str:
        return grammar.rule("label", one_of(self.labels))

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": list(self.labels)}

    def vote_key(self, value: Any) -> Hashable:
        return str(value)

    def description(self) -> Mapping[str, Any]:
        return {
            "labels": [{"label": label, "definition": text} for label, text in self.labels.items()],
            "separator": separator_for(self.labels),
        }

    def alternatives(self) -> tuple[str, ...]:
        return self._names.names


MAX_LINES_READ: Final = 1_000
"""Number of lines read from the end for the last labels among thoughts."""


class Labels(AnswerType):
    """A list of distinct labels, separated by the first of comma, semicolon and line break that no label contains."""

    name = "labels"

    def __init__(self, labels: Any) -> None:
        self.labels = read_names(labels, "labels")
        self._names = ClosedSet(tuple(self.labels))
        self.separator = separator_for(self.labels)
        self.may_be_empty = self._names.whole(EMPTY) is None
        self.max_tokens = max(64, sum(len(label) + 2 for label in self.labels))

    def format(self, value: Any) -> str:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list of labels")
        if not value:
            return EMPTY
        return self.separator.join(check_known(label, self.labels, "label") for label in value)

    def read(self, text: str) -> list[str]:
        if self.may_be_empty and says_none(text):
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
        return self.read((nonblank_lines(text) or [""])[0] if self.separator != "\n" else text)

    def last(self, text: str) -> list[str]:
        for line in islice(reversed(nonblank_lines(text)), MAX_LINES_READ):
            try:
                return self.read(line)
            except Unparsed:
                continue
        return self.read(text)

    def expression(self, grammar: Grammar) -> str:
        label = grammar.rule("label", one_of(self.labels))
        more = f" ({literal(self.separator)} {label}){{0,{len(self.labels) - 1}}}" if len(self.labels) > 1 else ""
        return f"{literal(EMPTY)} | {label}{more}" if self.may_be_empty else f"{label}{more}"

    def schema(self) -> Mapping[str, Any]:
        items = {"type": "string", "enum": list(self.labels)}
        least = {} if self.may_be_empty else {"minItems": 1}
        return {"type": "array", "items": items, **least, "maxItems": len(self.labels)}

    def json_value(self, value: Any) -> list[str]:
        self.format(value)
        return list(value)

    def from_json(self, value: Any) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
            return list(super().from_json(value))
        if not value and not self.may_be_empty:
            raise Unparsed("the list is empty")
        return list(dict.fromkeys(self._names.only(label) for label in value))

    def vote_key(self, value: Any) -> Hashable:
        return frozenset(value)

    def description(self) -> Mapping[str, Any]:
        return {
            "labels": [{"label": label, "definition": text} for label, text in self.labels.items()],
            "separator": self.separator,
            "empty": EMPTY if self.may_be_empty else "",
        }


# `A` before a small letter is an article, except before words that take no article.
_ARTICLE = r"(?<=A) (?!(?:and|as|because|but|if|is|nor|not|or|since|was)\b)[a-z]"
# Joins two letters into one answer.
_JOINED = r"[\s).:\]*]*(?:(?:and|or|nor)\b|[/&|+,])[\s(\[*]*"
_NAMES_SEVERAL = "names several options"


class Choice(AnswerType):
    """One of a row's options. The model writes its letter; the value is the option's text."""

    name = "choice"
    max_tokens = 8

    def __init__(self, options: Any) -> None:
        if not isinstance(options, list | tuple) or not options:
            raise InputError(f"choice must be a list of options, not {quoted(str(options))}")
        if len(options) > len(ascii_uppercase):
            raise InputError(f"choice takes at most {len(ascii_uppercase)} options, not {len(options)}")
        texts = [as_text(option) for option in options]
        if None in texts or any(not text or not text.strip() for text in texts):
            raise InputError("choice: each option must be a text, and not blank")
        self.options = tuple(text for text in texts if text is not None)
        self.letters = ascii_uppercase[: len(self.options)]
        self._names = ClosedSet(tuple(dict.fromkeys(option.strip() for option in self.options)))
        letters = f"[{self.letters[0]}-{self.letters[-1]}]"
        self._letter = re.compile(rf"(?<![\w'’])\(?({letters})\b(?!['’])(?!{_ARTICLE})")
        self._begins = re.compile(rf"\W*({letters})\b(?!['’])")
        self._answer = re.compile(rf"\W*({letters})(?:\W*|[).:\]]+\s.*)", re.IGNORECASE | re.DOTALL)
        self._several = re.compile(rf"(?<![\w'’])({letters})\b{_JOINED}({letters})\b(?!['’])")

    def format(self, value: Any) -> str:
        return self.letters[self.options.index(check_known(value, self.options, "option"))]

    def read(self, text: str) -> str:
        text = text.strip()
        lettered = self._answer.fullmatch(text)
        if lettered:
            self._check_alone(text, lettered.start(1))
            return self._option(lettered.group(1))
        named = self._named(text)
        if named is not None:
            return named
        found = set(self.mentions(text))
        if len(found) == 1:
            return found.pop()
        if found:
            raise Unparsed(f"{quoted(text)} {_NAMES_SEVERAL}")
        raise Unparsed(f"{quoted(text)} is none of the letters {', '.join(self.letters)}")

    def mentions(self, text: str) -> Iterator[str]:
        letters = [(match.start(), self._option(match.group(1))) for match in self._letter.finditer(text)]
        if letters:
            yield from (option for _, option in letters)
            return
        for name in self._names.mentions(text):
            option = self._named(name)
            if option is not None:
                yield option

    def first(self, text: str) -> str:
        begins = self._begins.match(text)
        if begins is None:
            return str(super().first(text))
        self._check_alone(text, begins.start(1))
        return self._option(begins.group(1))

    def last(self, text: str) -> str:
        letters = list(self._letter.finditer(text))
        for several in self._several.finditer(text):
            if several.end() == letters[-1].end():
                raise Unparsed(f"{quoted(several.group())} {_NAMES_SEVERAL}")
        return str(super().last(text))

    def expression(self, grammar: Grammar) -> str:
        return one_of(self.letters)

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": list(self.letters)}

    def vote_key(self, value: Any) -> Hashable:
        return str(value)

    def description(self) -> Mapping[str, Any]:
        return {
            "options": [
                {"letter": letter, "text": option} for letter, option in zip(self.letters, self.options, strict=True)
            ]
        }

    def alternatives(self) -> tuple[str, ...]:
        return tuple(self.letters)

    def _check_alone(self, text: str, start: int) -> None:
        """Raise Unparsed where the letter at `start` is the first of several joined ones: `A or B`."""
        if self._several.match(text, start):
            raise Unparsed(f"{quoted(text)} {_NAMES_SEVERAL}")

    def _option(self, letter: str) -> str:
        return self.options[self.letters.index(letter.upper())]

    def _named(self, text: str) -> str | None:
        name = self._names.whole(text)
        return None if name is None else next(option for option in self.options if option.strip() == name)


_BOOLEAN_WORDS = {"true": True, "false": False, "yes": True, "no": False}
_BOOLEAN_NAMES = ClosedSet(tuple(_BOOLEAN_WORDS))


class Boolean(AnswerType):
    """Written `true` or `false`; `yes` and `no` are read as well."""

    name = "boolean"
    writes_json = True
    max_tokens = 8

    def format(self, value: Any) -> str:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
        return "true" if value else "false"

    def read(self, text: str) -> bool:
        word = _BOOLEAN_NAMES.whole(text)
        if word is not None:
            return _BOOLEAN_WORDS[word]
        found = set(self.mentions(text))
        if len(found) == 1:
            return found.pop()
        raise Unparsed(f"{quoted(text)} says {'both' if found else 'neither'} true {'and' if found else 'nor'} false")

    def mentions(self, text: str) -> Iterator[bool]:
        return (_BOOLEAN_WORDS[word] for word in _BOOLEAN_NAMES.mentions(text))

    def expression(self, grammar: Grammar) -> str:
        return one_of(self.alternatives())

    def schema(self) -> Mapping[str, Any]:
        return {"type": "boolean"}

    def json_value(self, value: Any) -> bool:
        self.format(value)
        return bool(value)

    def from_json(self, value: Any) -> bool:
        return value if isinstance(value, bool) else bool(super().from_json(value))

    def vote_key(self, value: Any) -> Hashable:
        return ("boolean", value)

    def description(self) -> Mapping[str, Any]:
        return {}

    def alternatives(self) -> tuple[str, ...]:
        return ("true", "false")
