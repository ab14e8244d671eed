"""Readers of the values that metrics compare: answer types, expected answers, texts, numbers, labels.

A model's answer is never an error: one that cannot be read is wrong. An expected answer must be readable.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, TypeGuard

from promptkit.answers.base import AnswerType
from promptkit.answers.boolean import Boolean
from promptkit.answers.json_value import Json
from promptkit.answers.labels import Label, Labels
from promptkit.answers.number import Number
from promptkit.engine.step_rows import expected_value
from promptkit.errors import nearest
from promptkit.evaluation.metrics.base import MetricInput

LONGEST_LABEL = 80
TOO_DEEP = "the value is nested too deep to compare"
_NUMBER = Number()
_JSON = Json()


def answer_type(given: MetricInput) -> AnswerType | None:
    """Return the answer type of a metric's input, where that is the whole output of one step."""
    got, output = given.got, given.cell.output
    whole = got is output or (isinstance(got, str | int | float) and type(got) is type(output) and got == output)
    return given.answer if whole else None


def expected_of(answer: AnswerType | None, expected: Any) -> Any:
    """Return an expected answer as a value of the type, or unchanged without one. Raises ValueError for other values.

    A label must be one of the type's: a text that only mentions a label is an error of the data.
    """
    if expected is None:
        raise ValueError("nothing is expected: the expected answer is null")
    if isinstance(answer, Label):
        return _one_of(tuple(answer.labels), expected)
    if isinstance(answer, Labels):
        return _several_of(answer, expected)
    return expected if answer is None else expected_value(answer, expected)


def reading_fault(read: Callable[[], Any]) -> str | None:
    """Return the message of a reader that cannot read a value, None where it can."""
    try:
        read()
    except ValueError as error:
        return str(error)
    return None


def frozen(value: Any) -> Any:
    """Return a hashable stand-in of a JSON value: 26 and 26.0 share it, 1 and true do not.

    Raises ValueError for a value that is nested too deep.
    """
    try:
        return _JSON.vote_key(value)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def text_of(value: Any) -> str:
    """Return a value as text: scalars of a list on a line each, other lists and objects as JSON, null as an empty text.

    Raises ValueError for a value that is nested too deep.
    """
    if value is None:
        return ""
    text = scalar_text(value)
    if text is not None:
        return text
    if isinstance(value, list | tuple):
        items = [scalar_text(item) for item in value]
        if None not in items:
            return "\n".join(item for item in items if item is not None)
    return json_of(value)


def json_of(value: Any) -> str:
    """Return a value as JSON on one line, for people. Raises ValueError for a value that is nested too deep."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def scalar_text(value: Any) -> str | None:
    """Return a text, a number (4.0 as `4`) or a boolean as text; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _NUMBER.format(value) if is_number(value) else str(value)
    return value if isinstance(value, str) else None


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell whether a value is a finite number and not a boolean."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and isfinite(value))


def number_of(value: Any) -> int | float:
    """Return a number, or the only number in a text, as the answer type `number` reads it. Raises ValueError."""
    if isinstance(value, str):
        return _NUMBER.parse(value)  # type: ignore[no-any-return]
    if not is_number(value):
        raise ValueError(f"{shown_value(value)} is not a number")
    return value


def same_number(text: str, number: int | float) -> bool:
    """Tell whether a text is this number and nothing else: `4.0` is 4."""
    try:
        return Decimal(text.strip()) == Decimal(number if isinstance(number, int) else repr(number))
    except InvalidOperation:
        return False


def label_of(value: Any) -> str | None:
    """Return a value as a label: a text that is not blank, a number or a boolean; None for other values.

    A long text is cut, and distinguished from others with the same beginning by a hash.
    """
    text = (scalar_text(value) or "").strip()
    if len(text) <= LONGEST_LABEL:
        return text or None
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:LONGEST_LABEL]}… ({digest[:8]})"


def shown_label(value: Any) -> str:
    """Return a value as a predicted label; a value that cannot be a label is named by its kind."""
    label = label_of(value)
    if label is not None:
        return label
    if isinstance(value, str) or value is None:
        return "(nothing)"
    return "(object)" if isinstance(value, dict) else "(list)"


def declared_labels(answer: AnswerType | None) -> tuple[str, ...]:
    """Return the labels of a type, where they are the same for all rows."""
    if isinstance(answer, Label | Boolean):
        return answer.alternatives()
    return ()


def shown_value(value: Any, limit: int = 60) -> str:
    """Return a value as messages show it, cut where it is long."""
    try:
        text = json_of(value)
    except ValueError:
        return "a value that cannot be shown"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _one_of(names: Sequence[str], expected: Any) -> str:
    """Return the label that an expected label names, in any case where that is unambiguous. Raises ValueError."""
    text = (scalar_text(expected) or "").strip()
    if text in names:
        return text
    alike = [name for name in names if name.casefold() == text.casefold()]
    if len(alike) == 1:
        return alike[0]
    hint = nearest(text, names)
    unknown = f"{shown_value(expected)} is not one of the labels that the answer may have"
    raise ValueError(unknown + (f"; {hint}" if hint else ""))


def _several_of(answer: Labels, expected: Any) -> list[str]:
    """Return the labels of a list, or of a text that separates them by comma, semicolon or line. Raises ValueError."""
    names = tuple(answer.labels)
    if isinstance(expected, str):
        if answer.may_be_empty and expected.strip().casefold() in ("", "none"):
            return []
        marks = "".join(mark for mark in ",;" if not any(mark in name for name in names))
        expected = [part for part in re.split(f"[{marks}\n]", expected) if part.strip()]
    if not isinstance(expected, list | tuple):
        raise ValueError(f"{shown_value(expected)} is not a list of labels")
    return list(dict.fromkeys(_one_of(names, item) for item in expected))
