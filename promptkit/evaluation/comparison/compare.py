"""The comparison of two runs, row by row, where rows are paired by their inputs and expected answer.

It serves `eval --against`, thresholds on a drop, and `runs compare`. Variants of one run are compared by the same
function of two tallies (`summary.compare_tallies`).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promptkit.errors import InputError, nearest
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.cells.clusters import Clusters
from promptkit.evaluation.cells.tally import Tally, paired_samples, shared_exempt
from promptkit.evaluation.comparison.differences import NOTED, RunDifference, run_differences
from promptkit.evaluation.comparison.run_rows import RunRows, ScoredRow, row_cells
from promptkit.evaluation.metrics.base import Difference, Metric
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.stored_run import build_metrics
from promptkit.evaluation.summary import ReportRules, compare_tallies, may_miss
from promptkit.project import Project

Change = Literal["better", "worse"]
NOT_TIMED = (
    "times are compared only where one run measured both: make them variants of one suite, and measure with --fresh"
)
EQUAL = 1e-9
"""Scores nearer than this are equal; a score this near the best one is the best one."""


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row whose score differs, by its number in each run; `a_minus_b` is between the means of its repeats."""

    row: int
    row_b: int
    change: Change
    a_minus_b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """The comparison by one metric. `difference` is None where there is none, for the reason `why`.

    `missing` cells have no score in one of the runs. `regressions` are the numbers of rows that were right in `b` and
    are wrong in `a`.
    """

    metric: Metric
    difference: Difference | None
    missing: int = 0
    why: str = ""
    regressions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """Counts of rows that are in both runs, and in one alone.

    Rows whose answers one run lacks altogether, since it ended before them, may be in both: `unanswered_b` of `only_a`,
    `unanswered_a` of `only_b`.
    """

    both: int
    only_a: int
    only_b: int
    unanswered_a: int
    unanswered_b: int

    @property
    def all_a(self) -> int:
        """The rows of `a`."""
        return self.both + self.only_a

    @property
    def all_b(self) -> int:
        """The rows of `b`."""
        return self.both + self.only_b

    @property
    def share(self) -> float:
        """The share of the rows of the larger run that are in both."""
        return self.both / max(1, self.all_a, self.all_b)

    @property
    def new(self) -> int:
        """Rows of `a` that are not in the data of `b`."""
        return self.only_a - self.unanswered_b

    @property
    def gone(self) -> int:
        """Rows of `b` that are not in the data of `a`."""
        return self.only_b - self.unanswered_a


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Run `a` compared with run `b` on the rows of both.

    `cells` should have a score in both; `same_answer` of them are one stored answer in both runs. `metrics` are those
    that can be compared, `excluded` the others, with the reason. Rows change by the `primary` metric. `row_notes` say
    which rows count as one.
    """

    a: RunRows
    b: RunRows
    primary: str
    differs: Sequence[RunDifference]
    rows: RowCounts
    cells: int
    same_answer: int
    metrics: Mapping[str, MetricComparison]
    excluded: Mapping[str, str]
    changed: Sequence[ChangedRow]
    row_notes: Sequence[str] = ()

    @property
    def not_compared(self) -> dict[str, str]:
        """The metrics without a difference, with the reason."""
        why = {name: found.why for name, found in self.metrics.items() if found.difference is None}
        return {**self.excluded, **why}

    def notes(self) -> list[str]:
        """Return notes on other differences from a baseline, so that they are not credited to the prompt."""
        rows, new, gone = self.rows, self.rows.new, self.rows.gone
        notes = [difference.says for difference in self.differs if difference.what in NOTED]
        return [*notes, f"{rows.both} rows are in both; {new} are new, {gone} are gone"] if new or gone else notes

    def cells_of(self, changed: ChangedRow) -> tuple[Cell, Cell]:
        """Return a row's cells in both runs, of the first repeat in which their scores differ."""
        assert self.a.run is not None and self.b.run is not None, "a baseline file has no cells"
        others = {cell.repeat: cell for cell in row_cells(self.b.run, changed.row_b, self.b.variant)}
        pairs = [
            (cell, others[cell.repeat])
            for cell in row_cells(self.a.run, changed.row, self.a.variant)
            if cell.repeat in others
        ]
        return next(pair for pair in pairs if _scores_differ(self.primary, *pair))


