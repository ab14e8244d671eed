"""An answer type that expressions make: the row's, and each example's with its own inputs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from promptkit.answers import AnswerType
from promptkit.answers import build as build_answer
from promptkit.engine.scope import STEPS, Scope, Value
from promptkit.errors import InputError
from promptkit.prompts import Example, pack

Path = tuple[str, ...]

MOST_KEPT = 1_000
_PATH = re.compile(r"\s*\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*\}\}\s*")


class RowAnswer:
    """An answer type with expressions, built once for all that give them the same values.

    `sources` say for each input of the prompt where in the scope it comes from: there an example's input stands
    instead of the row's.
    """

    def __init__(self, value: Value, sources: Mapping[str, Path]) -> None:
        self._value = value
        self._sources = sources
        self._reads = (*sorted(value.names), STEPS)
        self._kept: dict[bytes, AnswerType] = {}

    def of_row(self, scope: Scope, absent: Collection[str] = ()) -> AnswerType:
        """Return the type of the row's answer. Raises InputError."""
        key = pack([scope.get(name, ...) for name in self._reads])
        found = None if key is None else self._kept.get(key)
        if found is None:
            found = build_answer(self._value.evaluate(scope, absent))
            if key is not None:
                if len(self._kept) >= MOST_KEPT:
                    self._kept.clear()
                self._kept[key] = found
        return found

    def of_example(self, example: Example, scope: Scope, absent: Collection[str] = ()) -> AnswerType:
        """Return the type of an example's answer. Raises InputError."""
        own = dict(scope)
        for name, path in self._sources.items():
            if name in example.inputs:
                _put(own, path, example.inputs[name])
        return self.of_row(own, absent)

    def fixed(self, example: Example) -> AnswerType | None:
        """Return the type of an example's answer where it is the same for all rows."""
        try:
            return self.of_example(example, {})
        except InputError:
            return None


def source_of(argument: Any) -> Path | None:
    """Return where in the scope an argument comes from, where it is a name or a part of one: `{{ row.options }}`."""
    found = _PATH.fullmatch(argument) if isinstance(argument, str) else None
    return tuple(found.group(1).split(".")) if found else None


def _put(scope: dict[str, Any], path: Path, value: Any) -> None:
    """Put a value at a path of a scope, whose parts are copied and not changed."""
    for key in path[:-1]:
        below = scope.get(key)
        scope[key] = dict(below) if isinstance(below, Mapping) else {}
        scope = scope[key]
    scope[path[-1]] = value
