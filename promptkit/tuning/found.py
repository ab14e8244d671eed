"""What a search has found so far, and the limit that it searches within."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promptkit.tuning.candidate import Candidate

if TYPE_CHECKING:
    from promptkit.runtimes import Budget
    from promptkit.tuning.evidence import Seen, Stage
    from promptkit.tuning.screen import Effects


@dataclass(slots=True, kw_only=True)
class Found:
    """What a search ended with. `ranked` are its finalists, the pick first; `seen` all that were asked, each once.

    `chosen` is the pick with the calibration that was read from its cells, as numbers.
    """

    pick: Candidate = field(default_factory=Candidate)
    chosen: Candidate = field(default_factory=Candidate)
    ranked: list[Candidate] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    effects: Effects | None = None

    def note(self, seen: Seen) -> None:
        """Keep the last that is known of a candidate."""
        self.seen[seen.candidate.key] = seen


@contextmanager
def limited(budget: Budget, calls: int) -> Iterator[None]:
    """Let no more than so many calls be made in the block, and no more than the budget had before."""
    most = budget.most
    budget.most = min(most, budget.spent + calls)
    try:
        yield
    finally:
        budget.most = most
