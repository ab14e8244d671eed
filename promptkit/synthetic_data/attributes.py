"""The attributes in which generated inputs differ, and draws of their combinations without replacement."""

from __future__ import annotations

import random
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError, Problem, place
from promptkit.project import LIBRARY, Project
from promptkit.storage.yaml import load_file

ATTRIBUTES: Final = "attributes.yaml"
MOST_ATTRIBUTES, MOST_VALUES = 20, 200


def read_attributes(given: Path | None, project: Project) -> dict[str, str | list[str]]:
    """Read attributes from a file, by default the project's or the shipped `templates/generate/attributes.yaml`.

    Each maps to its values, or to a description for which a model lists the values. Raises InputError with all
    problems.
    """
    folders = (root / "templates" / "generate" / ATTRIBUTES for root in (project.root, LIBRARY))
    file = given or next(path for path in folders if path.is_file())
    document = load_file(file)
    value = document.value
    if not isinstance(value, Mapping) or len(value) > MOST_ATTRIBUTES:
        raise InputError(Problem(f"must map at most {MOST_ATTRIBUTES} attributes to values", place(file)))
    problems: list[Problem] = []
    found: dict[str, str | list[str]] = {}
    for name, values in value.items():
        if isinstance(values, str) and values.strip():
            found[str(name)] = values
        elif isinstance(values, list) and 0 < len(values) <= MOST_VALUES and all(map(_is_scalar, values)):
            found[str(name)] = [str(item) for item in values]
        else:
            message = f"must be a description, or a list of 1 to {MOST_VALUES} texts"
            problems.append(document.problem((name,), message))
    if problems:
        raise InputError(problems)
    return found


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and bool(str(value).strip())


class Combinations:
    """Combinations of attribute values in a random order of a seed; each comes again only after all the others."""

    def __init__(self, values: Mapping[str, list[str]], seed: int) -> None:
        self._values = dict(values)
        self._seed = seed
        self._total = prod(map(len, self._values.values()))

    def at(self, number: int) -> dict[str, str]:
        """Return the combination of a draw, counted from 0."""
        round_, place = divmod(number, self._total)
        code = _permuted(place, self._total, f"{self._seed} {round_}")
        chosen: dict[str, str] = {}
        for name, values in self._values.items():
            code, at = divmod(code, len(values))
            chosen[name] = values[at]
        return chosen


def _permuted(place: int, total: int, key: str) -> int:
    """Return the number that a place has in a random permutation of `total` numbers, without making the whole of it.

    A Feistel network over the next power of four, walked until the number is in range (Black & Rogaway 2002).
    """
    half = max(1, (max(total - 1, 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = place >> half, place & mask
        for turn in range(4):
            mixed = random.Random(f"{key} {turn} {right}").getrandbits(half)
            left, right = right, left ^ mixed
        place = left << half | right
        if place < total:
            return place
