"""Quality against cost: the Pareto front of trials, and the candidate that `--prefer` takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

import numpy as np

from promptkit.tuning.confirmation.confirm import NOT_WORSE_MARGIN
from promptkit.tuning.confirmation.verdict import paired_gain
from promptkit.tuning.preference import BEST, CHEAP
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.trials import Estimates, Trial, TrialMeans

DIGITS: Final = 9
"""Decimals that are compared: differences by rounding alone are ties."""
LAST_RUNGS: Final = 2
"""Rows double from rung to rung: a trial on half of the most rows reached the last two rungs."""


def late_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that reached the last two rungs."""
    most = max((len(trial.rows) for trial in trials), default=0)
    return [trial for trial in trials if len(trial.rows) * LAST_RUNGS >= most > 0]


def pareto_front(aims: Sequence[TrialMeans]) -> list[bool]:
    """Return for each whether none dominates it in score, tokens, latency and share of unparsed answers."""
    return [not any(other.dominates(means) for other in aims) for means in aims]


def preferred_candidate(estimates: Estimates, best: Candidate, trials: Sequence[Trial]) -> Candidate:
    """Return the candidate that `--prefer` picks among the late trials; `best` is the winner of the search.

    "best": the winner. "cheap": fewest tokens among those not shown to be below the winner. "balanced": fewest tokens
    among those at most 2 points below. A formula: the highest mean value, the first of equal ones; a race ends with it
    already. Each candidate is compared with the winner on the rows that both have, without those that either shows as
    examples: it has no score on these by its own doing.
    """
    far, prefer = late_trials(trials), estimates.preference
    rows_of_best = next((set(trial.rows) for trial in far if trial.candidate.key == best.key), set())
    if prefer.text == BEST or not rows_of_best:
        return best
    counted = rows_of_best - best.shows
    shared = [
        (trial.candidate, [row for row in trial.rows if row in counted and row not in trial.candidate.shows])
        for trial in far
    ]
    if prefer.is_formula:
        return max(shared, key=lambda pair: round(_value_gain(estimates, best, *pair), DIGITS))[0]
    near = [(candidate, rows) for candidate, rows in shared if is_as_good(estimates, best, candidate, rows)]
    return min(near, key=lambda pair: _ratio_of_tokens(estimates, best, *pair))[0]


def is_as_good(estimates: Estimates, best: Candidate, other: Candidate, rows: Sequence[int]) -> bool:
    """Tell whether "cheap" or "balanced" takes another candidate for fewer tokens, by the rows that both have."""
    if other.key == best.key:
        return True
    ours, theirs = (estimates.calibration.scores(candidate, rows) for candidate in (other, best))
    paired = paired_gain(ours, theirs, clusters=estimates.evaluator.clusters(rows))
    if estimates.preference.text == CHEAP:
        return paired.high >= 0
    return round(paired.difference, DIGITS) >= NOT_WORSE_MARGIN


def _ratio_of_tokens(estimates: Estimates, best: Candidate, other: Candidate, rows: Sequence[int]) -> float:
    ours, theirs = (estimates.means(candidate, rows).tokens for candidate in (other, best))
    return ours / max(theirs, 1.0)


def _value_gain(estimates: Estimates, best: Candidate, candidate: Candidate, rows: Sequence[int]) -> float:
    """Return the mean difference of the values on the rows where both have one."""
    gains = estimates.values(candidate, rows) - estimates.values(best, rows)
    there = gains[~np.isnan(gains)]
    return float(there.mean()) if len(there) else -inf
