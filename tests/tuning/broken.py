"""Tunings over arrays of answers: an honest one, and four ways in which optimizers go wrong.

Each takes what a race found, with the candidates' scores on all search and all confirm rows, and claims something. The
dishonest ones are here so that the assertions on honest ones are known to tell the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.statistics.interval import NORMAL_QUANTILE, Interval
from promptkit.tuning.confirmation.verdict import paired_gain, verdict_of
from tests.tuning.confirmations import looked
from tests.tuning.simulated import Floats, Run, raced

BLOCK = 10


@dataclass(frozen=True)
class Searched:
    """A race that has ended, and the scores of all candidates on both sides of the split, (candidates, rows)."""

    run: Run
    search: Floats
    confirm: Floats
    truth: Floats
    clusters: NDArray[np.int64] | None = None
    """The cluster of each confirm row, if the data split knows clusters."""

    @property
    def rows(self) -> int:
        """Return how many rows there are in all."""
        return len(self.search[0]) + len(self.confirm[0])


@dataclass(frozen=True)
class Claim:
    """The claim of an optimizer: its pick, the pick's mean score, and the interval of the gain over the start."""

    pick: int
    reported: float
    interval: Interval
    improved: bool


Optimizer = Callable[[Searched], Claim]


def search(
    truth: Floats, scores: Floats, *, confirm: int, share: float = 0.5, clusters: NDArray[np.int64] | None = None
) -> Searched:
    """Race candidates for a share of all cells of the search rows; the last rows are confirm rows."""
    seen, kept = scores[:, :-confirm], scores[:, -confirm:]
    return Searched(raced(seen, share), seen, kept, truth, None if clusters is None else clusters[-confirm:])


def _claim(
    searched: Searched, pick: int, first: Floats, second: Floats, clusters: NDArray[np.int64] | None = None
) -> Claim:
    """Claim what these rows, of the pick and of the start, are taken to say."""
    low, high = paired_gain(first, second, clusters=clusters)[1:3]
    improved = pick != 0 and verdict_of(low, rows=searched.rows).outcome == "improved"
    return Claim(pick, float(first.mean()), Interval(low, high), improved)


def honest(searched: Searched) -> Claim:
    """The pick of the race, on the confirm rows up to the look that decides."""
    pick = searched.run.pick
    found = looked(searched.confirm[pick], searched.confirm[0], rows=searched.rows, clusters=searched.clusters)
    seen = searched.confirm[pick, : found.gain.n if searched.clusters is None else None]
    return Claim(pick, float(seen.mean()), Interval(found.gain.low, found.gain.high), pick != 0 and found.improved)


def on_all_rows(searched: Searched) -> Claim:
    """The pick of the race, on all confirm rows once."""
    pick = searched.run.pick
    return _claim(searched, pick, searched.confirm[pick], searched.confirm[0], searched.clusters)


def reports_selection(searched: Searched) -> Claim:
    """Broken: reports the score that it selected on."""
    pick = searched.run.pick
    rows = min(searched.run.race.entries[number].rows for number in (pick, 0))
    return _claim(searched, pick, searched.search[pick, :rows], searched.search[0, :rows])


def stops_when_significant(searched: Searched) -> Claim:
    """Broken: looks after each block of confirm rows, and stops as soon as there is a gain."""
    pick = searched.run.pick
    claim = on_all_rows(searched)
    for stop in range(2 * BLOCK, searched.confirm.shape[1], BLOCK):
        claim = _claim(searched, pick, searched.confirm[pick, :stop], searched.confirm[0, :stop])
        if claim.improved:
            return claim
    return on_all_rows(searched)


def best_of_four(searched: Searched) -> Claim:
    """Broken: asks the confirm rows of the four that went furthest, and picks the best there."""
    entries = searched.run.race.entries
    furthest = sorted(
        range(len(entries)), key=lambda number: (-entries[number].rows, -float(entries[number].scores.mean()))
    )[:4]
    pick = max(furthest, key=lambda number: float(searched.confirm[number].mean()))
    return _claim(searched, pick, searched.confirm[pick], searched.confirm[0])


def ignores_pairing(searched: Searched) -> Claim:
    """Broken: compares pick and start as if each had been asked on rows of its own."""
    pick = searched.run.pick
    first, second = searched.confirm[pick], searched.confirm[0]
    difference = float(first.mean() - second.mean())
    half = NORMAL_QUANTILE * sqrt((first.var() + second.var()) / len(first))
    low = difference - half
    return Claim(pick, float(first.mean()), Interval(low, difference + half), pick != 0 and low > 0)


BROKEN: dict[str, Optimizer] = {
    "reports its selection score": reports_selection,
    "stops when significant": stops_when_significant,
    "best of four on confirm": best_of_four,
    "ignores pairing": ignores_pairing,
}


@dataclass(frozen=True)
class Tally:
    """The claims of an optimizer in many tunings."""

    tunings: int
    improved: int
    reported_over_truth: float
    covered: int


def tally(optimizer: Optimizer, tunings: list[Searched]) -> Tally:
    """Count false and true claims of an optimizer; the truth is known."""
    claims = [(optimizer(each), each.truth) for each in tunings]
    return Tally(
        tunings=len(tunings),
        improved=sum(claim.improved for claim, _ in claims),
        reported_over_truth=float(np.mean([claim.reported - truth[claim.pick] for claim, truth in claims])),
        covered=sum(
            claim.interval.low <= truth[claim.pick] - truth[0] <= claim.interval.high for claim, truth in claims
        ),
    )
