"""The state of a run that others may read while it goes on: options, variants, progress and defects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from promptkit.errors import PromptkitError, UnexpectedError

if TYPE_CHECKING:
    from promptkit.answers.base import AnswerType
    from promptkit.engine.requirements import Fallback
    from promptkit.engine.run import Runner
    from promptkit.evaluation.cells.tally import Tally
    from promptkit.evaluation.suite.suite import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """How to run a suite. `in_flight` is how many requests at once (None: what the model says is worth while).

    `exact` asks one at a time, since answers made in a batch can differ. `fresh` asks anew what is known,
    `retry_errors` what failed. `gives_up_on_defects` ends the asking where one defect follows the other.
    """

    in_flight: int | None = None
    exact: bool = False
    fresh: bool = False
    retry_errors: bool = False
    strict: bool = False
    gives_up_on_defects: bool = True


@dataclass(slots=True)
class VariantRun:
    """A variant at work: what runs it, what tells its cells from others, and what they say so far.

    `again` counts the variants before it that are the same but for the name: it is asked anew, to show by how much
    answers differ when nothing does. `fallbacks` are the settings that its steps do not run with on its models.
    """

    variant: Variant
    runner: Runner
    key: bytes
    tally: Tally
    answer: AnswerType | None
    again: int = 0
    fallbacks: Sequence[Fallback] = ()

    def sample(self, repeat: int) -> str:
        """Return the number of the sample that a repeat is."""
        return f"{repeat}+{self.again}" if self.again else str(repeat)


class Defects:
    """The exceptions that nothing foresaw in a run, by type and place: how many cells met each, and one traceback."""

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
        told = self.cells.most_common()
        return [{"defect": each, "cells": cells, "traceback": self._tracebacks.get(each, "")} for each, cells in told]


@dataclass(slots=True)
class EvalProgress:
    """How far a run is: of `total` cells `done` are saved, `known` of them were there before, `missing` have no answer.

    `failure` is the first reason for a missing answer, `broken` the first that says nothing of the request; `gave_up`
    tells that nothing more was asked after many. `wrong` of the cells are of rows that are wrong. `defects` are the
    exceptions that nothing foresaw.
    """

    total: int
    done: int = 0
    known: int = 0
    missing: int = 0
    failure: str = ""
    broken: str = ""
    gave_up: bool = False
    wrong: int = 0
    defects: Defects = field(default_factory=Defects)
