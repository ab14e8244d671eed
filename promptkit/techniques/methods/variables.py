"""A question whose numbers are replaced by variables, and random numbers to try them on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from random import Random
from string import ascii_uppercase
from typing import Any, Final

Number = int | float

_ONES: Final = ["two", "three", "four", "five", "six", "seven", "eight", "nine"]
_STEMS: Final = ("fif", "six", "seven", "eigh", "nine")
_TEENS: Final = ["ten", "eleven", "twelve", "thirteen", "fourteen", *(f"{stem}teen" for stem in _STEMS)]
_TENS: Final = ["twenty", "thirty", "forty", *(f"{stem}ty" for stem in _STEMS)]
_WORDS: Final = {
    **{word: number for number, word in enumerate([*_ONES, *_TEENS], start=2)},
    **{word: 10 * number for number, word in enumerate(_TENS, start=2)},
}
_NUMBER: Final = re.compile(
    r"(?<![\w.])(?P<digits>\d+(?:,\d{3})*(?:\.\d+)?)(?!\d)(?!(?:st|nd|rd|th)\b)"
    rf"|\b(?P<tens>{'|'.join(_TENS)})[- ](?P<ones>one|{'|'.join(_ONES)})\b"
    rf"|\b(?P<word>{'|'.join(_WORDS)})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Template:
    """A question with variables in the place of its numbers, and what each stands for."""

    text: str
    values: Mapping[str, Number]

    def draws(self, number: int) -> list[dict[str, int]]:
        """Return so many random assignments of whole numbers from 1 to 99, always the same ones for a template."""
        random = Random(self.text)
        return [{name: random.randint(1, 99) for name in self.values} for _ in range(number)]


def to_template(question: str) -> Template:
    """Return a question with a variable of its own for each number, in digits or in words.

    Letters that stand alone in the question are no variables; `one` is no number, since it seldom is one.
    """
    free = _names(set(re.findall(r"\b[A-Z]\b", question)))
    values: dict[str, Number] = {}

    def put(found: re.Match[str]) -> str:
        name = next(free)
        values[name] = _value(found)
        glued = question[found.end() : found.end() + 1].isalpha()
        return f"{name} " if glued else name

    return Template(_NUMBER.sub(put, question), values)


def read_template(value: Any) -> Template | None:
    """Return the template that a model wrote, None where it holds digits or its variables are not those it names."""
    if not isinstance(value, Mapping) or not isinstance(value.get("values"), Mapping):
        return None
    text, values = str(value.get("template", "")), dict(value["values"])
    good = all(isinstance(number, int | float) and not isinstance(number, bool) for number in values.values())
    named = all(str(name).isidentifier() and re.search(rf"\b{name}\b", text) for name in values)
    return Template(text, values) if good and named and not re.search(r"\d", text) else None


def _names(taken: set[str]) -> Iterator[str]:
    """Yield A, B, … Z, then A1, B1 and so on."""
    yield from (letter for letter in ascii_uppercase if letter not in taken)
    for number in count(1):
        yield from (f"{letter}{number}" for letter in ascii_uppercase)


def _value(found: re.Match[str]) -> Number:
    if found["digits"]:
        digits = found["digits"].replace(",", "")
        return float(digits) if "." in digits else int(digits)
    if found["word"]:
        return _WORDS[found["word"].lower()]
    ones = found["ones"].lower()
    return _WORDS[found["tens"].lower()] + (1 if ones == "one" else _WORDS[ones])
