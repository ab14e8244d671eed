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
    first. Compared are the rows that both have.
    """
    if prefer == "best":
        return best
    far = comparable(seen)
    entries = [(each.candidate, evidence.aims(each.candidate, each.rows)) for each in far]
    if prefer in ("cheap", "balanced"):
        near = [(one, aims) for one, aims in entries if _is_near(evidence, one, best, far, is_cheap=prefer == "cheap")]
        return min(near, key=lambda each: each[1].tokens, default=(best, None))[0]
    values = [preference(prefer, {name: getattr(aims, name) for name in AIMS}) for _, aims in entries]
    return entries[max(range(len(values)), key=lambda at: values[at])][0] if entries else best


def _is_near(evidence: Evidence, one: Candidate, best: Candidate, far: Sequence[Seen], *, is_cheap: bool) -> bool:
    if one == best or one.key == best.key:
        return True
    rows_of = {each.candidate.key: each.rows for each in far}
    shared = [row for row in rows_of[one.key] if row in set(rows_of.get(best.key, ()))]
    ours, theirs = (evidence.calibrating.scores(each, shared) for each in (one, best))
    found = gain(ours, theirs, clusters=evidence.field.clusters(shared))
    return found.high >= 0 if is_cheap else found.difference >= MARGIN
