"""The state of a run that others may read while it goes on: options, variants, progress and defects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.engine.requirements import Fallback
from promptkit.engine.run import Runner
from promptkit.errors import PromptkitError, UnexpectedError
from promptkit.evaluation.cells.tally import Tally
from promptkit.evaluation.suite.suite import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """Options of a run. `in_flight` is the number of concurrent requests (None: the number that the model suggests).

    `exact` asks one at a time, since answers made in a batch can differ. `fresh` asks known cells again,
    `retry_errors` failed ones. `strict` and `strict_on` are those of `RunSettings`. `gives_up_on_defects` ends the run
    where one defect follows the other.
    """

    in_flight: int | None = None
    exact: bool = False
    fresh: bool = False
    retry_errors: bool = False
    strict: bool = False
    strict_on: frozenset[str] = frozenset()
    gives_up_on_defects: bool = True


@dataclass(slots=True)
class VariantRun:
    """A variant being evaluated: its runner, the key of its cells, and its running totals.

    `again` counts the variants before it that differ by name alone: it is asked again, to show by how much answers
    differ when nothing else does. `fallbacks` are the settings that its steps cannot run with on its models.
    """

    variant: Variant
    runner: Runner
    key: bytes
    tally: Tally
    answer: AnswerType | None
    again: int = 0
    fallbacks: Sequence[Fallback] = ()

    def sample(self, repeat: int) -> str:
        """Return the name of the sample for a repeat."""
        return f"{repeat}+{self.again}" if self.again else str(repeat)


class Defects:
    """Unexpected exceptions of a run, by type and place, with the number of their cells and one traceback each."""

    def __init__(self) -> None:
        self.cells: Counter[str] = Counter()
        self._tracebacks: dict[str, str] = {}

    def add(self, others: Defects) -> None:
        """Count those of another run too."""
        self.cells.update(others.cells)
        self._tracebacks |= others._tracebacks

    def explain(self, error: PromptkitError | None) -> None:
        """Keep the traceback of an unexpected error, where there is none of its kind yet."""
        if isinstance(error, UnexpectedError):
            self._tracebacks.setdefault(error.defect, error.traceback)

    def record(self) -> list[dict[str, Any]]:
        """Return the defects as JSON, the most frequent first."""
        return [
            {"defect": defect, "cells": cells, "traceback": self._tracebacks.get(defect, "")}
            for defect, cells in self.cells.most_common()
        ]


@dataclass(slots=True)
class EvalProgress:
    """The progress of a run: of `total` cells `done` are saved, `known` were there before, `missing` have no answer.

    `failure` is the first reason for a missing answer, `broken` the first that is not about the request; `gave_up`: the
    run ended early after many of them. `wrong` cells belong to invalid rows. `serving` says how far the measurement of
    serving is. `defects` are unexpected exceptions.
    """

    total: int
    done: int = 0
    known: int = 0
    missing: int = 0
    failure: str = ""
    broken: str = ""
    gave_up: bool = False
    wrong: int = 0
    serving: str = ""
    defects: Defects = field(default_factory=Defects)
