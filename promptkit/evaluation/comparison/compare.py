"""The comparison of two runs, row by row, paired by what a row holds."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from promptkit.errors import InputError, nearest
from promptkit.evaluation.cells.tally import Clusters, Tally, paired_samples
from promptkit.evaluation.comparison.run_rows import RowKey
from promptkit.evaluation.comparison.sides import RunDifference, Side, row_cells, run_differences, side_record
from promptkit.evaluation.metrics.base import Difference, Metric
from promptkit.evaluation.stored_run import RunMetrics, build_metrics
from promptkit.evaluation.suite.data import row_key
from promptkit.evaluation.summary import ReportRules, compare_tallies, difference_record, may_miss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.evaluation.cells.cell import Cell
    from promptkit.project import Project

Change = Literal["better", "worse"]
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Flip:
    """A row whose score differs, by its number on each side; `a_minus_b` is between the means of its repeats."""

    row: int
    row_b: int
    change: Change
    a_minus_b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two sides say on the rows of both. `aim` is the metric that `flips` are by, those that differ most first.

    `only_a` and `only_b` count rows; `kept` counts the cells that are one and the same answer on both sides. `unsaid`
    tells of each metric of which nothing is said why.
    """

    a: Side
    b: Side
    aim: str
    differs: Sequence[RunDifference]
    both: int
    only_a: int
    only_b: int
    cells: int
    kept: int
    metrics: Mapping[str, Metric]
    differences: Mapping[str, Difference]
    missing: Mapping[str, int]
    unsaid: Mapping[str, str]
    flips: Sequence[Flip]

    def record(self, *, smallest: float) -> dict[str, Any]:
        """Return it as `promptkit runs compare --json` prints it, but for what it shows of single rows."""
        return {
            "a": side_record(self.a),
            "b": side_record(self.b),
            "differs": [each._asdict() for each in self.differs],
            "rows": {"both": self.both, "only_a": self.only_a, "only_b": self.only_b},
            "cells": {"both": self.cells, "same_answer": self.kept},
            "metrics": {
                name: {
                    "kind": metric.kind,
                    "bounds": None if metric.bounds is None else list(metric.bounds),
                    "higher_is_better": metric.higher_is_better,
                }
                for name, metric in self.metrics.items()
            },
            "comparisons": [
                {
                    "a": self.a.name,
                    "b": self.b.name,
                    "metric": name,
                    **difference_record(self.metrics[name], difference, smallest).to_json(),
                    "adjusted": difference.p,
                    "comparisons": 1,
                    "missing": self.missing[name],
                }
                for name, difference in self.differences.items()
            ],
            "unsaid": dict(self.unsaid),
            "aim": self.aim,
            "better": [flip.row for flip in self.flips if flip.change == "better"],
            "worse": [flip.row for flip in self.flips if flip.change == "worse"],
        }

    def cells_of(self, flip: Flip) -> tuple[Cell, Cell]:
        """Return a row's cells on both sides, of its first repeat in which their scores differ."""
        theirs = {cell.repeat: cell for cell in row_cells(self.b.view, flip.row_b, self.b.variant)}
        pairs = [
            (cell, theirs[cell.repeat])
            for cell in row_cells(self.a.view, flip.row, self.a.variant)
            if cell.repeat in theirs
        ]
        return next(pair for pair in pairs if _scores_differ(self.aim, *pair))


def compare_runs(a: Side, b: Side, project: Project, *, aim: str | None = None) -> Comparison:
    """Return what `a` says against `b`, by all metrics of both or, where it is named, by `aim` alone.

    Each missing cell counts against a difference; of more than `may_miss` allows nothing is said. Raises InputError for
    sides that have no row in common, and for an `aim` that is no metric of theirs.
    """
    built = build_metrics(a.view, project)
    unsaid = dict(_incomparable(a, b, built))
    metrics = {name: metric for name, metric in built.metrics.items() if name not in unsaid}
    if aim is not None:
        _check_named(aim, a)
        metrics = {name: metric for name, metric in metrics.items() if name == aim}
        unsaid = {name: why for name, why in unsaid.items() if name == aim}
    paired = _pair(a, b, metrics)
    if not paired.both:
        raise InputError(f"no row of {a.name} is in {b.name}: there is nothing to compare")
    differences, missing = {}, {}
    for name, metric in metrics.items():
        left, _ = paired_samples(metric, paired.a, paired.b, paired.clusters)
        missing[name] = paired.cells - len(left)
        said = compare_tallies(
            metric, paired.a, paired.b, paired.cells, paired.clusters, ReportRules(allow_missing=True), family=1
        )
        if said is None or said.difference is None:
            unsaid[name] = _why_no_difference(metric, missing[name], paired.cells)
        else:
            differences[name] = said
    by = aim or next(iter(metrics), a.view.metrics[0])
    return Comparison(
        a=a,
        b=b,
        aim=by,
        differs=list(run_differences(a, b)),
        both=paired.both,
        only_a=paired.only_a,
        only_b=paired.only_b,
        cells=paired.cells,
        kept=paired.kept,
        metrics=metrics,
        differences=differences,
        missing=missing,
        unsaid=unsaid,
        flips=list(paired.flips(metrics[by])) if by in metrics else [],
    )


