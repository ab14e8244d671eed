"""What a tuning is about to do: told before its first call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from promptkit.tuning.wishes import Limits

if TYPE_CHECKING:
    from promptkit.tuning.candidate import Axis

GAIN_TO_ASK: Final = 0.10
"""Where only a gain above this could be shown, a person is asked before anything is spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Rows, candidates and calls of a tuning that nothing was asked for yet.

    `calls` is the most it may ask, `confirm_calls` of these are set aside for the verdict, `candidates` is how many are
    tried at most. `minutes` is at the measured rate, None until something was measured. `smallest` is the gain, as a
    share of the metric's range, that the confirm rows show four times in five; None where they can show none.
    `clusters` are those of the confirm rows, None where rows stand alone.
    """

    target: str
    suite: str
    metric: str
    optimizer: str
    search: int
    pool: int
    confirm: int
    axes: Sequence[Axis]
    candidates: int
    calls: int
    confirm_calls: int
    limits: Limits
    minutes: float | None = None
    smallest: float | None = None
    clusters: int | None = None
    notes: Sequence[str] = ()

    @property
    def asks(self) -> bool:
        """Whether a person must agree: what could be shown at all is above 10 points, to the point."""
        return self.smallest is None or round(self.smallest, 2) > GAIN_TO_ASK

    def record(self) -> dict[str, Any]:
        """Return the plan as `--dry-run --json` prints it."""
        return {
            "target": self.target,
            "suite": self.suite,
            "metric": self.metric,
            "optimizer": self.optimizer,
            "rows": {"search": self.search, "pool": self.pool, "confirm": self.confirm, "clusters": self.clusters},
            "axes": [
                {"name": axis.name, "step": axis.step, "kind": axis.kind, "levels": [each.name for each in axis.levels]}
                for axis in self.axes
            ],
            "candidates": self.candidates,
            "calls": self.calls,
            "confirm_calls": self.confirm_calls,
            "budget": self.limits.record(),
            "minutes": self.minutes,
            "smallest": self.smallest,
            "notes": list(self.notes),
        }
