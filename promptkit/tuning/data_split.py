"""The rows of a suite split into search rows, held-out rows and a pool of demonstrations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from promptkit.errors import InputError, Problem
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.generated import generated_note, is_generated
from promptkit.evaluation.suite.row_clusters import declared_clusters, repeated_rows
from promptkit.evaluation.suite.row_order import row_order
from promptkit.evaluation.suite.suite import Suite
from promptkit.storage.hashes import content_key
from promptkit.tuning.confirmation.verdict import LEAST_ROWS

MOST_LABELS = 20
OBJECTIVE = 0
"""The place of the measure that a tuning optimizes."""
ACCURACY_METRICS: Final = frozenset({"label", "exact", "normalized"})
MAJORITY_SHARE: Final = 0.7
"""From this share of one expected answer on, balanced accuracy is proposed in place of accuracy."""
POOL_ROWS, POOL_SHARE = 16, 0.25
"""The most search rows that are set aside for demonstrations, as a number and as a share of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSplit:
    """The rows of a suite, split. Rows are named by their places in `rows`.

    `search`: rows that candidates are scored on, in one order for all candidates. `demo_pool`: search rows that
    demonstrations are taken from, never scored. `holdout`: rows that the search never sees. `labels`: the expected
    answers of all rows where they are a few classes, else None. `clusters`: the cluster of each row, as the suite
    declares it or of rows that nearly repeat each other; None if all rows are independent. `salt` and `share` reproduce
    the split. `wrong` counts rows with problems and `exempt` those to which the first metric does not apply; `rows`
    leaves both out. `duplicates` counts rows in neither part, because counting a row twice would inflate significance.
    """

    suite: Suite
    rows: tuple[BoundRow, ...]
    search: tuple[int, ...]
    demo_pool: tuple[int, ...]
    holdout: tuple[int, ...]
    labels: tuple[Hashable, ...] | None
    clusters: tuple[str, ...] | None
    salt: int
    share: float
    wrong: int = 0
    exempt: int = 0
    duplicates: int = 0

    @property
    def visible(self) -> tuple[int, ...]:
        """All rows that the search may see: scored rows, then the pool."""
        return (*self.search, *self.demo_pool)

    @property
    def size(self) -> int:
        """The number of rows in the split, both parts together."""
        return len(self.visible) + len(self.holdout)

    @property
    def generated_holdout(self) -> int:
        """The number of held-out rows that a model wrote."""
        return sum(is_generated(self.rows[place].row.fields) for place in self.holdout)

    @property
    def independent_holdout(self) -> int:
        """The number of independent held-out units: rows, or clusters of rows."""
        return len(self.independent(self.holdout))

    @property
    def independent_size(self) -> int:
        """The number of independent units in the split, both parts together."""
        return len(self.independent((*self.visible, *self.holdout)))

    def independent(self, places: Sequence[int]) -> tuple[int, ...]:
        """Return the first of the places of each cluster; all of them if all rows are independent."""
        if self.clusters is None:
            return tuple(places)
        first: dict[str, int] = {}
        for place in places:
            first.setdefault(self.clusters[place], place)
        return tuple(first.values())


def read_data_split(
    suite: Suite, recorded: tuple[int, float] | None = None, *, seed: int = 0, pooled: bool = True
) -> DataSplit:
    """Read the rows of a suite and split them. Sends no request.

    `recorded`: salt and share of an earlier split of the same data, used again. Rows with problems and rows that repeat
    an earlier one of their part are left out and counted. `pooled` sets rows aside for demonstrations. Raises
    InputError if no row can be used.
    """
    binder = Binder(suite)
    bound = [binder.bind(row, index) for index, row in enumerate(suite.data.rows())]
    right = [row for row in bound if not row.problems]
    rows = tuple(row for row in right if OBJECTIVE not in row.exempt)
    if not rows:
        raise InputError([problem for row in bound for problem in row.problems][:20] or [_no_rows(suite)])
    labels = row_labels([row.expected[0] if row.expected else None for row in rows])
    contents = [row_content(row.inputs[0]) for row in rows]
    clusters = declared_clusters(suite, rows) or _near_duplicate_clusters(rows, contents)
    real = [place for place, row in enumerate(rows) if not is_generated(row.row.fields)]
    split = _split_real_first(contents, real, labels=labels, clusters=clusters, recorded=recorded)
    seen = _without_duplicates(split.search, contents)
    dealt = row_order(len(seen), labels=_values_at(labels, seen), clusters=_values_at(clusters, seen), seed=seed)
    ordered = [seen[at] for at in dealt]
    size = min(POOL_ROWS, int(len(ordered) * POOL_SHARE)) if pooled else 0
    while clusters is not None and size > 0 and clusters[ordered[size - 1]] == clusters[ordered[size]]:
        size -= 1  # An example from the same document would give the answer away.
    return DataSplit(
        suite=suite,
        rows=rows,
        search=tuple(ordered[size:]),
        demo_pool=tuple(ordered[:size]),
        holdout=_without_duplicates(split.holdout, contents),
        labels=labels,
        clusters=None if clusters is None else tuple(clusters),
        salt=split.salt,
        share=split.share,
        wrong=len(bound) - len(right),
        exempt=len(right) - len(rows),
        duplicates=split.duplicates,
    )