class _Paired:
    """The scores of two sides by the rows of the first; of the second those rows alone that are in the first."""

    def __init__(self, metrics: Sequence[Metric], repeat: int, cluster: str | None) -> None:
        self.a, self.b = Tally(metrics, repeat), Tally(metrics, repeat)
        self.both = self.only_a = self.only_b = self.cells = self.kept = 0
        self.rows_a, self.rows_b = array("q"), array("q")
        self.repeat = repeat
        self._clusters = Clusters(cluster)

    @property
    def clusters(self) -> NDArray[np.int64] | None:
        return self._clusters.array()

    def read(self, a: Side, b: Side) -> None:
        places: dict[RowKey, int] = {}
        kept = array("q")
        for key, cells in _rows(a):
            places[key] = index = len(places)
            self.rows_a.append(cells[0].row)
            self._clusters.add(cells[0].fields)
            kept.extend([0] * self.repeat)
            for cell in self._put(self.a, index, cells):
                kept[index * self.repeat + cell.repeat] = cell.cell
        self.rows_b.extend([0] * len(places))
        for key, cells in _rows(b):
            found = places.get(key)
            if found is None:
                self.only_b += 1
                continue
            self.both += 1
            self.rows_b[found] = cells[0].row
            for cell in self._put(self.b, found, cells):
                self.kept += kept[found * self.repeat + cell.repeat] == cell.cell
        self.only_a = len(places) - self.both
        lost = min(self.only_b, _unread(a, len(places))) + min(self.only_a, _unread(b, self.both + self.only_b))
        self.cells = self.repeat * (self.both + lost)

    def _put(self, tally: Tally, index: int, cells: Sequence[Cell]) -> Iterator[Cell]:
        for cell in cells:
            if cell.repeat < self.repeat:
                tally.put(index, cell.repeat, cell, cell.scores, known=False)
                yield cell

    def flips(self, metric: Metric) -> Iterator[Flip]:
        """Yield the rows whose mean score differs, those that differ most first."""
        import numpy as np

        left, right = (each.values(metric)[:, 0] for each in (self.a, self.b))
        both = min(len(left), len(right))
        apart = (left[:both] - right[:both]).reshape(-1, self.repeat)
        there = ~np.isnan(apart)
        counts = np.maximum(there.sum(axis=1), 1)
        means = np.where(there, apart, 0.0).sum(axis=1) / counts
        found = np.flatnonzero(np.abs(means) > _SAME)
        for index in found[np.argsort(-np.abs(means[found]), kind="stable")]:
            mean = float(means[index])
            change: Change = "better" if (mean > 0) == metric.higher_is_better else "worse"
            yield Flip(self.rows_a[index], self.rows_b[index], change, mean)


def _pair(a: Side, b: Side, metrics: Mapping[str, Metric]) -> _Paired:
    cluster = a.view.how["cluster"] if a.view.how["cluster"] == b.view.how["cluster"] else None
    paired = _Paired(tuple(metrics.values()), min(a.view.how["repeat"], b.view.how["repeat"]), cluster)
    paired.read(a, b)
    return paired


def _rows(side: Side) -> Iterator[tuple[RowKey, list[Cell]]]:
    """Yield the cells of each row with what tells it from others; equal rows are told apart by their order."""
    seen: dict[bytes, int] = {}
    for _, group in groupby(side.view.cells(side.variant), key=lambda cell: cell.row):
        cells = list(group)
        key = row_key(cells[0].fields)
        seen[key] = seen.get(key, -1) + 1
        yield (key, seen[key]), cells


def _unread(side: Side, rows: int) -> int:
    """Return how many rows of a side's data have no cell at all, since its run ended before them."""
    return max(0, int(side.view.how["rows"]) - rows)


def _why_no_difference(metric: Metric, missing: int, cells: int) -> str:
    if not may_miss(metric, missing, cells):
        return f"{missing} of {cells} cells have no score on a side: a difference could be theirs"
    return f"`{metric.name}` has no difference to show"


def _incomparable(a: Side, b: Side, built: RunMetrics) -> Iterator[tuple[str, str]]:
    """Yield the metrics that cannot be compared at all with the reason, those of one side alone among them."""
    keys_a, keys_b = a.view.how["keys"], b.view.how["keys"]
    for name in keys_a:
        if name not in keys_b:
            yield name, f"it is a metric of {a.name} alone"
        elif keys_a[name] != keys_b[name]:
            yield name, f"{b.name} measured it otherwise: its metric was another"
        elif name in built.gone:
            yield name, f"it cannot be measured any more: {built.gone[name]}"
        elif built.metrics[name].pairs:
            yield name, "it compares variants of one run"
    yield from ((name, f"it is a metric of {b.name} alone") for name in keys_b if name not in keys_a)


def _check_named(aim: str, a: Side) -> None:
    if aim not in a.view.metrics:
        raise InputError(f"{a.name} has no metric `{aim}`", hint=nearest(aim, a.view.metrics))


def _scores_differ(metric: str, one: Cell, other: Cell) -> bool:
    values = [cell.scores[metric].value if metric in cell.scores else None for cell in (one, other)]
    return values[0] is not None and values[1] is not None and abs(values[0] - values[1]) > _SAME
