"""What a search stands on: the rows of a suite that can be asked, split into those it sees and those it never does."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptkit.errors import InputError, Problem
from promptkit.evaluation import Binder, BoundRow, Suite
from promptkit.storage import compact
from promptkit.tuning.order import row_order
from promptkit.tuning.split import row_content, split_rows
from promptkit.tuning.verdict import LEAST_ROWS

MOST_LABELS = 20
POOL_ROWS, POOL_SHARE = 16, 0.25
"""How many search rows at most are kept for demonstrations, and which share of them at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
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


def read_ground(
    suite: Suite, recorded: tuple[int, float] | None = None, *, seed: int = 0, pooled: bool = True
) -> Ground:
    """Read the rows of a suite and split them; nothing is asked.

    `recorded` is the salt and the share of an earlier split of the same data, which are kept. Rows that are wrong are
    left out and counted, and so are those that hold the same inputs as an earlier one of their side. `pooled` keeps
    rows for demonstrations. Raises InputError where no row can be used.
    """
    binder = Binder(suite)
    bound = [binder.bind(row, index) for index, row in enumerate(suite.data.rows())]
    rows = tuple(each for each in bound if not each.problems)
    if not rows:
        raise InputError([problem for each in bound for problem in each.problems][:20] or [_nothing(suite)])
    labels = row_labels([each.expected[0] if each.expected else None for each in rows])
    clusters = clusters_of(suite, rows)
    contents = [row_content(each.inputs[0]) for each in rows]
    split = split_rows(contents, labels=labels, clusters=clusters, recorded=recorded)
    seen = _first_of_each(split.search, contents)
    dealt = row_order(len(seen), labels=_some(labels, seen), clusters=_some(clusters, seen), seed=seed)
    ordered = [seen[at] for at in dealt]
    size = min(POOL_ROWS, int(len(ordered) * POOL_SHARE)) if pooled else 0
    while clusters is not None and size > 0 and clusters[ordered[size - 1]] == clusters[ordered[size]]:
        size -= 1  # An example from the same document would tell what is asked.
    return Ground(
        suite=suite,
        rows=rows,
        order=tuple(ordered[size:]),
        pool=tuple(ordered[:size]),
        confirm=_first_of_each(split.confirm, contents),
        labels=labels,
        salt=split.salt,
        share=split.share,
        wrong=len(bound) - len(rows),
        duplicates=split.duplicates,
    )


def step_ground(suite: Suite, ground: Ground) -> Ground:
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


def _first_of_each(places: Sequence[int], contents: Sequence[str]) -> tuple[int, ...]:
    """Return the places without those that hold what an earlier one holds."""
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(contents[place], place)
    return tuple(first.values())


def _some(values: Sequence[Hashable] | None, places: Sequence[int]) -> list[Hashable] | None:
    return None if values is None else [values[place] for place in places]


def _nothing(suite: Suite) -> Problem:
    return Problem(f"`{suite.name}` has no rows")


def row_notes(ground: Ground) -> list[str]:
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
