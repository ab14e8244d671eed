"""The one order in which all candidates meet the rows, so that each has seen a prefix of it and nothing else."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence
from heapq import heappop, heappush


def row_order(
    rows: int, *, labels: Sequence[Hashable] | None = None, clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> list[int]:
    """Return a permutation of so many rows in which every prefix has the labels' proportions as near as can be.

    `labels` and `clusters` are (rows,). The rows of each label are shuffled by the seed and dealt so that a prefix
    holds of each label its share of the prefix, rounded down or up. Rows of one cluster stay together and are
    dealt as one, under the label that most of them have; the shares are then those of the clusters. Raises ValueError
    for lengths that are not `rows`.
    """
    if any(each is not None and len(each) != rows for each in (labels, clusters)):
        raise ValueError(f"there are not as many labels or clusters as rows: {rows}")
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
    return [row for at in _dealt([len(pile) for pile in piles]) for row in piles[at].pop()]


def _dealt(sizes: Sequence[int]) -> list[int]:
    """Return from which pile each turn takes, so that each has always given its share of the turns, down or up.

    Of a pile of s among n, the j-th (from 0) may be taken from turn floor(j·n/s) on and must be before turn
    ceil((j + 1)·n/s): the earliest deadline first keeps all of these (proportionate fairness: Baruah, Cohen,
    Plaxton & Varvel 1996, Algorithmica 15:600, of whose theorem this is the case of one machine).
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
