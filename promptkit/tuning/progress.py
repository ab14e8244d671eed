"""Live progress of a tuning run, as the screen shows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from promptkit.runtimes.budget import Budget

if TYPE_CHECKING:
    from promptkit.tuning.search_space.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The leading candidate, with its mean over its `rows` so far, in the metric's own units."""

    name: str
    mean: float | None
    low: float | None
    high: float | None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Lead:
    """A candidate that leads after a number of calls, with the places of the rows that it led on."""

    candidate: Candidate
    rows: tuple[int, ...]
    calls: int


@dataclass(slots=True, kw_only=True)
class TuningProgress:
    """The progress of a search under way. The search fills it; it may be read at any time.

    `stage` and `step` are as in the record. `alive` of the `entered` candidates are still in the race. `dropped`: names
    with reasons, in order. `best`: the leader so far. `leads`: the leaders in order, block by block. `budget` counts
    what is spent.
    """

    stage: str = ""
    step: str | None = None
    alive: int = 0
    entered: int = 0
    dropped: list[tuple[str, str]] = field(default_factory=list)
    best: Incumbent | None = None
    leads: list[Lead] = field(default_factory=list)
    budget: Budget | None = None
    notes: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def begin_stage(self, stage: str, candidates: int, step: str | None = None) -> None:
        """Begin a stage with a number of candidates."""
        self.stage, self.step = stage, step
        self.alive = self.entered = candidates

    def drop(self, name: str, why: str) -> None:
        """Record that a candidate was dropped, and why."""
        self.dropped.append((name, why))
        self.alive -= 1

    def lead(self, candidate: Candidate, rows: Sequence[int], best: Incumbent) -> None:
        """Record the leader after a block, with its rows so far."""
        self.best = best
        self.leads.append(Lead(candidate, tuple(rows), int(self.calls)))

    def note(self, text: str) -> None:
        """Add a note for the person, once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def calls(self) -> int:
        """The number of requests begun."""
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
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def seconds_left(self) -> float:
        """Seconds in which requests may still be begun; infinite without a limit, never below 0."""
        return max(0.0, self.budget.deadline - time.monotonic()) if self.budget else inf
