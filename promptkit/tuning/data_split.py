"""The rows of a suite split into search rows, held-out rows and a pool of demonstrations."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from promptkit.errors import InputError, Problem
from promptkit.evaluation.suite.binding import Binder, BoundRow
from promptkit.evaluation.suite.suite import Suite
from promptkit.storage.hashes import content_key
from promptkit.storage.strict_json import compact
from promptkit.tuning.confirmation.verdict import LEAST_ROWS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_LABELS = 20
POOL_ROWS, POOL_SHARE = 16, 0.25
"""How many search rows at most are kept for demonstrations, and which share of them at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSplit:
    """Rows by their places in `rows`. `order` are the search rows that are scored, in the one order for all
    candidates, `pool` those that demonstrations are taken from; `confirm` is never looked at in the search.

    `labels` are the expected answers of all rows where they are a few classes, else None. `salt` and `share` are what
    the rows were split by. `wrong` rows were left out of `rows`; `duplicates` are in it and on neither side, for what
    they say is said by the row that they repeat: counted again, they would make chance look like a gain.
    """

    suite: Suite
    rows: tuple[BoundRow, ...]
    order: tuple[int, ...]
    pool: tuple[int, ...]
    confirm: tuple[int, ...]
    labels: tuple[Hashable, ...] | None
    salt: int
    share: float
    wrong: int = 0
    duplicates: int = 0

    @property
    def search(self) -> tuple[int, ...]:
        """All rows that the search may see."""
        return (*self.order, *self.pool)

    @property
    def size(self) -> int:
        """How many rows are on either side."""
        return len(self.search) + len(self.confirm)

    @property
    def independent(self) -> int:
        """How many of the confirm rows say something by themselves: all, or the clusters that they are of."""
        clusters = clusters_of(self.suite, [self.rows[place] for place in self.confirm])
        return len(self.confirm if clusters is None else set(clusters))


def read_data_split(
    suite: Suite, recorded: tuple[int, float] | None = None, *, seed: int = 0, pooled: bool = True
) -> DataSplit:
    """Read the rows of a suite and split them; nothing is asked.

    `recorded` is the salt and the share of an earlier split of the same data, which are kept. Rows that are wrong are
    left out and counted, and so are those that hold the same inputs as an earlier one of their side. `pooled` keeps
    rows for demonstrations. Raises InputError where no row can be used.
    """
    binder = Binder(suite)
    bound = [binder.bind(row, index) for index, row in enumerate(suite.data.rows())]
    rows = tuple(each for each in bound if not each.problems)
    if not rows:
        raise InputError([problem for each in bound for problem in each.problems][:20] or [_no_rows(suite)])
    labels = row_labels([each.expected[0] if each.expected else None for each in rows])
    clusters = clusters_of(suite, rows)
    contents = [row_content(each.inputs[0]) for each in rows]
    split = split_rows(contents, labels=labels, clusters=clusters, recorded=recorded)
    seen = _without_duplicates(split.search, contents)
    dealt = row_order(len(seen), labels=_values_at(labels, seen), clusters=_values_at(clusters, seen), seed=seed)
    ordered = [seen[at] for at in dealt]
    size = min(POOL_ROWS, int(len(ordered) * POOL_SHARE)) if pooled else 0
    while clusters is not None and size > 0 and clusters[ordered[size - 1]] == clusters[ordered[size]]:
        size -= 1  # An example from the same document would tell what is asked.
    return DataSplit(
        suite=suite,
        rows=rows,
        order=tuple(ordered[size:]),
        pool=tuple(ordered[:size]),
        confirm=_without_duplicates(split.confirm, contents),
        labels=labels,
        salt=split.salt,
        share=split.share,
        wrong=len(bound) - len(rows),
        duplicates=split.duplicates,
    )


def step_data_split(suite: Suite, ground: DataSplit) -> DataSplit:
    """Return the same rows, split the same, as the suite of a step takes them; those that it cannot take are left out
    of the search. Places are the same in both."""
    binder = Binder(suite)
    rows = tuple(binder.bind(each.row, each.index) for each in ground.rows)
    right = {place for place, each in enumerate(rows) if not each.problems}
    expected = [each.expected[0] if each.expected else None for each in rows]
    return replace(
        ground,
        suite=suite,
        rows=rows,
        order=tuple(place for place in ground.order if place in right),
        pool=tuple(place for place in ground.pool if place in right),
        confirm=tuple(place for place in ground.confirm if place in right),
        labels=row_labels([expected[place] for place in sorted(right)]) and tuple(expected),
        wrong=len(rows) - len(right),
    )


def clusters_of(suite: Suite, rows: Sequence[BoundRow]) -> list[str] | None:
    """Return what tells the cluster of each row, None where rows stand alone."""
    name = suite.data.spec.cluster
    return None if name is None else [compact(each.row.fields.get(name)) for each in rows]


def row_labels(expected: Sequence[Any]) -> tuple[Hashable, ...] | None:
    """Return expected answers as classes, None where they are none: too many, or no plain values."""
    if not all(isinstance(each, str | int | bool) for each in expected) or len(set(expected)) > MOST_LABELS:
        return None
    return tuple(expected)


