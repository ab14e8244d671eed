"""Metrics of a match with the expected answer: as a value, a normalized text, a pattern, a part, or a number."""

from __future__ import annotations

import re
import string
from fractions import Fraction
from math import isfinite
from typing import Any

from pydantic import Field, model_validator

from promptkit.answers.base import AnswerType
from promptkit.answers.lists import ListOf
from promptkit.answers.text import Text
from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Clients, MetricContext, MetricInput
from promptkit.evaluation.metrics.estimation import Proportion
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import (
    expected_of,
    frozen,
    number_of,
    reading_fault,
    same_number,
    scalar_text,
    shown_value,
    text_of,
)
from promptkit.workers.patterns import find_pattern, pattern_fault

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


class Exact(Proportion):
    """Equal to the expected answer.

    Where the answer has a type, values are equal if they would count as the same vote (4, 4.0 and the data's `"4"` for
    a number), except that free text is compared letter by letter. Without a type, a number or boolean equals its text.
    """

    kind = "exact"
    about = "the answer equals the expected one"

    def measure(self, given: MetricInput) -> Score:
        answer = given.answer
        expected = expected_of(answer, given.expected)
        if answer is None:
            return Score(float(equal_untyped(given.got, expected)))
        return Score(float(_equal_typed(answer, given.got, expected)))

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: expected_of(self.context.answer, expected))


class Normalized(Proportion):
    """Equal to the expected text without case, punctuation, articles and extra blanks.

    The rules are those of the evaluation of SQuAD (Rajpurkar et al. 2016, EMNLP). The answer may equal any one of a
    list of expected texts, unless it is a list as well.
    """

    kind = "normalized"
    about = "the answer equals the expected text, but for case, punctuation, articles and blanks"

    def measure(self, given: MetricInput) -> Score:
        expected = expected_of(None, given.expected)
        if isinstance(expected, list) and not isinstance(given.got, list):
            right = not {_comparable(item) for item in expected}.isdisjoint([_comparable(given.got)])
        else:
            right = _equal_normalized(given.got, expected)
        return Score(float(right))

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: expected_of(None, expected))


class RegexParameters(ClosedModel):
    """`pattern` is by default the expected text. With `full` it must match the whole answer."""

    pattern: str | None = None
    full: bool = False
    ignore_case: bool = False


