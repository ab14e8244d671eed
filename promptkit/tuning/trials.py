"""Trials (candidates evaluated on rows), their estimates, and the result of a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.tuning.search_space.candidate import Candidate

if TYPE_CHECKING:
    from promptkit.runtimes.budget import Budget
    from promptkit.tuning.calibration import CandidateCalibration
    from promptkit.tuning.evaluator import Evaluator
    from promptkit.tuning.search.screening import Effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A candidate as a stage left it: the rows it was asked, by their places, and after how many it was dropped."""

    candidate: Candidate
    stage: str
    rows: tuple[int, ...]
    dropped_at: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one part of a search did: `rows` is how many rows whoever went furthest was asked."""

    name: str
    step: str | None
    candidates: int
    rows: int
    calls: int
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told = {"name": self.name, "step": self.step, "candidates": self.candidates, "rows": self.rows}
        return {**told, "calls": self.calls, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialMeans:
    """What is wanted of a candidate, by the rows it was asked: `score` in [0, 1], the rest means a row."""

    score: float
    tokens: float
    latency: float
    unparsed: float
    calls: float

    def dominates(self, other: TrialMeans) -> bool:
        """Tell whether it is nowhere worse and somewhere better, its number of calls left aside."""
        pairs = [
            (self.score, other.score),
            (-self.tokens, -other.tokens),
            (-self.latency, -other.latency),
            (-self.unparsed, -other.unparsed),
        ]
        return all(ours >= theirs for ours, theirs in pairs) and any(ours > theirs for ours, theirs in pairs)


class Estimates:
    """Reads what a field has of candidates. `calibrating` says what those that score labels would give."""

    def __init__(self, field: Evaluator, calibrating: CandidateCalibration) -> None:
        self.field = field
        self.calibrating = calibrating

    def aims(self, candidate: Candidate, rows: Sequence[int]) -> TrialMeans:
        """Return the means over the rows that are there; of none the score is 0."""
        import numpy as np

        cells = list(self.field.cells(candidate, rows))
        scores = self.calibrating.scores(candidate, rows)
        there = scores[~np.isnan(scores)]
        count = max(1, len(cells))
        return TrialMeans(
            score=float(there.mean()) if len(there) else 0.0,
            tokens=sum(each.tokens for each in cells) / count,
            latency=sum(each.seconds for each in cells) / count,
            unparsed=sum(each.unparsed for each in cells) / count,
            calls=sum(each.calls for each in cells) / count,
        )

    def record(self, candidate: Candidate, rows: Sequence[int]) -> dict[str, Any]:
        """Return the aim with its interval on the rows that are there, in the metric's own units."""
        import numpy as np

        if self.calibrating.step(candidate) is None:
            said = self.field.estimate(candidate, rows)
            return {"mean": said.mean, "low": said.low, "high": said.high, "n": said.n}
        scores = self.calibrating.scores(candidate, rows)
        there = np.flatnonzero(~np.isnan(scores))
        if not len(there):
            return {"mean": None, "low": None, "high": None, "n": 0}
        clusters = self.field.clusters([rows[place] for place in there.tolist()])
        own = scores[there]
        binary = bool(np.isin(own, (0.0, 1.0)).all())
        mean = bounded_mean(own, there if clusters is None else clusters, binary=binary)
        ends = sorted((self.in_units(mean.low), self.in_units(mean.high)))
        return {"mean": self.in_units(mean.mean), "low": ends[0], "high": ends[1], "n": len(there)}

    def in_units(self, share: float) -> float:
        """Return a score in [0, 1] in the metric's own units."""
        metric = self.field.metric
        assert metric.bounds is not None, "an aim has bounds"
        low, high = metric.bounds
        return low + (high - low) * (share if metric.higher_is_better else 1 - share)

    def seen_record(self, seen: Trial) -> dict[str, Any]:
        """Return a candidate as the record of a tuning has it, but for what the end says of it."""
        aims = self.aims(seen.candidate, seen.rows)
        said = self.record(seen.candidate, seen.rows)
        dropped: Mapping[str, Any] | None = None
        if seen.dropped_at is not None:
            dropped = {"at": seen.dropped_at, "why": seen.why}
        return {
            "name": self.field.called(seen.candidate),
            "choices": seen.candidate.record(),
            "changes": seen.candidate.changes,
            "stage": seen.stage,
            "rows": len(seen.rows),
            "mean": said["mean"],
            "low": said["low"],
            "high": said["high"],
            "tokens": aims.tokens,
            "latency": aims.latency,
            "unparsed": aims.unparsed,
            "calls": aims.calls,
            "dropped": dropped,
        }


@dataclass(slots=True, kw_only=True)
class SearchResult:
    """What a search ended with. `ranked` are its finalists, the pick first; `seen` all that were asked, each once.

    `chosen` is the pick with the calibration that was read from its cells, as numbers.
    """

    pick: Candidate = field(default_factory=Candidate)
    chosen: Candidate = field(default_factory=Candidate)
    ranked: list[Candidate] = field(default_factory=list)
    seen: dict[str, Trial] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    effects: Effects | None = None

    def note(self, seen: Trial) -> None:
        """Keep the last that is known of a candidate."""
        self.seen[seen.candidate.key] = seen


@contextmanager
def limited_budget(budget: Budget, calls: int) -> Iterator[None]:
    """Let no more than so many calls be made in the block, and no more than the budget had before."""
    most = budget.most
    budget.most = min(most, budget.spent + calls)
    try:
        yield
    finally:
        budget.most = most