def _without_duplicates(places: Sequence[int], contents: Sequence[str]) -> tuple[int, ...]:
    """Return the places without those that hold what an earlier one holds."""
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(contents[place], place)
    return tuple(first.values())


def _values_at(values: Sequence[Hashable] | None, places: Sequence[int]) -> list[Hashable] | None:
    return None if values is None else [values[place] for place in places]


def _no_rows(suite: Suite) -> Problem:
    return Problem(f"`{suite.name}` has no rows")


def data_notes(ground: DataSplit) -> list[str]:
    """Return what a person should know of the rows."""
    notes = []
    if ground.wrong:
        notes.append(f"{ground.wrong} rows are wrong and left out: promptkit eval says how")
    if ground.duplicates:
        notes.append(f"{ground.duplicates} rows repeat others, and are left out")
    if ground.size < LEAST_ROWS:
        told = f"{ground.size} rows show nothing: the verdict will be `not shown`"
        notes.append(f"{told}; {LEAST_ROWS} are the least, 200 show a gain of about 10 points")
    return notes


SALTS: Final = 1_000
"""So many splits are looked at before the nearest is taken."""
MOST_HOLDOUT: Final = 500
KEY_BYTES: Final = 8
_GOLDEN: Final = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class RowSplit:
    """The rows of both sides by their numbers, in their order, and what the sides were found by.

    `salt` and `share` are to be recorded: with them the same row is always on the same side. `duplicates` counts rows
    that hold what an earlier one holds. Where clusters are given, a row of the search that holds the same as a confirm
    row is on neither side.
    """

    search: tuple[int, ...]
    confirm: tuple[int, ...]
    salt: int
    share: float
    duplicates: int


def row_content(inputs: Mapping[str, Any]) -> str:
    """Return what makes two rows duplicates: all inputs; case, runs of blanks and the order of keys left aside."""
    return json.dumps(_plain(inputs), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def holdout_share(rows: int) -> float:
    """Return the share of rows that is kept for the verdict, where a verdict is what rows are scarce for."""
    if rows <= 300:
        return 0.6
    return 0.5 if rows <= 2 * MOST_HOLDOUT else MOST_HOLDOUT / rows


def split_rows(
    contents: Sequence[str],
    *,
    labels: Sequence[Hashable] | None = None,
    clusters: Sequence[Hashable] | None = None,
    recorded: tuple[int, float] | None = None,
) -> RowSplit:
    """Return which rows are searched on and which the verdict rests on.

    `contents`, of `row_content`, `labels` and `clusters` are (rows,); the rows of a cluster are on one side.
    `recorded` is the salt and the share of an earlier split of these data, which are kept, so that rows added since
    move none. Without it the share is `holdout_share` of the rows and the salt the first whose split has within one row
    of what that share makes of all rows and of those of each label, or the nearest of 1,000. Labels are looked at,
    never scores. A side is empty where all rows hold the same, or are of one cluster. Raises ValueError for lengths
    that differ and for no rows.
    """
    rows = len(contents)
    if not rows or any(each is not None and len(each) != rows for each in (labels, clusters)):
        raise ValueError(f"{rows} rows are not split, or have more or fewer labels or clusters")
    codes = _hash_codes(contents if clusters is None else [_cluster_key(each) for each in clusters])
    if recorded is None:
        share = holdout_share(rows)
        salt = _nearest_salt(codes, share, labels)
    else:
        salt, share = recorded
    kept = _unit_positions(codes, salt) < share
    unseen = {contents[row] for row in range(rows) if kept[row]}
    return RowSplit(
        search=tuple(row for row in range(rows) if not kept[row] and contents[row] not in unseen),
        confirm=tuple(row for row in range(rows) if kept[row]),
        salt=salt,
        share=share,
        duplicates=rows - len(set(contents)),
    )


def _cluster_key(cluster: Hashable) -> str:
    # Not the same as any content, which is a mapping.
    return json.dumps([str(cluster)], ensure_ascii=False)


def _hash_codes(keys: Sequence[str]) -> NDArray[np.uint64]:
    import numpy as np

    digests = (content_key(key, KEY_BYTES) for key in keys)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def _unit_positions(codes: NDArray[np.uint64], salt: int) -> NDArray[np.float64]:
    """Return where in [0, 1) each code falls under a salt: SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), which is
    much quicker than to hash a thousand times."""
    import numpy as np

    mixed = codes + np.uint64((salt + 1) * _GOLDEN % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2**53, dtype=np.float64)


def _nearest_salt(codes: NDArray[np.uint64], share: float, labels: Sequence[Hashable] | None) -> int:
    """Return the first salt whose split is within one row of the share, of all and of each label, or the nearest."""
    import numpy as np

    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels or ()))}
    of_label = np.array([numbers[label] for label in labels] if labels else [0] * len(codes))
    wanted = share * np.bincount(of_label)
    nearest, least = 0, np.inf
    for salt in range(SALTS):
        off_by = np.bincount(of_label, weights=_unit_positions(codes, salt) < share) - wanted
        off = max(abs(float(off_by.sum())), float(np.abs(off_by).max()))
        if off <= 1:
            return salt
        if off < least:
            nearest, least = salt, off
    return nearest


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
    return [row for at in _deal([len(pile) for pile in piles]) for row in piles[at].pop()]


def _deal(sizes: Sequence[int]) -> list[int]:
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
