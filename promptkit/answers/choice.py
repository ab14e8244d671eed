"""One of options that differ by row, answered by letter."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from string import ascii_uppercase
from typing import Any

from promptkit.answers.base import AnswerType, Unparsed, shown
from promptkit.answers.closed import Names, as_text, known
from promptkit.answers.gbnf import Grammar, one_of
from promptkit.errors import InputError

# `A` with a small letter after it is an article, but for words that no article stands before.
_ARTICLE = r"(?<=A) (?!(?:and|as|because|but|if|is|nor|not|or|since|was)\b)[a-z]"
# What joins two letters into one answer.
_JOINED = r"[\s).:\]*]*(?:(?:and|or|nor)\b|[/&|+,])[\s(\[*]*"
_SEVERAL = "names several options"


class Choice(AnswerType):
    """The value is the option's text; the model writes its letter."""

    name = "choice"
    max_tokens = 8

    def __init__(self, options: Any) -> None:
        if not isinstance(options, list | tuple) or not options:
            raise InputError(f"choice must be a list of options, not {shown(str(options))}")
        if len(options) > len(ascii_uppercase):
            raise InputError(f"choice takes at most {len(ascii_uppercase)} options, not {len(options)}")
        texts = [as_text(option) for option in options]
        if None in texts or any(not text or not text.strip() for text in texts):
            raise InputError("choice: each option must be a text, and not blank")
        self.options = tuple(text for text in texts if text is not None)
        self.letters = ascii_uppercase[: len(self.options)]
        self._names = Names(tuple(dict.fromkeys(option.strip() for option in self.options)))
        letters = f"[{self.letters[0]}-{self.letters[-1]}]"
        self._letter = re.compile(rf"(?<![\w'’])\(?({letters})\b(?!['’])(?!{_ARTICLE})")
        self._begins = re.compile(rf"\W*({letters})\b(?!['’])")
        self._answer = re.compile(rf"\W*({letters})(?:\W*|[).:\]]+\s.*)", re.IGNORECASE | re.DOTALL)
        self._several = re.compile(rf"(?<![\w'’])({letters})\b{_JOINED}({letters})\b(?!['’])")

    def format(self, value: Any) -> str:
        return self.letters[self.options.index(known(value, self.options, "option"))]

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
            raise Unparsed(f"{shown(text)} {_SEVERAL}")
        raise Unparsed(f"{shown(text)} is none of the letters {', '.join(self.letters)}")

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
                raise Unparsed(f"{shown(several.group())} {_SEVERAL}")
        return str(super().last(text))

    def expression(self, grammar: Grammar) -> str:
        return one_of(self.letters)

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
        """Raise Unparsed where the letter at `start` is the first of several that are named as one answer: `A or B`."""
        if self._several.match(text, start):
            raise Unparsed(f"{shown(text)} {_SEVERAL}")

    def _option(self, letter: str) -> str:
        return self.options[self.letters.index(letter.upper())]

    def _named(self, text: str) -> str | None:
        name = self._names.whole(text)
        return None if name is None else next(option for option in self.options if option.strip() == name)