def compare_runs(a: RunRows, b: RunRows, project: Project, *, metric: str | None = None) -> Comparison:
    """Compare two stored runs by all metrics of both, or by one that is named.

    Up to a share of MOST_MISSING cells may be missing; each counts against a difference. Raises InputError for runs
    that have no row in common, and for a metric that `a` does not have.
    """
    assert a.run is not None, "the metrics are those of a stored run"
    built = build_metrics(a.run, project)
    if metric is not None and metric not in a.keys:
        raise InputError(f"{a.name} has no metric `{metric}`", hint=nearest(metric, a.keys))
    chosen = {name: kept for name, kept in built.metrics.items() if metric in (None, name)}
    found = compare(a, b, chosen, gone=built.gone, primary=metric, allow_missing=True)
    if not found.rows.both:
        raise InputError(f"{a.name} and {b.name} have no row in common: there is nothing to compare")
    excluded = {name: why for name, why in found.excluded.items() if metric in (None, name)}
    return replace(found, excluded=excluded)


def compare(
    a: RunRows,
    b: RunRows,
    metrics: Mapping[str, Metric],
    *,
    gone: Mapping[str, str] | None = None,
    primary: str | None = None,
    allow_missing: bool,
) -> Comparison:
    """Compare run `a` with run `b` by metrics of `a`. `gone` are those that cannot be built again, with the reason.

    A metric with missing scores has no difference. With `allow_missing`, up to a share of MOST_MISSING may be missing,
    each counted against the difference.
    """
    excluded = dict(_excluded(a, b, metrics, gone or {}))
    used = {name: metric for name, metric in metrics.items() if name not in excluded}
    pairs = _Pairs(a, b, tuple(used.values()))
    by = primary or next(iter(used), next(iter(a.keys)))
    return Comparison(
        a=a,
        b=b,
        primary=by,
        differs=list(run_differences(a, b)),
        rows=pairs.counts,
        cells=pairs.cells,
        same_answer=pairs.same_answer,
        metrics={name: _compare_metric(metric, pairs, allow_missing=allow_missing) for name, metric in used.items()},
        excluded=excluded,
        changed=list(pairs.changed(used[by])) if by in used and _may_compare(used[by], a, b) else [],
        row_notes=pairs.notes,
    )


class BaselineComparisons:
    """A run with the baselines that it is compared with, with each of them once."""

    def __init__(self, run: RunRows, metrics: Mapping[str, Metric], *, allow_missing: bool) -> None:
        self.run = run
        self.allow_missing = allow_missing
        self._metrics = metrics
        self._found: dict[str, Comparison] = {}

    def compare(self, baseline: RunRows) -> Comparison:
        """Compare the run with a baseline."""
        if baseline.name not in self._found:
            self._found[baseline.name] = compare(self.run, baseline, self._metrics, allow_missing=self.allow_missing)
        return self._found[baseline.name]


