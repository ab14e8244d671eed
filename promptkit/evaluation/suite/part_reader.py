"""Reads the expressions of a suite's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from promptkit.engine.scope import CompiledValue, Location, compile_value
from promptkit.engine.spec import Report
from promptkit.errors import Problem, nearest
from promptkit.storage.models import Problems
from promptkit.storage.yaml import Document

PathKey = str | int


class PartReader:
    """Reads the expressions of one suite; mistakes go into `problems`."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self._document = document
        self._problems = problems

    def report(self, path: Sequence[PathKey]) -> Report:
        """Return a function that places problems below a path."""

        def report(below: Sequence[PathKey], message: str, hint: str | None = None) -> Problem:
            return self._document.problem((*path, *below), message, hint)

        return report

    def inputs(self, given: Mapping[str, Any] | None, path: tuple[PathKey, ...]) -> dict[str, CompiledValue] | None:
        """Return the expressions of `inputs:`, None where there are none."""
        if given is None:
            return None
        found = {name: self.value(text, (*path, name), ("row",)) for name, text in given.items()}
        return {name: value for name, value in found.items() if value is not None}

    def value(
        self, value: Any, path: tuple[PathKey, ...], names: Sequence[str], *, bare: bool = False
    ) -> CompiledValue | None:
        """Return a value compiled, None where there is none; it may read `names`. `bare`: one expression."""
        if value is None:
            return None
        compiled = compile_value(value, Location(self._document, path), self._problems, bare=bare)
        for text in compiled.texts:
            for name in sorted(text.names - set(names)):
                hint = f"write `row.{name}`" if "row" in names else nearest(name, names)
                self._problems.add(replace(text.place, message=f"unknown name `{name}`", hint=hint))
        return compiled
