"""The running totals of a variant: a state and a few numbers for each cell, in arrays, so that a million cells fit."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.base import Metric, Sample
from promptkit.evaluation.metrics.score import Score
from promptkit.techniques.warnings import in_table_order, merged_sources

PENDING, ANSWERED, UNPARSED, TRUNCATED, MISSING = range(5)
_STATES = {"": ANSWERED, "unparsed": UNPARSED, "truncated": TRUNCATED, "error": MISSING}
_NAN = float("nan")
_ROWS_AT_ONCE = 256


@dataclass(slots=True)
class Usage:
    """The usage of cells: requests, cached ones among them, tokens, and the model's own seconds."""

    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0


class Tally:
    """The cells of one variant, by the index of their row and their repeat."""

    def __init__(self, metrics: Sequence[Metric], repeat: int) -> None:
        self.spent = Usage()
        self.simulated_user = Usage()
        self.metrics = tuple(metrics)
        self._repeat = repeat
        self._states = bytearray()
        self._counts = [0] * 5
        self._columns = {metric.name: array("d") for metric in metrics}
        self._exempt = {metric.name: bytearray() for metric in metrics}
        self._recorded = bytearray()
        self._timed = bytearray()
        self._asked = array("d")
        self._warned: dict[tuple[str, str], bytearray] = {}
        self._warning_counts: Counter[str] = Counter()
        self.warned_by: dict[str, list[str]] = {}

    def put(self, row: int, cell: Cell, *, known: bool) -> None:
        """Add the cell of a row's index, or set it again. An earlier run made the requests of a `known` cell."""
        at = row * self._repeat + cell.repeat
        self._reach(at)
        state = _STATES[cell.flag]
        self._counts[self._states[at]] -= 1
        self._counts[state] += 1
        self._states[at] = state
        self._timed[at] = cell.is_timed
        self._asked[at] = _NAN if cell.asked is None else cell.asked
        self._warn(at, cell)
        self.spent.calls += cell.calls
        self.spent.cached += cell.calls if known else cell.cached
        self.spent.tokens_in += cell.tokens_in
        self.spent.tokens_out += cell.tokens_out
        self.spent.seconds += cell.seconds
        if user := cell.simulated_user:
            amounts = {**user, "cached": user["calls"]} if known else user
            for name, amount in amounts.items():
                setattr(self.simulated_user, name, getattr(self.simulated_user, name) + amount)
        for metric in self.metrics:
            if (score := cell.scores.get(metric.name)) is not None:
                self.score(metric, row, cell.repeat, score)

    def _warn(self, at: int, cell: Cell) -> None:
        """Set the warnings of a cell."""
        self._warning_counts.subtract({name for (_, name), marks in self._warned.items() if marks[at]})
        for marks in self._warned.values():
            marks[at] = False
        self._recorded[at] = cell.warnings is not None
        warnings = cell.warnings or {}
        for step, names in warnings.items():
            for name in names:
                self._warned.setdefault((step, name), bytearray(len(self._states)))[at] = True
        self._warning_counts.update(set(chain.from_iterable(warnings.values())))
        if cell.warned_by:
            self.warned_by = merged_sources((self.warned_by, cell.warned_by))

    def score(self, metric: Metric, row: int, repeat: int, score: Score) -> None:
        """Set the score of a cell."""
        width = len(metric.columns)
        self._reach(row * self._repeat + repeat)
        at = (row * self._repeat + repeat) * width
        numbers = metric.numbers(score) if score.value is not None else (_NAN,) * width
        self._columns[metric.name][at : at + width] = array("d", numbers)
        self._exempt[metric.name][row * self._repeat + repeat] = not score.applies

    def clear_scores(self, row: int) -> None:
        """Forget the scores of a row that are there."""
        for metric in self.metrics:
            for repeat in range(self._repeat):
                self.score(metric, row, repeat, Score(None))

    @property
    def asked(self) -> NDArray[np.float64]:
        """The times (Unix seconds) at which all cells were asked, (cells,); NaN where a time is not known."""
        return np.array(self._asked, dtype=np.float64)

    @property
    def done(self) -> int:
        """The number of cells that are there, missing ones counted."""
        return sum(self._counts[1:])

    @property
    def missing(self) -> int:
        return self._counts[MISSING]

    @property
    def unparsed(self) -> int:
        return self._counts[UNPARSED]

    @property
    def truncated(self) -> int:
        return self._counts[TRUNCATED]

    @property
    def unrecorded(self) -> int:
        """The number of answers whose warnings an earlier promptkit did not record."""
        return int((self._answered() & ~_truths(self._recorded)).sum())

    @property
    def untimed(self) -> int:
        """The number of answers that an earlier run or a cached reply gave, so that their time was not measured now."""
        return int((self._answered() & ~_truths(self._timed)).sum())

    def count_warnings(self) -> dict[str, int]:
        """Return the number of cells with each warning, in the order of the table of warnings."""
        return in_table_order(self._warning_counts)

    def count_step_warnings(self) -> dict[str, dict[str, int]]:
        """Return the number of cells with each warning in each step."""
        counts: dict[str, dict[str, int]] = {}
        for (step, name), marks in self._warned.items():
            counts.setdefault(step, {})[name] = marks.count(True)
        return {step: found for step in sorted(counts) if (found := in_table_order(counts[step]))}

    def warned(self, name: str, clusters: NDArray[np.int64] | None = None) -> Sample:
        """Return a sample of the answers whose warnings were recorded: 1 where the answer has this one, else 0."""
        there = np.flatnonzero(self._answered() & _truths(self._recorded))
        return _sample(self._having(name).astype(np.float64)[:, None], there, self._repeat, clusters)

    def _having(self, name: str) -> NDArray[np.bool_]:
        found = np.zeros(len(self._states), dtype=np.bool_)
        for (_, of), marks in self._warned.items():
            if of == name:
                found |= _truths(marks)
        return found

    def _answered(self) -> NDArray[np.bool_]:
        states = np.frombuffer(bytes(self._states), dtype=np.uint8)
        return np.isin(states, (PENDING, MISSING), invert=True)

    def unscored(self, metric: Metric) -> int:
        """Return the number of answered cells without a score by a metric: it, or its judge, failed."""
        unscored = np.isnan(self.values(metric)[:, 0]) & ~self.exempt(metric)
        return int((unscored & self._answered()).sum())

    def exempt(self, metric: Metric) -> NDArray[np.bool_]:
        """Return for each cell whether the metric does not apply to it."""
        return _truths(self._exempt[metric.name])

    def count_exempt(self, metric: Metric) -> int:
        """Return the number of cells to which a metric does not apply."""
        return self._exempt[metric.name].count(True)

    def values(self, metric: Metric) -> NDArray[np.float64]:
        """Return the numbers of all cells, (cells, columns); NaN where a cell is missing or has no score."""
        return np.array(self._columns[metric.name], dtype=np.float64).reshape(-1, len(metric.columns))

    def sample(self, metric: Metric, clusters: NDArray[np.int64] | None = None) -> Sample:
        """Return the cells that have a score. `clusters` are the rows' clusters; without them each row is one."""
        values = self.values(metric)
        return _sample(values, np.flatnonzero(~np.isnan(values[:, 0])), self._repeat, clusters)

    def parsed(self, metric: Metric, clusters: NDArray[np.int64] | None = None) -> Sample:
        """Return the cells that have a score, and an answer that parses and was not cut off."""
        values = self.values(metric)
        answered = np.frombuffer(bytes(self._states), dtype=np.uint8) == ANSWERED
        return _sample(values, np.flatnonzero(answered & ~np.isnan(values[:, 0])), self._repeat, clusters)

    def unanswered(self, clusters: NDArray[np.int64] | None = None) -> Sample:
        """Return a sample of all cells that are there: 1 where the answer does not parse or was cut off, else 0."""
        states = np.frombuffer(bytes(self._states), dtype=np.uint8)
        values = ((states == UNPARSED) | (states == TRUNCATED)).astype(np.float64)[:, None]
        return _sample(values, np.flatnonzero(self._answered()), self._repeat, clusters)

    def _reach(self, at: int) -> None:
        if at >= len(self._states):
            more = max(_ROWS_AT_ONCE * self._repeat, at + 1 - len(self._states))
            for cells in (self._states, self._recorded, self._timed, *self._warned.values(), *self._exempt.values()):
                cells.extend(bytes(more))
            self._counts[PENDING] += more
            self._asked.extend([_NAN] * more)
            for metric in self.metrics:
                self._columns[metric.name].extend([_NAN] * (more * len(metric.columns)))


