"""Whether an answer is the expected one: as a value, as a normalized text, by a pattern, or by what it contains."""

from __future__ import annotations

import re
import string
from typing import Any

from pydantic import model_validator

from promptkit.answers import AnswerType, ListOf, Text
from promptkit.engine import Closed
from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Around, Askers, Given, Score
from promptkit.evaluation.metrics.families import Proportion
from promptkit.evaluation.metrics.values import (
    expected_of,
    fault,
    frozen,
    same_number,
    scalar_text,
    shown,
    text_of,
)
from promptkit.workers import find_pattern, pattern_fault

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


class Exact(Proportion):
    """Equal to the expected answer.

    Where the answer has a type, values are equal as its votes are (4, 4.0 and the data's `"4"` of a number), but that
    free text is compared letter by letter. Without one, a number or boolean equals the text that writes it.
    """

    kind = "exact"
    about = "the answer equals the expected one"

    def measure(self, given: Given) -> Score:
        answer = given.cell.answer
        expected = expected_of(answer, given.expected)
        if answer is None:
            return Score(float(_same(given.got, expected)))
        return Score(float(_same_answer(answer, given.got, expected)))

    def wrong_expected(self, expected: Any) -> str | None:
        return fault(lambda: expected_of(self.around.answer, expected))


class Normalized(Proportion):
    """Equal to the expected text without case, punctuation, articles and further blanks.

    The rules are those of the evaluation of SQuAD (Rajpurkar et al. 2016, EMNLP). Of a list of expected texts any one
    will do, unless the answer is a list as well.
    """

    kind = "normalized"
    about = "the answer equals the expected text, but for case, punctuation, articles and blanks"

    def measure(self, given: Given) -> Score:
        expected = expected_of(None, given.expected)
        if isinstance(expected, list) and not isinstance(given.got, list):
            right = not {_comparable(item) for item in expected}.isdisjoint([_comparable(given.got)])
        else:
            right = _alike(given.got, expected)
        return Score(float(right))

    def wrong_expected(self, expected: Any) -> str | None:
        return fault(lambda: expected_of(None, expected))


class RegexParameters(Closed):
    """`pattern` left out: the expected text is the pattern. `full`: it must match from beginning to end."""

    pattern: str | None = None
    full: bool = False
    ignore_case: bool = False


class Regex(Proportion):
    """A pattern is found in the answer's text (Python's regular expressions, `.` matches no line break).

    The search runs in a worker process: some patterns never come to an end. The score is missing where it takes
    longer than 5 seconds.
    """

    kind = "regex"
    about = "a regular expression is found in the answer"
    Parameters = RegexParameters
    short = "pattern"
    parameters: RegexParameters
    asks = True
    costly = True

    def __init__(self, name: str, parameters: RegexParameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        self.needs_expected = parameters.pattern is None
        if parameters.pattern is not None and (fault := pattern_fault(parameters.pattern)):
            raise InputError(f"`pattern`: {fault}")

    def wrong_expected(self, expected: Any) -> str | None:
        return pattern_fault(expected) if self.needs_expected else None

    async def judge(self, given: Given, askers: Askers) -> Score:
        pattern = given.expected if self.parameters.pattern is None else self.parameters.pattern
        found = await find_pattern(
            pattern, text_of(given.got), full=self.parameters.full, ignore_case=self.parameters.ignore_case
        )
        return Score(0.0) if found is None else Score(1.0, {"found": found})


class ContainsParameters(Closed):
    """What the answer must contain: one text, any or all of several; left out, what is expected (of a list, all)."""

    text: str | None = None
    any: list[str] | None = None
    all: list[str] | None = None
    ignore_case: bool = False

    @model_validator(mode="after")
    def _check_one(self) -> ContainsParameters:
        named = [key for key in ("text", "any", "all") if getattr(self, key) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(f'`{key}`' for key in named)} are one too many: name one")
        wanted = [self.text] if self.text is not None else self.any if self.any is not None else self.all
        if wanted is not None and not all(wanted or [""]):
            raise ValueError(f"`{named[0]}` is empty: every answer contains nothing")
        return self


class Contains(Proportion):
    """The answer's text contains a text, or any or all of several."""

    kind = "contains"
    about = "the answer contains a text, or any or all of several"
    Parameters = ContainsParameters
    short = "text"
    parameters: ContainsParameters

    def __init__(self, name: str, parameters: ContainsParameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        self._fixed = parameters.any or parameters.all or ([parameters.text] if parameters.text else None)
        self.needs_expected = self._fixed is None

    def measure(self, given: Given) -> Score:
        wanted = self._fixed or _wanted(given.expected)
        text = self._folded(text_of(given.got))
        missing = [item for item in wanted if self._folded(item) not in text]
        right = len(missing) < len(wanted) if self.parameters.any else not missing
        return Score(1.0) if right else Score(0.0, {"missing": missing})

    def wrong_expected(self, expected: Any) -> str | None:
        return None if self._fixed else fault(lambda: _wanted(expected))

    def _folded(self, text: str) -> str:
        return text.casefold() if self.parameters.ignore_case else text


def normalized(value: Any) -> str:
    """Return a value's text without case, punctuation, articles and further blanks, as SQuAD's evaluation has it."""
    bare = text_of(value).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def _alike(got: Any, expected: Any) -> bool:
    """Tell whether two values, or lists of them, are the same normalized."""
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(_alike, got, expected))
    return _comparable(got) == _comparable(expected)


def _comparable(value: Any) -> tuple[str, str]:
    """Return the normalized text of a value; of one that is nothing then (`A`, `!`) the text as it is, beside it."""
    bare = normalized(value)
    return (bare, "") if bare else ("", text_of(value).casefold().strip())


def _wanted(expected: Any) -> list[str]:
    """Return the texts that an answer must contain. Raises ValueError where there is none."""
    texts = [scalar_text(item) for item in (expected if isinstance(expected, list) else [expected])]
    found = [text for text in texts if text]
    if not found or len(found) < len(texts):
        raise ValueError(f"{shown(expected)} is no text, nor a list of texts, that an answer could contain")
    return found


def _same_answer(answer: AnswerType, got: Any, expected: Any) -> bool:
    free = isinstance(answer, Text) or (isinstance(answer, ListOf) and isinstance(answer.of, Text))
    if free:
        return bool(frozen(got) == frozen(expected))
    try:
        return answer.vote_key(got) == answer.vote_key(expected)
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError):
        # A step's `on_error` default may be a value of another kind: it equals none of the type.
        return False


def _same(got: Any, expected: Any) -> bool:
    """Tell whether two values without a type are equal; a number or boolean equals the text that writes it."""
    for value, text in ((got, expected), (expected, got)):
        if isinstance(text, str) and isinstance(value, bool):
            return text.strip().casefold() == scalar_text(value)
        if isinstance(text, str) and isinstance(value, int | float):
            return same_number(text, value)
    return bool(frozen(got) == frozen(expected))
