"""Answers over a table: whether the values are those that are expected.

The rules are those of WikiTableQuestions' official evaluation (Pasupat & Liang 2015, ACL): answers are sets of values,
a value is a number, a date or a text, and texts are compared without accents, typographic signs, footnote marks, what
stands in brackets at the end, quotes around the whole, a last full stop, further blanks and case.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from math import isfinite
from typing import Any

from promptkit.answers import AnswerType, Labels, ListOf
from promptkit.evaluation.metrics.base import Given, Score
from promptkit.evaluation.metrics.families import Proportion
from promptkit.evaluation.metrics.values import expected_of, fault, scalar_text, shown

SAME = 1e-6
"""Numbers nearer than this are one."""
LONGEST = 1_000
"""A longer text is no value of a table: it is compared as it is."""
_SIGNS = ((re.compile("[‘’´`]"), "'"), (re.compile("[“”]"), '"'), (re.compile("[‐‑‒–—−]"), "-"))
_FOOTNOTES = re.compile(r"(?:(?<!^)\[[^\]\[]*\]|\[\d+\]|[•♦†‡*#+])$")
_BRACKETS = re.compile(r"(?<!^) \([^()]*\)$")
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_DATE = re.compile(r"(xx|xxxx|[0-9]{1,4})-(xx|[0-9]{1,2})-(xx|[0-9]{1,2})")


@dataclass(frozen=True, slots=True)
class Cell:
    """One value: its normalized text, and the number or the date (year, month, day; None for unknown) that it is."""

    text: str
    number: float | None = None
    date: tuple[int | None, int | None, int | None] | None = None

    def matches(self, other: Cell) -> bool:
        if self.text == other.text:
            return True
        if self.number is not None and other.number is not None:
            return abs(self.number - other.number) < SAME
        return self.date is not None and self.date == other.date

    @property
    def same(self) -> Any:
        """What two cells share that are one value of a set."""
        return self.date or (self.text if self.number is None else round(self.number, 6))


class Table(Proportion):
    """The answer has the expected values: as many different ones, each equal to one that is expected, in any order.

    Numbers may have commas between thousands. Dates are `2004-07-15`, with `xx` for what is unknown.
    """

    kind = "table"
    about = "the values that a table answers with are the expected ones, in any order"

    def measure(self, given: Given) -> Score:
        expected = expected_cells(given.cell.answer, given.expected)
        try:
            got = cells(given.got)
        except ValueError as error:
            return Score(0.0, {"problem": str(error)})
        right = len(got) == len(expected) and all(any(one.matches(other) for other in got) for one in expected)
        return Score(float(right))

    def wrong_expected(self, expected: Any) -> str | None:
        return fault(lambda: expected_cells(self.around.answer, expected))


def expected_cells(answer: AnswerType | None, expected: Any) -> list[Cell]:
    """Return the different values that are expected; a text is read as a list where the answer's type is one.

    Raises ValueError for what is no value.
    """
    known = answer if isinstance(answer, Labels | ListOf) and isinstance(expected, str) else None
    return cells(expected_of(known, expected))


def cells(value: Any) -> list[Cell]:
    """Return the different values of an answer: one, those of a list, or of a list of rows.

    Raises ValueError for others.
    """
    found: dict[Any, Cell] = {}
    for item in _flat(value):
        text = scalar_text(item)
        if text is None:
            raise ValueError(f"{shown(item)} is no value of a table")
        cell = read_cell(text)
        found.setdefault(cell.same, cell)
    return list(found.values())


def read_cell(text: str) -> Cell:
    """Return a text as a value."""
    normal, bare = normalized(text), text.strip()
    number = bare.replace(",", "") if _THOUSANDS.fullmatch(bare) else bare
    if len(number) <= LONGEST and _NUMBER.fullmatch(number) and isfinite(amount := float(number)):
        whole = round(amount)
        return Cell(normal, number=float(whole) if abs(amount - whole) < SAME else amount)
    found = _DATE.fullmatch(bare.lower())
    if found is None:
        return Cell(normal)
    year, month, day = (None if part.startswith("x") else int(part) for part in found.groups())
    if year is not None and month is None and day is None:
        return Cell(normal, number=float(year))
    known = (month is None or 1 <= month <= 12) and (day is None or 1 <= day <= 31)
    return Cell(normal, date=(year, month, day)) if known and (year, month, day) != (None,) * 3 else Cell(normal)


def normalized(text: str) -> str:
    """Return a text as the official evaluation compares it."""
    if len(text) > LONGEST:
        return text
    text = "".join(sign for sign in unicodedata.normalize("NFKD", text) if unicodedata.category(sign) != "Mn")
    for signs, plain in _SIGNS:
        text = signs.sub(plain, text)
    before = None
    while text != before:
        before = text
        text = _FOOTNOTES.sub("", text.strip())
        text = _BRACKETS.sub("", text.strip())
        if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
            text = text[1:-1]
        text = text.strip()
    return " ".join(text.removesuffix(".").split()).lower()


def _flat(value: Any) -> list[Any]:
    """Return what stands in a list, or in the rows of a list of lists."""
    if not isinstance(value, list | tuple):
        return [value]
    return [inner for item in value for inner in (item if isinstance(item, list | tuple) else [item])]
