"""More than one aim: which candidates no other is better than in all, and which of them is preferred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from promptkit.tuning.confirm import MARGIN
from promptkit.tuning.verdict import gain
from promptkit.tuning.wishes import AIMS, preference

if TYPE_CHECKING:
    from promptkit.tuning.candidate import Candidate
    from promptkit.tuning.evidence import Aims, Evidence, Seen

DIGITS: Final = 9
"""What differs by rounding alone is a tie."""
LAST_RUNGS: Final = 2
"""Rows double from rung to rung: who has seen half of what the last saw has come to the last two."""


def comparable(seen: Sequence[Seen]) -> list[Seen]:
    """Return the candidates that came to the last two rungs."""
    most = max((len(each.rows) for each in seen), default=0)
    return [each for each in seen if len(each.rows) * LAST_RUNGS >= most > 0]


def front(aims: Sequence[Aims]) -> list[bool]:
    """Tell of each whether no other dominates it: on score, tokens, latency and the share of unparsed answers."""
    return [not any(other.dominates(each) for other in aims) for each in aims]


def preferred(evidence: Evidence, best: Candidate, seen: Sequence[Seen], prefer: str) -> Candidate:
    """Return the candidate that `--prefer` picks among those that came far; `best` is what the race picked.

    `best` is that. `cheap` is the one of fewest tokens whose score is not shown to be below the best's, `balanced` the
    one of fewest tokens whose score is at most 2 points below. A formula takes the highest value, of equal ones the
    first. Each is compared with the best on the rows that both have.
    """
    far = comparable(seen)
    rows_of_best = next((set(each.rows) for each in far if each.candidate.key == best.key), set())
    if prefer == "best" or not rows_of_best:
        return best
    shared = [(each.candidate, [row for row in each.rows if row in rows_of_best]) for each in far]
    if prefer in ("cheap", "balanced"):
        near = [each for each in shared if _is_near(evidence, best, *each, is_cheap=prefer == "cheap")]
        return min(near, key=lambda each: _ratio_of_tokens(evidence, best, *each))[0]
    return max(shared, key=lambda each: round(_gain_by(evidence, best, *each, formula=prefer), DIGITS))[0]


def _is_near(evidence: Evidence, best: Candidate, one: Candidate, rows: Sequence[int], *, is_cheap: bool) -> bool:
    if one.key == best.key:
        return True
    ours, theirs = (evidence.calibrating.scores(each, rows) for each in (one, best))
    found = gain(ours, theirs, clusters=evidence.field.clusters(rows))
    return found.high >= 0 if is_cheap else round(found.difference, DIGITS) >= MARGIN


def _ratio_of_tokens(evidence: Evidence, best: Candidate, one: Candidate, rows: Sequence[int]) -> float:
    ours, theirs = (evidence.aims(each, rows).tokens for each in (one, best))
    return ours / max(theirs, 1.0)


def _gain_by(evidence: Evidence, best: Candidate, one: Candidate, rows: Sequence[int], *, formula: str) -> float:
    ours, theirs = (
        preference(formula, {name: getattr(aims, name) for name in AIMS})
        for aims in (evidence.aims(one, rows), evidence.aims(best, rows))
    )
    return ours - theirs