def paired_samples(
    metric: Metric, a: Tally, b: Tally, clusters: NDArray[np.int64] | None = None
) -> tuple[Sample, Sample]:
    """Return the cells that both variants have a score of, in the same order."""
    left, right = shared_samples(metric, (a, b), clusters)
    return left, right


def shared_samples(metric: Metric, tallies: Sequence[Tally], clusters: NDArray[np.int64] | None = None) -> list[Sample]:
    """Return for each of several variants the cells that all of them have a score of, in the same order."""
    values = [tally.values(metric) for tally in tallies]
    chosen = _scored_by_all(values)
    return [_sample(found, chosen, tally._repeat, clusters) for found, tally in zip(values, tallies, strict=True)]


def untimed_cells(metric: Metric, tallies: Sequence[Tally]) -> tuple[int, int]:
    """Return the number of cells, among those that all variants have a score of, that lack a time of this run in one of
    them; and how many cells all have a score of.
    """
    chosen = _scored_by_all([tally.values(metric) for tally in tallies])
    timed = [_truths(tally._timed)[chosen] for tally in tallies]
    return int((~np.logical_and.reduce(timed)).sum()), len(chosen)


def _scored_by_all(values: Sequence[NDArray[np.float64]]) -> NDArray[np.int64]:
    both = min(map(len, values))
    return np.flatnonzero(np.logical_and.reduce([~np.isnan(found[:both, 0]) for found in values]))


def shared_exempt(metric: Metric, tallies: Sequence[Tally]) -> NDArray[np.bool_]:
    """Return for each of several variants whether a metric does not apply to its cells, (variants, cells)."""
    exempt = [tally.exempt(metric) for tally in tallies]
    cells = max(map(len, exempt))
    return np.array([np.pad(marks, (0, cells - len(marks))) for marks in exempt])


def _truths(marks: bytearray) -> NDArray[np.bool_]:
    return np.frombuffer(bytes(marks), dtype=np.bool_)


def _sample(
    values: NDArray[np.float64], chosen: NDArray[np.int64], repeat: int, clusters: NDArray[np.int64] | None
) -> Sample:
    rows = chosen // repeat
    return Sample(values[chosen], rows, rows if clusters is None else clusters[rows])
