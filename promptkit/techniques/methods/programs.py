"""The value of a program as the answer of a step."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from promptkit.answers.reader.verdicts import judgements, verdict
from promptkit.techniques.context import Answer
from promptkit.techniques.task import Task

_MIDNIGHT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T00:00:00")
_AFFIRM: Final = frozenset(("supports", "entails", "entailment", "pass", "passed"))
_DENY: Final = frozenset(("refutes", "contradicts", "contradiction", "contradicted", "fail", "failed"))
_NEGATING: Final = re.compile(r"^(?:not|non|no|un|in|im|ir|dis)[ _-]?", re.IGNORECASE)


def value_answer(task: Task, value: Any) -> Answer:
    """Return a program's value as the answer: as it is, or in the form nearest to it that the answer type takes.

    Tried in this order: the value; its items, a row of one cell as its cell, as they are and as texts; the only item;
    the label that says what True and False or 1 and 0 do. Last, the text of the value is read.
    """
    value = plain(value)
    alone = single(value)
    unfit = task.answer(value)
    for candidate in _forms(task, value, alone):
        if (answer := task.answer(candidate)).flag is None:
            return answer
    read = unfit if alone is None else task.parse(text_of(alone))
    return unfit if read.flag else read


def _forms(task: Task, value: Any, alone: Any) -> Iterator[Any]:
    rows = [_only_cell(row) for row in value] if isinstance(value, list) else value
    yield from (value, rows, _texts(rows), alone, _texts(alone))
    if isinstance(alone, int) and alone in (0, 1):
        yield bool(alone)
        yield label_of(task.answer_type.alternatives(), bool(alone))


def label_of(labels: tuple[str, ...], value: bool) -> str | None:
    """Return the label that says what True or False does (`yes`, `refuted`, `not spam`); None if that is not clear."""
    meanings = _meanings(labels)
    meant = [label for label, meaning in zip(labels, meanings, strict=True) if meaning is value]
    return meant[0] if len(meant) == 1 else None


def _meanings(labels: tuple[str, ...]) -> tuple[bool | None, ...]:
    """Return the truth value of each label, None where it affirms and denies nothing; of two, one denies the other."""
    if len(labels) != 2:
        return tuple(map(_meaning, labels))
    one, other = labels
    if _is_denial(one, other) or _is_denial(other, one):
        return (_is_denial(other, one), _is_denial(one, other))
    first, second = _meaning(one), _meaning(other)
    if first is None and second is not None:
        return (not second, second)
    return (first, not first) if second is None and first is not None else (first, second)


def _is_denial(label: str, other: str) -> bool:
    """Tell whether a label is another one with a negating word or syllable before it."""
    rest = _NEGATING.sub("", label, count=1)
    return rest != label and rest.casefold() == other.casefold()


def _meaning(label: str) -> bool | None:
    """Return the truth value that a label has by itself; None where it neither affirms nor denies."""
    word = label.casefold()
    if word in _AFFIRM or word in _DENY:
        return word in _AFFIRM
    if (found := verdict(label)) is not None:
        return found
    judged = {bool(mention.value) for mention in judgements(label)}
    return judged.pop() if len(judged) == 1 else None


def text_of(value: Any) -> str:
    """Return a value as text: a text as it is, others as JSON."""
    return value if isinstance(value, str) else json.dumps(scalar(value), ensure_ascii=False)


def _texts(value: Any) -> Any:
    """Return the items of a list as texts; others as they are."""
    return list(map(text_of, value)) if isinstance(value, list) else value


def _only_cell(row: Any) -> Any:
    """Return the cell of a row that has one; others as they are."""
    return single(row) if isinstance(row, list | Mapping) and len(row) == 1 else row


def plain(value: Any) -> Any:
    """Return a value with its numbers as `scalar` has them, and a time at midnight as its date."""
    if isinstance(value, list):
        return list(map(plain, value))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, str) and (date := _MIDNIGHT.fullmatch(value)):
        return date[1]
    return scalar(value)


def scalar(value: Any) -> Any:
    """Return a number without floating-point noise: six decimals, an integer if whole; others as they are."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    value = round(value, 6) if abs(value) >= 1 else float(f"{value:.6g}")
    return int(value) if value.is_integer() else value


def single(value: Any) -> Any:
    """Return the only item of a list, the first value of a mapping; others as they are."""
    if isinstance(value, list) and len(value) == 1:
        return scalar(value[0])
    if isinstance(value, Mapping) and value:
        return scalar(next(iter(value.values())))
    return value
