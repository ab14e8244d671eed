"""Trials (candidates evaluated on rows), their estimates, and the result of a search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.runtimes.budget import Budget
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.preference import Preference
from promptkit.tuning.progress import Incumbent
from promptkit.tuning.search.effects import Effects
from promptkit.tuning.search_space.candidate import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A candidate evaluated on rows: the rows, by their places, and the number of rows after which it was dropped,
    if it was.
    """

    candidate: Candidate
    stage: str
    rows: tuple[int, ...]
    dropped_at: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a search. `rows` is the number of rows of the candidate that went furthest."""

    name: str
    step: str | None
    candidates: int
    rows: int
    calls: int
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the stage as JSON has it."""
        return {
            "name": self.name,
            "step": self.step,
            "candidates": self.candidates,
            "rows": self.rows,
            "calls": self.calls,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialMeans:
    """The means of a trial over its rows: `score` in [0, 1], the others per row."""

    score: float
    tokens: float
    latency: float
    unparsed: float
    calls: float

    def dominates(self, other: TrialMeans) -> bool:
        """Tell whether it is nowhere worse and somewhere better than another, the number of calls left aside."""
        pairs = [
            (self.score, other.score),
            (-self.tokens, -other.tokens),
            (-self.latency, -other.latency),
            (-self.unparsed, -other.unparsed),
        ]
        return all(ours >= theirs for ours, theirs in pairs) and any(ours > theirs for ours, theirs in pairs)


class Estimates:
    """Estimates of candidates from search rows, those that score labels calibrated. Never the final result.

    A search compares candidates by their `values`, which follow `preference`.
    """

    def __init__(
        self, evaluator: Evaluator, calibration: CandidateCalibration, preference: Preference | None = None
    ) -> None:
        self.evaluator = evaluator
        self.calibration = calibration
        self.preference = preference or Preference()

    def values(self, candidate: Candidate, rows: Sequence[int]) -> NDArray[np.float64]:
        """Return the values by which a search compares candidates, (rows,), higher is better: by default the score.

        NaN where there is no score. Raises InputError if the formula of the preference gives no number.
        """
        results = [self.evaluator.result(candidate, row) for row in rows]
        return self.preference.values(self.calibration.scores(candidate, rows), results)

    def mean_value(self, candidate: Candidate, rows: Sequence[int]) -> float:
        """Return the mean of the values; without any it is 0, the lowest score, or NaN if they are a formula's."""
        values = self.values(candidate, rows)
        there = values[~np.isnan(values)]
        return float(there.mean()) if len(there) else np.nan if self.preference.is_formula else 0.0

    def means(self, candidate: Candidate, rows: Sequence[int]) -> TrialMeans:
        """Return the means over the rows that have results; without any the score is 0."""
        results = list(self.evaluator.results(candidate, rows))
        scores = self.calibration.scores(candidate, rows)
        there = scores[~np.isnan(scores)]
        count = max(1, len(results))
        return TrialMeans(
            score=float(there.mean()) if len(there) else 0.0,
            tokens=sum(result.tokens for result in results) / count,
            latency=sum(result.seconds for result in results) / count,
            unparsed=sum(result.unparsed for result in results) / count,
            calls=sum(result.calls for result in results) / count,
        )

    def estimate_record(self, candidate: Candidate, rows: Sequence[int]) -> dict[str, Any]:
        """Return the estimated metric with its interval on the rows that have results, in the metric's own units."""
        if self.calibration.step(candidate) is None:
            estimate = self.evaluator.estimate(candidate, rows)
            return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "n": estimate.n}
        scores = self.calibration.scores(candidate, rows)
        there = np.flatnonzero(~np.isnan(scores))
        if not len(there):
            return {"mean": None, "low": None, "high": None, "n": 0}
        clusters = self.evaluator.clusters([rows[place] for place in there.tolist()])
        known = scores[there]
        binary = bool(np.isin(known, (0.0, 1.0)).all())
        mean = bounded_mean(known, there if clusters is None else clusters, binary=binary)
        ends = sorted((self.in_units(mean.low), self.in_units(mean.high)))
        return {"mean": self.in_units(mean.mean), "low": ends[0], "high": ends[1], "n": len(there)}

    def leader(self, candidate: Candidate, rows: Sequence[int]) -> Incumbent:
        """Return a leading candidate as the screen shows it."""
        estimate = self.estimate_record(candidate, rows)
        label, ends = self.evaluator.label(candidate), (estimate["low"], estimate["high"])
        return Incumbent(label, estimate["mean"], *ends, rows=estimate["n"])

    def common_score(self, asked: Iterable[tuple[Candidate, Sequence[int]]]) -> float | None:
        """Return the score in [0, 1] that all answers of candidates to their rows have; None if they differ."""
        found = {
            score
            for candidate, rows in asked
            for score in self.calibration.scores(candidate, rows).tolist()
            if not isnan(score)
        }
        return found.pop() if len(found) == 1 else None

    def in_units(self, share: float) -> float:
        """Return a score in [0, 1] in the metric's own units."""
        metric = self.evaluator.metric
        assert metric.bounds is not None, "an objective has bounds"
        low, high = metric.bounds
        return low + (high - low) * (share if metric.higher_is_better else 1 - share)

    def trial_record(self, trial: Trial) -> dict[str, Any]:
        """Return a trial as the record of a tuning run has it, without what the end of the run adds."""
        means = self.means(trial.candidate, trial.rows)
        estimate = self.estimate_record(trial.candidate, trial.rows)
        dropped: Mapping[str, Any] | None = None
        if trial.dropped_at is not None:
            dropped = {"at": trial.dropped_at, "why": trial.why}
        return {
            "name": self.evaluator.label(trial.candidate),
            "choices": trial.candidate.record(),
            "changes": trial.candidate.changes,
            "stage": trial.stage,
            "rows": len(trial.rows),
            "mean": estimate["mean"],
            "low": estimate["low"],
            "high": estimate["high"],
            "tokens": means.tokens,
            "latency": means.latency,
            "unparsed": means.unparsed,
            "calls": means.calls,
            "dropped": dropped,
        }


@dataclass(slots=True, kw_only=True)
class SearchResult:
    """The result of a search.

    `incumbent`: the best candidate so far. `calibrated`: the incumbent with the calibration that was read from its
    results, as numbers. `finalists`: the incumbent first. `trials`: one per candidate, by its key. `effects`: those of
    the screen, with the prior if there is one; `effects_alone`: by the screen's answers alone.
    """

    incumbent: Candidate = field(default_factory=Candidate)
    calibrated: Candidate = field(default_factory=Candidate)
    finalists: list[Candidate] = field(default_factory=list)
    trials: dict[str, Trial] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    effects: Effects | None = None
    effects_alone: Effects | None = None

    def add_trial(self, trial: Trial) -> None:
        """Add a trial in place of an earlier one of the same candidate."""
        self.trials[trial.candidate.key] = trial


@contextmanager
def limited_budget(budget: Budget, calls: int) -> Iterator[None]:
    """Allow at most so many calls within the block, and at most the budget's earlier limit."""
    most = budget.most
    budget.most = min(most, budget.spent + calls)
    try:
        yield
    finally:
        budget.most = most
