"""Live progress of a tuning run, as the screen shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptkit.runtimes.budget import Budget


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The candidate that leads, with its mean over the rows it was asked so far, in the metric's own units."""

    name: str
    mean: float | None
    low: float | None
    high: float | None


@dataclass(slots=True, kw_only=True)
class TuningProgress:
    """A search under way. `stage` and `step` are as in the record, `alive` of the `entered` candidates are still in it.

    `dropped` are names with why, in their order; `best` is only what leads so far. What was spent is `budget`'s own
    count.
    """

    stage: str = ""
    step: str | None = None
    alive: int = 0
    entered: int = 0
    dropped: list[tuple[str, str]] = field(default_factory=list)
    best: Incumbent | None = None
    budget: Budget | None = None
    noted: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def enter(self, stage: str, candidates: int, step: str | None = None) -> None:
        """Begin a stage with so many candidates."""
        self.stage, self.step = stage, step
        self.alive = self.entered = candidates

    def drop(self, name: str, why: str) -> None:
        """Note that a candidate is out of the field, and why."""
        self.dropped.append((name, why))
        self.alive -= 1

    def note(self, told: str) -> None:
        """Note something for a person, once."""
        if told not in self.noted:
            self.noted.append(told)

    @property
    def calls(self) -> int:
        """How many requests were begun."""
        return self.budget.spent if self.budget else 0

    @property
    def most_calls(self) -> float:
        return self.budget.most if self.budget else inf

    @property
    def tokens(self) -> int:
        return self.budget.spent_tokens if self.budget else 0

    @property
    def most_tokens(self) -> float:
        return self.budget.most_tokens if self.budget else inf

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._began

    @property
    def seconds_left(self) -> float:
        """How long requests may still be begun; infinite without a limit, never below 0."""
        return max(0.0, self.budget.deadline - time.monotonic()) if self.budget else inf