def _excluded(
    a: RunRows, b: RunRows, metrics: Mapping[str, Metric], gone: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the metrics that cannot be compared, with the reason."""
    for name, key in a.keys.items():
        if name not in b.keys:
            yield name, f"{b.name} does not have this metric"
        elif key != b.keys[name]:
            yield name, f"{b.name} measured it differently"
        elif name in gone:
            yield name, f"it can no longer be measured: {gone[name]}"
        elif name in metrics and metrics[name].pairs:
            yield name, "it compares variants of one run"
    yield from ((name, f"{a.name} does not have this metric") for name in b.keys if name not in a.keys)


def _compare_metric(metric: Metric, pairs: _Pairs, *, allow_missing: bool) -> MetricComparison:
    counts, cells = pairs.counts, pairs.cells
    if not counts.both:
        why = f"{pairs.a.name} and {pairs.b.name} have no row in common"
        return MetricComparison(metric=metric, difference=None, why=why)
    if not _may_compare(metric, pairs.a, pairs.b):
        return MetricComparison(metric=metric, difference=None, why=NOT_TIMED)
    if (run := pairs.unreadable.get(metric.name)) is not None:
        return MetricComparison(metric=metric, difference=None, why=f"its scores in {run} cannot be read")
    exempt_a, exempt_b = shared_exempt(metric, pairs.tallies)
    applies = cells - int((exempt_a | exempt_b).sum())
    missing = applies - len(paired_samples(metric, *pairs.tallies)[0])
    if missing and not (allow_missing and may_miss(metric, missing, applies)):
        why = f"{missing} of {applies} cells have no score in one of the two"
        return MetricComparison(metric=metric, difference=None, missing=missing, why=why)
    rules = ReportRules(allow_missing=allow_missing)
    difference = compare_tallies(metric, *pairs.tallies, cells, pairs.clusters, rules, family=1)
    if difference is None or difference.difference is None:
        return MetricComparison(metric=metric, difference=None, why="it has no paired difference")
    return MetricComparison(
        metric=metric, difference=difference, missing=missing, regressions=pairs.regressions(metric)
    )


def _may_compare(metric: Metric, a: RunRows, b: RunRows) -> bool:
    """Tell whether a metric may compare two runs; one of times only where one run asked all answers of both."""
    same_run = a.run is not None and b.run is not None and a.run.number == b.run.number
    return not metric.timed or (same_run and a.timed and b.timed)


class _Pairs:
    """The scores of two runs on the rows of both, in arrays, by the rows of `a`.

    `unreadable` maps a metric to the run with a score that it cannot have given.
    """

    def __init__(self, a: RunRows, b: RunRows, metrics: Sequence[Metric]) -> None:
        self.a, self.b = a, b
        self.repeat = min(a.repeat, b.repeat)
        self.tallies = Tally(metrics, self.repeat), Tally(metrics, self.repeat)
        self.unreadable: dict[str, str] = {}
        self.same_answer = 0
        self._metrics = metrics
        self._clusters = Clusters(a.cluster)
        self._numbers_a, self._numbers_b = array("q"), array("q")
        self.counts = self._read()
        self.cells = self.repeat * (self.counts.both + self.counts.unanswered_a + self.counts.unanswered_b)

    @property
    def clusters(self) -> NDArray[np.int64] | None:
        return self._clusters.array()

    @property
    def notes(self) -> list[str]:
        """Notes on the rows of `a` that count as one."""
        return self._clusters.notes()

    def _read(self) -> RowCounts:
        places = _Places()
        cells = array("q")
        for at, row in enumerate(self.a.read()):
            places.add(row)
            self._numbers_a.append(row.number)
            self._clusters.add(row.fields, [cell for repeat, cell in row.cells.items() if repeat == 0])
            cells.extend(row.cells.get(repeat, 0) for repeat in range(self.repeat))
            self._put(self.tallies[0], at, row, self.a.name)
        rows_a = len(self._numbers_a)
        self._numbers_b.extend([0] * rows_a)
        both = only_b = 0
        for row in self.b.read():
            if (place := places.take(row)) is None:
                only_b += 1
                continue
            both += 1
            self._numbers_b[place] = row.number
            self._put(self.tallies[1], place, row, self.b.name)
            first = place * self.repeat
            self.same_answer += sum(
                cells[first + repeat] == cell for repeat, cell in row.cells.items() if repeat < self.repeat
            )
        for place in places.untaken():
            self.tallies[0].clear_scores(place)
        only_a = rows_a - both
        return RowCounts(
            both=both,
            only_a=only_a,
            only_b=only_b,
            unanswered_a=min(only_b, max(0, self.a.rows - rows_a)),
            unanswered_b=min(only_a, max(0, self.b.rows - both - only_b)),
        )

    def _put(self, tally: Tally, at: int, row: ScoredRow, run: str) -> None:
        for repeat, scores in row.scores.items():
            for metric in self._metrics if repeat < self.repeat else ():
                if (score := scores.get(metric.name)) is None or score.is_missing:
                    continue
                try:
                    _check_score(metric, score)
                    tally.score(metric, at, repeat, score)
                except (KeyError, TypeError, ValueError):
                    self.unreadable.setdefault(metric.name, run)

    def _values(self, metric: Metric) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return both runs' scores, (rows, repeats), NaN where one is missing."""
        a, b = (tally.values(metric)[:, 0] for tally in self.tallies)
        both = min(len(a), len(b))
        return a[:both].reshape(-1, self.repeat), b[:both].reshape(-1, self.repeat)

    def regressions(self, metric: Metric) -> tuple[int, ...]:
        """Return the rows of which most repeats were right in `b` and no longer are in `a`, whatever missing ones were.

        A metric without bounds has no right scores.
        """
        if metric.bounds is None:
            return ()
        a, b = self._values(metric)
        best = metric.bounds[1 if metric.higher_is_better else 0]
        right_a, right_b = ((np.abs(values - best) < EQUAL).sum(axis=1) for values in (a, b))
        at_most = right_a + np.isnan(a).sum(axis=1)
        lost = (2 * right_b > self.repeat) & (2 * at_most <= self.repeat)
        return tuple(self._numbers_a[at] for at in np.flatnonzero(lost))

    def changed(self, metric: Metric) -> Iterator[ChangedRow]:
        """Yield the rows whose mean score differs, the largest differences first."""
        a, b = self._values(metric)
        apart = a - b
        known = ~np.isnan(apart)
        means = np.where(known, apart, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        found = np.flatnonzero(np.abs(means) > EQUAL)
        for at in found[np.argsort(-np.abs(means[found]), kind="stable")]:
            mean = float(means[at])
            change: Change = "better" if (mean > 0) == metric.higher_is_better else "worse"
            yield ChangedRow(self._numbers_a[at], self._numbers_b[at], change, mean)


class _Places:
    """The places of a run's rows, by their inputs and expected answer, and by their whole content.

    Content finds rows of a run that did not record the former, or whose suite bound its inputs otherwise. Equal rows
    are told apart by their order.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[str | bytes, int], int] = {}
        self._added: Counter[str | bytes] = Counter()
        self._sought: Counter[str | bytes] = Counter()
        self._taken = bytearray()

    def add(self, row: ScoredRow) -> None:
        """Add the next row."""
        for key in _row_keys(row):
            self._places[key, self._added[key]] = len(self._taken)
            self._added[key] += 1
        self._taken.append(False)

    def take(self, row: ScoredRow) -> int | None:
        """Return the place of the row of the other run that pairs with this one, None where there is none left."""
        found = []
        for key in _row_keys(row):
            found.append(self._places.get((key, self._sought[key])))
            self._sought[key] += 1
        place = next((place for place in found if place is not None and not self._taken[place]), None)
        if place is not None:
            self._taken[place] = True
        return place

    def untaken(self) -> Iterator[int]:
        """Yield the places of the rows that pair with none."""
        return (place for place, is_taken in enumerate(self._taken) if not is_taken)


def _row_keys(row: ScoredRow) -> list[str | bytes]:
    return [row.case, row.key] if row.case else [row.key]


def _check_score(metric: Metric, score: Score) -> None:
    """Raise KeyError, TypeError or ValueError for a score that the metric cannot have given."""
    low, high = metric.bounds or (-np.inf, np.inf)
    if not score.applies:
        return
    if score.value is None or not low <= score.value <= high:
        raise ValueError("a score is outside its bounds")
    if len(metric.numbers(score)) != len(metric.columns):
        raise ValueError("a score lacks some of its numbers")


def _scores_differ(metric: str, one: Cell, other: Cell) -> bool:
    a, b = (cell.scores[metric].value if metric in cell.scores else None for cell in (one, other))
    return a is not None and b is not None and abs(a - b) > EQUAL