def step_data_split(suite: Suite, split: DataSplit) -> DataSplit:
    """Return the split of the same rows as a step's own suite binds them, at the same places.

    Rows that the step's suite cannot bind are in no part.
    """
    binder = Binder(suite)
    rows = tuple(binder.bind(row.row, row.index) for row in split.rows)
    right = {place for place, row in enumerate(rows) if not row.problems and OBJECTIVE not in row.exempt}
    expected = [row.expected[0] if row.expected else None for row in rows]
    return replace(
        split,
        suite=suite,
        rows=rows,
        search=tuple(place for place in split.search if place in right),
        demo_pool=tuple(place for place in split.demo_pool if place in right),
        holdout=tuple(place for place in split.holdout if place in right),
        labels=row_labels([expected[place] for place in sorted(right)]) and tuple(expected),
        wrong=len(rows) - len(right),
    )


def holdout_units(split: DataSplit) -> list[tuple[int, ...]]:
    """Return the held-out rows as independent units, single rows or clusters, in a random order.

    The order depends on their contents and the split's salt alone, so that rows added later change no others' order.
    """
    units: dict[str, list[int]] = {}
    for place in split.holdout:
        key = row_content(split.rows[place].inputs[0]) if split.clusters is None else split.clusters[place]
        units.setdefault(key, []).append(place)
    order = np.argsort(_unit_positions(_hash_codes(list(units)), split.salt), kind="stable")
    ordered = list(units.values())
    return [tuple(ordered[at]) for at in order]


def row_labels(expected: Sequence[Any]) -> tuple[Hashable, ...] | None:
    """Return expected answers as classes; None if there are too many different ones, or they are not plain values."""
    if not all(isinstance(answer, str | int | bool) for answer in expected) or len(set(expected)) > MOST_LABELS:
        return None
    return tuple(expected)


def _near_duplicate_clusters(rows: Sequence[BoundRow], contents: Sequence[str]) -> list[str] | None:
    """Return for each row the content of the row that it nearly repeats, its own if it repeats none.

    A row that repeats none is split as if there were no clusters. None if no row nearly repeats another.
    """
    answers = [row_content({"": row.expected[0] if row.expected else None}) for row in rows]
    clusters = [contents[original] for original in repeated_rows([row.inputs[0] for row in rows], answers)]
    return None if clusters == list(contents) else clusters


def _split_real_first(
    contents: Sequence[str],
    real: Sequence[int],
    *,
    labels: Sequence[Hashable] | None,
    clusters: Sequence[str] | None,
    recorded: tuple[int, float] | None,
) -> RowSplit:
    """Split rows with only `real` ones held out, if these are enough for a verdict; else all rows alike.

    Generated rows are then searched on, without those that repeat a held-out row.
    """
    if len(real) == len(contents) or len(real) < LEAST_ROWS:
        return split_rows(contents, labels=labels, clusters=clusters, recorded=recorded)
    split = split_rows(
        [contents[place] for place in real],
        labels=_values_at(labels, real),
        clusters=None if clusters is None else [clusters[place] for place in real],
        recorded=recorded,
    )
    holdout = [real[at] for at in split.holdout]
    keys = contents if clusters is None else clusters
    unseen = {contents[place] for place in holdout} | {keys[place] for place in holdout}
    generated = set(range(len(contents))).difference(real)
    usable = {place for place in generated if unseen.isdisjoint((contents[place], keys[place]))}
    return replace(
        split,
        search=tuple(sorted({real[at] for at in split.search} | usable)),
        holdout=tuple(holdout),
        duplicates=len(contents) - len(set(contents)),
    )


def _without_duplicates(places: Sequence[int], contents: Sequence[str]) -> tuple[int, ...]:
    """Return the places without those whose content an earlier one has."""
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(contents[place], place)
    return tuple(first.values())


def _values_at(values: Sequence[Hashable] | None, places: Sequence[int]) -> list[Hashable] | None:
    return None if values is None else [values[place] for place in places]


def _no_rows(suite: Suite) -> Problem:
    return Problem(f"`{suite.name}` has no rows")


def data_notes(split: DataSplit) -> list[str]:
    """Return notes on the rows for the person: left-out rows, too few rows."""
    notes = []
    if split.generated_holdout:
        notes.append(f"to confirm on, {generated_note(split.generated_holdout, len(split.holdout))}")
    if split.wrong:
        notes.append(f"{split.wrong} rows have problems and are left out; promptkit eval lists them")
    if split.exempt:
        name = split.suite.measures[OBJECTIVE].name
        notes.append(f"{split.exempt} rows are left out: `{name}` does not apply to them")
    if split.duplicates:
        notes.append(f"{split.duplicates} rows repeat others and are left out")
    if split.clusters is not None and split.suite.data.spec.cluster is None:
        notes.append(
            f"{split.size} rows, {split.independent_size} independent: rows that nearly repeat each other count as one "
            "(`cluster` in the suite's `data` declares groups otherwise)"
        )
    notes += _majority_notes(split)
    if split.independent_size < LEAST_ROWS:
        rows = "rows" if split.clusters is None else "independent rows"
        notes.append(
            f"{split.independent_size} {rows} are too few: the verdict will be `not shown`; "
            f"at least {LEAST_ROWS} are needed, 200 detect a gain of about 11 points"
        )
    return notes