class Regex(Proportion):
    """A pattern is found in the answer's text (Python's regular expressions, `.` does not match a line break).

    The search runs in a worker process, since some patterns never finish. The score is missing where it takes longer
    than 5 seconds.
    """

    kind = "regex"
    about = "a regular expression is found in the answer"
    Parameters = RegexParameters
    short = "pattern"
    parameters: RegexParameters
    asks = True
    costly = True
    reads_row = False

    def __init__(self, name: str, parameters: RegexParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.needs_expected = parameters.pattern is None
        if parameters.pattern is not None and (fault := pattern_fault(parameters.pattern)):
            raise InputError(f"`pattern`: {fault}")

    def wrong_expected(self, expected: Any) -> str | None:
        return pattern_fault(expected) if self.needs_expected else None

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        pattern = given.expected if self.parameters.pattern is None else self.parameters.pattern
        found = await find_pattern(
            pattern, text_of(given.got), full=self.parameters.full, ignore_case=self.parameters.ignore_case
        )
        return Score(0.0) if found is None else Score(1.0, {"found": found})


class ContainsParameters(ClosedModel):
    """The text that the answer must contain, or any or all of several; by default all expected texts."""

    text: str | None = None
    any: list[str] | None = None
    all: list[str] | None = None
    ignore_case: bool = False

    @model_validator(mode="after")
    def _check_one(self) -> ContainsParameters:
        named = [key for key in ("text", "any", "all") if getattr(self, key) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(f'`{key}`' for key in named)} exclude each other: keep one")
        texts = [self.text] if self.text is not None else self.any if self.any is not None else self.all
        if texts is not None and not all(texts or [""]):
            raise ValueError(f"`{named[0]}` is empty: every answer contains nothing")
        return self


class Contains(Proportion):
    """The answer's text contains a text, or any or all of several."""

    kind = "contains"
    about = "the answer contains a text, or any or all of several"
    Parameters = ContainsParameters
    short = "text"
    parameters: ContainsParameters

    def __init__(self, name: str, parameters: ContainsParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._fixed = parameters.any or parameters.all or ([parameters.text] if parameters.text else None)
        self.needs_expected = self._fixed is None

    def measure(self, given: MetricInput) -> Score:
        expected = self._fixed or _expected_texts(given.expected)
        text = self._folded(text_of(given.got))
        missing = [item for item in expected if self._folded(item) not in text]
        right = len(missing) < len(expected) if self.parameters.any else not missing
        return Score(1.0) if right else Score(0.0, {"missing": missing})

    def wrong_expected(self, expected: Any) -> str | None:
        return None if self._fixed else reading_fault(lambda: _expected_texts(expected))

    def _folded(self, text: str) -> str:
        return text.casefold() if self.parameters.ignore_case else text


def normalized(value: Any) -> str:
    """Return a value's text without case, punctuation, articles and extra blanks, as in SQuAD's evaluation."""
    bare = text_of(value).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def _equal_normalized(got: Any, expected: Any) -> bool:
    """Tell whether two values, or lists of them, are equal when normalized."""
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(_equal_normalized, got, expected))
    return _comparable(got) == _comparable(expected)


def _comparable(value: Any) -> tuple[str, str]:
    """Return the normalized text of a value; for one that normalizes to nothing (`A`, `!`), its own text as second
    item.
    """
    bare = normalized(value)
    return (bare, "") if bare else ("", text_of(value).casefold().strip())


def _expected_texts(expected: Any) -> list[str]:
    """Return the texts that an answer must contain. Raises ValueError where there is none."""
    texts = [scalar_text(item) for item in (expected if isinstance(expected, list) else [expected])]
    found = [text for text in texts if text]
    if not found or len(found) < len(texts):
        raise ValueError(f"{shown_value(expected)} is neither a text nor a list of texts that an answer could contain")
    return found


def _equal_typed(answer: AnswerType, got: Any, expected: Any) -> bool:
    free = isinstance(answer, Text) or (isinstance(answer, ListOf) and isinstance(answer.of, Text))
    if free:
        return bool(frozen(got) == frozen(expected))
    try:
        return answer.vote_key(got) == answer.vote_key(expected)
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError):
        # A step's `on_error` default may be of another type, and then equals no value of this one.
        return False


def equal_untyped(got: Any, expected: Any) -> bool:
    """Tell whether two values without a type are equal; a number or boolean equals the text that writes it."""
    for value, text in ((got, expected), (expected, got)):
        if isinstance(text, str) and isinstance(value, bool):
            return text.strip().casefold() == scalar_text(value)
        if isinstance(text, str) and isinstance(value, int | float):
            return same_number(text, value)
    return bool(frozen(got) == frozen(expected))


class NumberParameters(ClosedModel):
    """The accepted distance from the expected number: absolute, or as a share of it; the wider one counts."""

    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    relative: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Number(Proportion):
    """A number within a tolerance of the expected one; texts are read as the answer type `number` reads them.

    The distance is computed in decimals, so that 0.51 is within 0.01 of 0.5.
    """

    kind = "number"
    about = "the number is within a tolerance of the expected one"
    Parameters = NumberParameters
    short = "tolerance"
    parameters: NumberParameters

    def measure(self, given: MetricInput) -> Score:
        expected = as_fraction(number_of(given.expected))
        try:
            got = as_fraction(number_of(given.got))
        except ValueError as error:
            return Score(0.0, {"problem": str(error)})
        if within_tolerance(got, expected, self.parameters.tolerance, self.parameters.relative):
            return Score(1.0)
        return Score(0.0, _distance_detail(got - expected))

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: number_of(expected))


def as_fraction(value: int | float) -> Fraction:
    """Return a finite number as the exact fraction of its decimal text."""
    return Fraction(value) if isinstance(value, int) else Fraction(repr(value))


def within_tolerance(got: Fraction, expected: Fraction, tolerance: float, relative: float = 0.0) -> bool:
    """Tell whether two numbers are no further apart than the wider of an absolute and a relative tolerance."""
    return abs(got - expected) <= max(as_fraction(tolerance), as_fraction(relative) * abs(expected))


def _distance_detail(distance: Fraction) -> dict[str, Any]:
    try:
        off = float(distance)
    except OverflowError:
        return {}
    return {"off": off} if isfinite(off) else {}
