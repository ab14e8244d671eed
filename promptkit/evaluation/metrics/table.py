"""The metric `table`: values that a table answers with, as WikiTableQuestions' official evaluation compares them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from math import isfinite
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.answers.labels import Labels
from promptkit.answers.lists import ListOf
from promptkit.evaluation.metrics.base import MetricInput
from promptkit.evaluation.metrics.estimation import Proportion
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import (
    expected_of,
    reading_fault,
    scalar_text,
    shown_value,
)

SAME_NUMBER = 1e-6
"""Numbers nearer than this are equal."""
LONGEST_VALUE = 1_000
"""A longer text is not a value of a table: it is compared unchanged."""
_SIGNS = ((re.compile("[‘’´`]"), "'"), (re.compile("[“”]"), '"'), (re.compile("[‐‑‒–—−]"), "-"))
_FOOTNOTES = re.compile(r"(?:(?<!^)\[[^\]\[]*\]|\[\d+\]|[•♦†‡*#+])$")
_BRACKETS = re.compile(r"(?<!^) \([^()]*\)$")
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_DATE = re.compile(r"(xx|xxxx|[0-9]{1,4})-(xx|[0-9]{1,2})-(xx|[0-9]{1,2})")


@dataclass(frozen=True, slots=True)
class TableValue:
    """A value of a table: its normalized text, and its number or its date (year, month, day; None: unknown)."""

    text: str
    number: float | None = None
    date: tuple[int | None, int | None, int | None] | None = None

    def matches(self, other: TableValue) -> bool:
        if self.text == other.text:
            return True
        if self.number is not None and other.number is not None:
            return abs(self.number - other.number) < SAME_NUMBER
        return self.date is not None and self.date == other.date

    @property
    def key(self) -> Any:
        """The key under which equal values of a set are counted."""
        return self.date or (self.text if self.number is None else round(self.number, 6))


class Table(Proportion):
    """The answer has the expected values: as many different ones, each equal to an expected one, in any order.

    Numbers may have commas between thousands. Dates are `2004-07-15`, with `xx` for an unknown part. The rules are
    those of WikiTableQuestions' official evaluation (Pasupat & Liang 2015, ACL): a value is a number, a date or a text,
    and texts are compared without accents, typographic signs, footnote marks, a final part in brackets, quotes around
    the whole, a final full stop, extra blanks and case.
    """

    kind = "table"
    about = "the values that a table answers with are the expected ones, in any order"

    def measure(self, given: MetricInput) -> Score:
        expected = expected_values(given.answer, given.expected)
        try:
            got = table_values(given.got)
        except ValueError as error:
            return Score(0.0, {"problem": str(error)})
        right = len(got) == len(expected) and all(any(one.matches(other) for other in got) for one in expected)
        return Score(float(right))

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: expected_values(self.context.answer, expected))


def expected_values(answer: AnswerType | None, expected: Any) -> list[TableValue]:
    """Return the different expected values; a text is read as a list where the answer's type is a list.

    Raises ValueError for what is not a value.
    """
    known = answer if isinstance(answer, Labels | ListOf) and isinstance(expected, str) else None
    return table_values(expected_of(known, expected))


def table_values(value: Any) -> list[TableValue]:
    """Return the different values of an answer: a single value, or those of a list or of a list of rows.

    Raises ValueError for other values.
    """
    found: dict[Any, TableValue] = {}
    for item in _flattened(value):
        text = scalar_text(item)
        if text is None:
            raise ValueError(f"{shown_value(item)} is not a value of a table")
        cell = read_value(text)
        found.setdefault(cell.key, cell)
    return list(found.values())


def read_value(text: str) -> TableValue:
    """Return a text as a value."""
    normal, bare = normalized_text(text), text.strip()
    number = bare.replace(",", "") if _THOUSANDS.fullmatch(bare) else bare
    if len(number) <= LONGEST_VALUE and _NUMBER.fullmatch(number) and isfinite(amount := float(number)):
        whole = round(amount)
        return TableValue(normal, number=float(whole) if abs(amount - whole) < SAME_NUMBER else amount)
    found = _DATE.fullmatch(bare.lower())
    if found is None:
        return TableValue(normal)
    year, month, day = (None if part.startswith("x") else int(part) for part in found.groups())
    if year is not None and month is None and day is None:
        return TableValue(normal, number=float(year))
    known = (month is None or 1 <= month <= 12) and (day is None or 1 <= day <= 31)
    return (
        TableValue(normal, date=(year, month, day))
        if known and (year, month, day) != (None,) * 3
        else TableValue(normal)
    )


def normalized_text(text: str) -> str:
    """Return a text as WikiTableQuestions' official evaluation compares it."""
    if len(text) > LONGEST_VALUE:
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


def _flattened(value: Any) -> list[Any]:
    """Return the items of a list, or of the rows of a list of lists."""
    if not isinstance(value, list | tuple):
        return [value]
    return [inner for item in value for inner in (item if isinstance(item, list | tuple) else [item])]