def _majority_notes(split: DataSplit) -> Iterator[str]:
    """Yield a note if the objective is accuracy and one expected answer is frequent."""
    if split.labels is None or split.suite.measures[OBJECTIVE].metric.kind not in ACCURACY_METRICS:
        return
    counts = Counter(split.labels[place] for place in (*split.visible, *split.holdout))
    [(label, count)] = counts.most_common(1)
    share = count / counts.total()
    if share >= MAJORITY_SHARE:
        yield (
            f"`{label}` is expected in {count} of {counts.total()} rows: always answering it is right on "
            f"{100 * share:.0f} %. A metric that counts each label the same: `balanced: balanced_accuracy` under "
            "`metrics:` of the suite, and --metric balanced"
        )


SALTS: Final = 1_000
"""The number of splits that are compared before the nearest is taken."""
MOST_HOLDOUT: Final = 500
KEY_BYTES: Final = 8
_GOLDEN: Final = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class RowSplit:
    """The rows of both parts by number, in order, with what reproduces the split.

    `salt` and `share` are to be recorded: with them a row is always in the same part. `duplicates` counts rows whose
    content an earlier one has. With clusters, a search row that repeats a held-out row is in neither part.
    """

    search: tuple[int, ...]
    holdout: tuple[int, ...]
    salt: int
    share: float
    duplicates: int


def row_content(inputs: Mapping[str, Any]) -> str:
    """Return the content by which rows are duplicates: all inputs, without case, extra blanks and the order of keys."""
    return json.dumps(_plain(inputs), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def holdout_share(rows: int) -> float:
    """Return the share of rows that is held out. Few rows are scarcest for the verdict, so it gets more of them."""
    if rows <= 300:
        return 0.6
    return 0.5 if rows <= 2 * MOST_HOLDOUT else MOST_HOLDOUT / rows


def split_rows(
    contents: Sequence[str],
    *,
    labels: Sequence[Hashable] | None = None,
    clusters: Sequence[str] | None = None,
    recorded: tuple[int, float] | None = None,
) -> RowSplit:
    """Split rows into search rows and held-out rows, by a hash of their content.

    `contents` (from `row_content`), `labels` and `clusters` are (rows,); the rows of a cluster stay in one part: the
    cluster is hashed in place of the content.
    `recorded`: salt and share of an earlier split of these data, used again so that rows added since move none. Without
    it the share is `holdout_share`, and the salt is the first whose split is within one row of that share, of all rows
    and of the rows of each label, or else the nearest of 1,000. Only labels are read, never scores. A part is empty if
    all rows have one content or one cluster. Raises ValueError for different lengths and for no rows.
    """
    rows = len(contents)
    if not rows or any(values is not None and len(values) != rows for values in (labels, clusters)):
        raise ValueError(f"cannot split {rows} rows: labels and clusters must have one value for each row")
    codes = _hash_codes(contents if clusters is None else clusters)
    if recorded is None:
        share = holdout_share(rows)
        salt = _nearest_salt(codes, share, labels)
    else:
        salt, share = recorded
    kept = _unit_positions(codes, salt) < share
    unseen = {contents[row] for row in range(rows) if kept[row]}
    return RowSplit(
        search=tuple(row for row in range(rows) if not kept[row] and contents[row] not in unseen),
        holdout=tuple(row for row in range(rows) if kept[row]),
        salt=salt,
        share=share,
        duplicates=rows - len(set(contents)),
    )


def _hash_codes(keys: Sequence[str]) -> NDArray[np.uint64]:
    digests = (content_key(key, KEY_BYTES) for key in keys)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def _unit_positions(codes: NDArray[np.uint64], salt: int) -> NDArray[np.float64]:
    """Return the position of each code in [0, 1) under a salt.

    SplitMix64 (Steele, Lea & Flood 2014, OOPSLA) is much faster than a thousand hashes of each row.
    """
    mixed = codes + np.uint64((salt + 1) * _GOLDEN % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2**53, dtype=np.float64)


def _nearest_salt(codes: NDArray[np.uint64], share: float, labels: Sequence[Hashable] | None) -> int:
    """Return the first salt whose split is within one row of the share, overall and for each label, or the nearest."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels or ()))}
    of_label = np.array([numbers[label] for label in labels] if labels else [0] * len(codes))
    target = share * np.bincount(of_label)
    nearest, least = 0, np.inf
    for salt in range(SALTS):
        off_by = np.bincount(of_label, weights=_unit_positions(codes, salt) < share) - target
        off = max(abs(float(off_by.sum())), float(np.abs(off_by).max()))
        if off <= 1:
            return salt
        if off < least:
            nearest, least = salt, off
    return nearest
