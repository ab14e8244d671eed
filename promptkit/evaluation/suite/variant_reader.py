"""Reads the variants of a suite's file."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from promptkit.engine.spec import labels_as_written
from promptkit.errors import Problem
from promptkit.evaluation.suite.part_reader import PathKey
from promptkit.evaluation.suite.spec import SuiteSpec
from promptkit.evaluation.suite.suite import MOST_VARIANTS, TargetSource, Variant, expand_variants, read_variant
from promptkit.storage.models import Problems
from promptkit.storage.yaml import Document


class VariantReader:
    """Reads `variants:` and `matrix:` of a suite; mistakes go into `problems`."""

    def __init__(self, document: Document, spec: SuiteSpec, problems: Problems) -> None:
        self._document = document
        self._problem = document.problem
        self._spec = spec
        self._problems = problems

    def read(self, source: TargetSource) -> tuple[Variant, ...]:
        """Return the variants that can be read, the baseline first."""
        named = self._named()
        for key, values in self._spec.matrix.items():
            if not values:
                self._problems.add(self._problem(("matrix", key), "there is nothing to try"))
        found: list[Variant] = []
        every = list(islice(expand_variants(named, self.matrix()), MOST_VARIANTS + 1))
        if len(every) > MOST_VARIANTS:
            self._problems.add(self._problem(("matrix",), f"more than {MOST_VARIANTS} variants"))
            every = every[:1]  # The others would be read for nothing.
        for name, sets in every:

            def where(key: str, name: str = name) -> Problem:
                path = ("matrix", key) if key in self._spec.matrix else ("variants", name, key)
                return self._problem(path if key else path[:1], "")

            with self._problems.gather():
                found.append(read_variant(name, sets, source, where))
        return tuple(found)

    def matrix(self) -> dict[str, list[Any]]:
        """Return the matrix with its labels as they are written."""
        return {key: self._labels(("matrix", key), key, values) for key, values in self._spec.matrix.items()}

    def _named(self) -> dict[str, dict[str, Any]]:
        """Return the named variants with their labels as they are written."""
        named: dict[str, dict[str, Any]] = {}
        for name, sets in self._spec.variants.items():
            path = ("variants", name)
            if sets is None:
                named[name] = {}
            elif isinstance(sets, Mapping):
                named[name] = {key: self._labels((*path, key), key, value) for key, value in sets.items()}
            else:
                self._problems.add(self._problem(path, "must be a mapping of its settings: `{STEP.KEY: VALUE}`"))
        return named

    def _labels(self, path: tuple[PathKey, ...], key: str, value: Any) -> Any:
        if not key.endswith(".answer"):
            return value
        if isinstance(value, list):
            return [self._labels((*path, number), key, part) for number, part in enumerate(value)]
        return labels_as_written(value, lambda below: self._document.text((*path, *below)))
