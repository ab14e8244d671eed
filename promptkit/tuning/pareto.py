"""Quality against cost: the Pareto front of trials, and the candidate that `--prefer` takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from promptkit.tuning.confirmation.confirm import NOT_WORSE_MARGIN
from promptkit.tuning.confirmation.verdict import paired_gain
from promptkit.tuning.options import PREFERENCE_INPUTS, preference_value

if TYPE_CHECKING:
    from promptkit.tuning.search_space.candidate import Candidate
    from promptkit.tuning.trials import Estimates, Trial, TrialMeans

DIGITS: Final = 9
"""What differs by rounding alone is a tie."""
LAST_RUNGS: Final = 2
"""Rows double from rung to rung: who has seen half of what the last saw has come to the last two."""


def late_trials(seen: Sequence[Trial]) -> list[Trial]:
    """Return the candidates that came to the last two rungs."""
    most = max((len(each.rows) for each in seen), default=0)
    return [each for each in seen if len(each.rows) * LAST_RUNGS >= most > 0]


def pareto_front(aims: Sequence[TrialMeans]) -> list[bool]:
    """Tell of each whether no other dominates it: on score, tokens, latency and the share of unparsed answers."""
    return [not any(other.dominates(each) for other in aims) for each in aims]


def preferred_candidate(evidence: Estimates, best: Candidate, seen: Sequence[Trial], prefer: str) -> Candidate:
    """Return the candidate that `--prefer` picks among those that came far; `best` is what the race picked.

    `best` is that. `cheap` is the one of fewest tokens whose score is not shown to be below the best's, `balanced` the
    one of fewest tokens whose score is at most 2 points below. A formula takes the highest value, of equal ones the
    first. Each is compared with the best on the rows that both have.
    """
    far = late_trials(seen)
    rows_of_best = next((set(each.rows) for each in far if each.candidate.key == best.key), set())
    if prefer == "best" or not rows_of_best:
        return best
    shared = [(each.candidate, [row for row in each.rows if row in rows_of_best]) for each in far]
    if prefer in ("cheap", "balanced"):
        near = [each for each in shared if _is_not_worse(evidence, best, *each, is_cheap=prefer == "cheap")]
        return min(near, key=lambda each: _ratio_of_tokens(evidence, best, *each))[0]
    return max(shared, key=lambda each: round(_gain_by(evidence, best, *each, formula=prefer), DIGITS))[0]


def _is_not_worse(evidence: Estimates, best: Candidate, one: Candidate, rows: Sequence[int], *, is_cheap: bool) -> bool:
    if one.key == best.key:
        return True
    ours, theirs = (evidence.calibrating.scores(each, rows) for each in (one, best))
    found = paired_gain(ours, theirs, clusters=evidence.field.clusters(rows))
    return found.high >= 0 if is_cheap else round(found.difference, DIGITS) >= NOT_WORSE_MARGIN


def _ratio_of_tokens(evidence: Estimates, best: Candidate, one: Candidate, rows: Sequence[int]) -> float:
    ours, theirs = (evidence.aims(each, rows).tokens for each in (one, best))
    return ours / max(theirs, 1.0)


def _gain_by(evidence: Estimates, best: Candidate, one: Candidate, rows: Sequence[int], *, formula: str) -> float:
    ours, theirs = (
        preference_value(formula, {name: getattr(aims, name) for name in PREFERENCE_INPUTS})
        for aims in (evidence.aims(one, rows), evidence.aims(best, rows))
    )
    return ours - theirs
