"""The order in which rows are taken: every beginning of it has nearly the proportions of the labels."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence
from heapq import heappop, heappush


def row_order(
    rows: int, *, labels: Sequence[Hashable] | None = None, clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> list[int]:
    """Return a permutation of rows in which every prefix has nearly the labels' proportions.

    All candidates meet the rows in this one order, so each has seen a prefix of it. `labels` and `clusters` are
    (rows,). The rows of each label are shuffled by the seed and dealt so that a prefix holds of each label its share,
    rounded down or up. The rows of a cluster stay together and are dealt as one, under their most frequent label; the
    shares are then shares of clusters. Raises ValueError for lengths other than `rows`.
    """
    if any(values is not None and len(values) != rows for values in (labels, clusters)):
        raise ValueError(f"labels and clusters must have one value for each of {rows} rows")
    units: dict[Hashable, list[int]] = {}
    for row in range(rows):
        units.setdefault(row if clusters is None else clusters[row], []).append(row)
    chance = random.Random(seed)
    of_label: dict[Hashable, list[list[int]]] = {}
    for unit in units.values():
        chance.shuffle(unit)
        label = None if labels is None else Counter(labels[row] for row in sorted(unit)).most_common(1)[0][0]
        of_label.setdefault(label, []).append(unit)
    piles = list(of_label.values())
    for pile in piles:
        chance.shuffle(pile)
    return [row for at in _deal([len(pile) for pile in piles]) for row in piles[at].pop()]


def _deal(sizes: Sequence[int]) -> list[int]:
    """Return the pile that each turn takes from, so that each pile has always given its share, rounded down or up.

    From a pile of s among n, item j (from 0) may be taken from turn floor(j·n/s) on and must be taken before turn
    ceil((j + 1)·n/s). Earliest deadline first keeps all of these (proportionate fairness: Baruah, Cohen, Plaxton &
    Varvel 1996, Algorithmica 15:600; this is their theorem for one machine).
    """
    n = sum(sizes)
    waiting: list[tuple[int, int, int]] = []  # from which turn on, pile, which of the pile
    ready: list[tuple[int, int, int]] = []  # before which turn, pile, which of the pile
    for pile in range(len(sizes)):
        heappush(waiting, (0, pile, 0))
    dealt = []
    for turn in range(n):
        while waiting and waiting[0][0] <= turn:
            _, pile, taken = heappop(waiting)
            heappush(ready, (-(-(taken + 1) * n // sizes[pile]), pile, taken))
        _, pile, taken = heappop(ready)
        dealt.append(pile)
        if taken + 1 < sizes[pile]:
            heappush(waiting, ((taken + 1) * n // sizes[pile], pile, taken + 1))
    return dealt
