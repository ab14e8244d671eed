"""`--set STEP.KEY=VALUE`: changes that a command line or a variant makes to the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptkit.engine.spec import labels_as_written
from promptkit.errors import InputError, Problem
from promptkit.storage.models import Problems
from promptkit.storage.yaml import load

SINGLE_KEY = ("technique", "over", "answer")
"""Keys whose mapping has one key, which says of which kind it is."""


def read_set_options(sets: Sequence[str]) -> dict[str, Any]:
    """Return `a.b.c=VALUE` texts as nested mappings, the values read as YAML. Raises InputError with all problems."""
    changes: dict[str, Any] = {}
    problems = Problems()
    for text in sets:
        with problems.gather():
            path, value = _read_set_option(text)
            _set_nested(changes, path, value, f"--set {text}")
    problems.check()
    return changes


def read_overrides(sets: Sequence[str], changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return `--set` texts, and over them the same as values (`{"a.b.c": VALUE}`), as nested mappings.

    Raises InputError with all problems.
    """
    return apply_overrides(read_set_options(sets), nested_overrides(changes or {}))


def nested_overrides(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"a.b.c": VALUE}` as nested mappings. Raises InputError with all keys that are none."""
    result: dict[str, Any] = {}
    problems = Problems()
    for key, value in changes.items():
        with problems.gather():
            path = key.split(".")
            if len(path) < 2 or not all(path):
                raise InputError(Problem(f"`{key}` must be STEP.KEY"))
            _set_nested(result, path, value, key)
    problems.check()
    return result


def apply_overrides(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with `changes` over them; mappings are merged key by key, null takes a key away.

    Of what names one of several kinds (`technique`, `answer`) another kind takes the place of the old one.
    """
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        if change is None:
            result.pop(key, None)
        elif (
            isinstance(change, Mapping) and isinstance(old, Mapping) and not (key in SINGLE_KEY and change.keys() - old)
        ):
            result[key] = apply_overrides(old, change)
        else:
            result[key] = change
    return result


def _read_set_option(text: str) -> tuple[list[str], Any]:
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or len(path) < 2 or not all(path):
        raise InputError(Problem(f"`--set {text}` must be STEP.KEY=VALUE"))
    if value.lstrip().startswith("{{"):
        return path, value
    document = load(value, file=f"--set {key}")
    if "answer" not in path[1:]:
        return path, document.value
    below = path[path.index("answer", 1) + 1 :]
    answer: Any = document.value
    for part in reversed(below):
        answer = {part: answer}
    answer = labels_as_written(answer, lambda place: document.text(place[len(below) :]))
    for part in below:
        answer = answer[part]
    return path, answer


def _set_nested(changes: dict[str, Any], path: list[str], value: Any, text: str) -> None:
    place = changes
    for key in path[:-1]:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise InputError(Problem(f"`{text}` contradicts an earlier one"))
    place[path[-1]] = value
