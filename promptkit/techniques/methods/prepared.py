"""Prepared items as their technique uses them. All problems in an artifact are reported for a person to fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.errors import InputError, Problem, nearest
from promptkit.prompts.tfidf import LexicalIndex
from promptkit.techniques.needs import not_prepared
from promptkit.techniques.task import Task

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")

ItemProblem = tuple[str, str | None]
"""The problem of an item, and a hint."""


def prepared_items(task: Task, *keys: str) -> tuple[Mapping[str, Any], ...]:
    """Return the items prepared for a task's step. Raises InputError for none, and for each with an empty key."""
    if task.artifact is None or not task.artifact.items:
        home, _, technique = task.artifact_name.rpartition(".")
        raise not_prepared(technique, home)
    _raise_problems(task, (_unfilled(item, keys) for item in task.artifact.items))
    return task.artifact.items


def with_prepared_examples(task: Task, *, most_alike: int | None = None) -> Task:
    """Return the task with the prepared items as its examples, without an item that has the same input.

    `most_alike` keeps so many, whose inputs have the most words in common with the task's; numbers do not tell them
    apart. Raises InputError if there are none, and for each item without input, thoughts or output, with an input that
    the step does not have, or with an output that is not an answer.
    """
    items = prepared_items(task)
    _raise_problems(task, (_without_input(task, item) or _unfilled(item, ("thoughts", "output")) for item in items))
    kinds = task.showing(items).example_types
    _raise_problems(task, (_no_answer(kind, item["output"]) for kind, item in zip(kinds, items, strict=True)))
    others = [item for item in items if not _is_asked(item["input"], task.inputs)]
    return task.showing(others if most_alike is None else _most_alike(others, task.inputs, most_alike))


def _most_alike(
    items: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any], count: int
) -> Sequence[Mapping[str, Any]]:
    """Return the items whose inputs are most like the given ones but for their numbers, in their order."""
    if len(items) <= count:
        return items
    asked = {name: inputs.get(name, "") for name in items[0]["input"]}
    nearest = LexicalIndex([_shape(item["input"]) for item in items]).nearest(_shape(asked), count)
    return [items[at] for at in sorted(nearest)]


def _shape(inputs: Mapping[str, Any]) -> str:
    return _NUMBER.sub("0", " ".join(map(str, inputs.values())))


def _raise_problems(task: Task, wrong: Iterable[ItemProblem | None]) -> None:
    """Raise InputError where items are wrong."""
    file = f"{task.artifact_name}.yaml"
    found = [
        Problem(f"item {number}{problem[0]}", file, hint=problem[1])
        for number, problem in enumerate(wrong, 1)
        if problem
    ]
    if found:
        raise InputError(found)


def _without_input(task: Task, item: Mapping[str, Any]) -> ItemProblem | None:
    given = item.get("input")
    if not isinstance(given, Mapping) or not given:
        return " has no `input`", "`input: {NAME: VALUE}`"
    unknown = next((str(name) for name in given if name not in task.input_names), None)
    return (f": there is no input `{unknown}`", nearest(unknown, task.input_names)) if unknown else None


def _unfilled(item: Mapping[str, Any], keys: Sequence[str]) -> ItemProblem | None:
    empty = [f"`{key}`" for key in keys if _is_empty(item.get(key))]
    if not empty:
        return None
    given = item.get("input")
    values = given.values() if isinstance(given, Mapping) else [given]
    asked = "; ".join(" ".join(str(value).split()) for value in values)
    return f": fill in {' and '.join(empty)}", f"it is about: {asked:.100}"


def _no_answer(kind: AnswerType, output: Any) -> ItemProblem | None:
    try:
        kind.write(output)
    except ValueError as error:
        return f": the output is not an answer: {error}", None
    return None


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _is_asked(given: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    return all(name in inputs and inputs[name] == value for name, value in given.items())
