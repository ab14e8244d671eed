"""What was prepared for a step, as its technique takes it up: all that is not as it must be is a person's to mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptkit.errors import InputError, Problem
from promptkit.techniques.needs import not_prepared

if TYPE_CHECKING:
    from promptkit.techniques.task import Task


def prepared_items(task: Task) -> tuple[Mapping[str, Any], ...]:
    """Return the items prepared for a task's step. Raises InputError where there are none."""
    if task.artifact is None or not task.artifact.items:
        raise not_prepared(*reversed(task.artifact_name.rsplit(".", 1)))
    return task.artifact.items


def showing_prepared(task: Task) -> Task:
    """Return the task with the prepared items as its examples, all but one whose input is the very one asked.

    Raises InputError where there are none, and with each item that lacks its input, thoughts or output.
    """
    items = prepared_items(task)
    problems = list(_problems(items, f"{task.artifact_name}.yaml"))
    if problems:
        raise InputError(problems)
    return task.showing(item for item in items if not _asked(item["input"], task.inputs))


def _problems(items: Sequence[Mapping[str, Any]], file: str) -> Iterator[Problem]:
    for number, item in enumerate(items, start=1):
        given = item.get("input")
        if not isinstance(given, Mapping):
            yield Problem(f"item {number} has no `input`", file, hint="`input: {NAME: VALUE}`")
            continue
        empty = [f"`{key}`" for key in ("thoughts", "output") if _is_empty(item.get(key))]
        if empty:
            asked = "; ".join(" ".join(str(value).split()) for value in given.values())
            yield Problem(f"item {number}: fill in {' and '.join(empty)}", file, hint=f"it is about: {asked:.100}")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _asked(given: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    return all(name in inputs and inputs[name] == value for name, value in given.items())
