"""`--set STEP.KEY=VALUE`: changes to the steps by a command line or a variant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptkit.engine.scope import Key, Location
from promptkit.engine.spec import StepSpec, labels_as_written, validate_usable
from promptkit.errors import InputError, Problem, nearest
from promptkit.storage.models import Problems
from promptkit.storage.yaml import load

SINGLE_KEY = ("technique", "over", "answer")
"""Keys whose mapping has one key, which says of which kind it is."""


def read_set_options(sets: Sequence[str]) -> dict[str, Any]:
    """Parse `a.b.c=VALUE` texts into nested mappings; values are YAML. Raises InputError with all problems."""
    changes: dict[str, Any] = {}
    problems = Problems()
    for text in sets:
        with problems.gather():
            path, value = _read_set_option(text)
            _set_nested(changes, path, value, f"--set {text}")
    problems.check()
    return changes


def read_overrides(sets: Sequence[str], changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return `--set` texts as nested mappings, with `changes` (`{"a.b.c": VALUE}`) applied over them.

    Raises InputError with all problems.
    """
    return apply_overrides(read_set_options(sets), nested_overrides(changes or {}))


def nested_overrides(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"a.b.c": VALUE}` as nested mappings. Raises InputError with every key that is not STEP.KEY."""
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
    """Return `values` with `changes` applied. Mappings are merged key by key; null removes a key.

    A `technique` or `answer` of another kind replaces the old one, as do `examples` that say where they are `from`.
    """
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        if change is None:
            result.pop(key, None)
        elif isinstance(change, Mapping) and isinstance(old, Mapping) and not _replaces(key, change, old):
            result[key] = apply_overrides(old, change)
        else:
            result[key] = change
    return result


def _replaces(key: str, change: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Tell whether a mapping takes the place of an old one as a whole."""
    return (key in SINGLE_KEY and bool(change.keys() - old)) or (key == "examples" and "from" in change)


def report_unknown_steps(changes: Mapping[str, Any], steps: Collection[str], problems: Problems) -> None:
    """Report `--set` options for steps that do not exist."""
    for name in changes:
        if name not in steps:
            problems.add(Problem(f"--set {name}.…: there is no step `{name}`", hint=nearest(name, steps)))


@dataclass(frozen=True, slots=True)
class StepOverrides:
    """The `--set` options of one step. A problem with a key that one of them sets names the option instead of the file.

    `location` is the step's place in its file.
    """

    step: str
    changes: Mapping[str, Any]
    location: Location

    def problem(self, path: Sequence[Key], message: str, hint: str | None = None) -> Problem:
        """Return a problem with the part of the step at `path`."""
        if path and path[0] in self.changes:
            return self._option_problem(path[:1], message, hint)
        return self.location.problem(path, message, hint)

    def apply(self, given: Mapping[str, Any], problems: Problems) -> StepSpec:
        """Return the step with its overrides applied. `given` are the keys of its file, already checked."""
        spec = StepSpec.model_validate(given)
        if not self.changes:
            return spec
        raw = spec.model_dump(by_alias=True, exclude_unset=True)
        return validate_usable(apply_overrides(raw, self.changes), StepSpec, self._option_problem, problems) or spec

    def _option_problem(self, path: Sequence[Key], message: str, hint: str | None) -> Problem:
        return Problem(f"--set {'.'.join([self.step, *map(str, path)])}: {message}", hint=hint)


def _read_set_option(text: str) -> tuple[list[str], Any]:
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or len(path) < 2 or not all(path):
        raise InputError(Problem(f"`--set {text}` must be STEP.KEY=VALUE"))
    if value.lstrip().startswith("{{"):
        return path, value
    document = load(value, file=f"--set {key}")
    if path[1:] == ["cue"] and isinstance(document.value, Mapping):
        return path, value.strip()  # a cue ends with a colon, as the key of a mapping does
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
