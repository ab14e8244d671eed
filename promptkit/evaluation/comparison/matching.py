"""A run against a reference, row by row: what is said of each metric, and which rows are right no longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from promptkit.evaluation.comparison.run_rows import RowKey, RowScores, RunRows, model_names, scored_rows
from promptkit.evaluation.metrics.base import Difference, Metric, Sample, Score
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.evaluation.summary import counting_against, difference_record, may_miss

NO_SCORE = Score(None)
RIGHT = 1e-9
"""How near the best score is the best score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The rows that are here and there, as pairs in the order of the data here, and how many are only on one side.

    `repeat` is how many repeats both sides have; `lost` rows have no answer at all on one side, and may be in both.
    """

    pairs: Sequence[tuple[RowScores, RowScores]]
    repeat: int
    new: int
    gone: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What is said of one metric against a reference; `difference` None: nothing may be, and `why` says why.

    `regressions` are the numbers of rows that were right there and are wrong here. `missing` cells have no score on one
    side.
    """

    difference: Difference | None
    regressions: tuple[int, ...] = ()
    missing: int = 0
    why: str = ""


class Beside:
    """A run that has all its cells, beside what it is compared with.

    `rows` are those of its data, answered or not; `model`, `exact` and `in_flight` say how it was made.
    """

    def __init__(
        self,
        suite: Suite,
        view: StoredRun,
        *,
        rows: int,
        model: Mapping[str, Any],
        exact: bool,
        in_flight: int | None,
        allow_missing: bool,
    ) -> None:
        self.suite = suite
        self.allow_missing = allow_missing
        self._view = view
        self._count = rows
        self._model = model
        self._exact = exact
        self._in_flight = in_flight
        self._matched: dict[str, Matched] = {}

    @property
    def number(self) -> int:
        """The run's own."""
        return self._view.number

    @cached_property
    def rows(self) -> Mapping[RowKey, RowScores]:
        """The scores of its first variant, by row."""
        return scored_rows(self._view, self.suite.data.spec.cluster)

    def matched(self, reference: RunRows) -> Matched:
        """Return the rows here and there that hold the same."""
        if reference.name not in self._matched:
            self._matched[reference.name] = self._match(reference)
        return self._matched[reference.name]

    def compare(self, measure: Measure, reference: RunRows) -> Compared:
        """Return what the rows that match say of a metric, here against there."""
        return compare(measure, reference, self.matched(reference), allow_missing=self.allow_missing)

    def notes(self, reference: RunRows) -> list[str]:
        """Return what is not the same here and there, so that no difference is taken for the prompt's alone."""
        matched, repeat = self.matched(reference), self.suite.repeat
        said = []
        if not reference.is_of(self._model):
            there, here = model_names(reference.model, self._model)
            told = f"{reference.name} was made on {there}, this run on {here}"
            said.append(f"{told}: the difference is the models' too")
        if (self._exact, self._in_flight) != (reference.exact, reference.in_flight):
            there, here = way_text(reference.exact, reference.in_flight), way_text(self._exact, self._in_flight)
            said.append(f"{reference.name} was asked {there}, this run {here}: that alone changes some answers")
        if matched.new or matched.gone:
            both = len(matched.pairs)
            said.append(f"{both} rows are in both; {matched.new} here are new, {matched.gone} there are gone")
        if repeat != reference.repeat:
            said.append(f"{reference.repeat} repeats there, {repeat} here: the first {matched.repeat} are compared")
        return said

    def record(self, reference: RunRows, *, smallest: float) -> dict[str, Any]:
        """Return what all metrics say of the first variant against a reference, as `eval --json` prints it."""
        matched = self.matched(reference)
        found = [(each, self.compare(each, reference)) for each in self.suite.measures]
        return {
            "reference": reference.name,
            "model": dict(reference.model),
            "made": reference.made,
            "variant": self.suite.baseline.name,
            "rows": {"both": len(matched.pairs), "new": matched.new, "gone": matched.gone},
            "notes": [
                *self.notes(reference),
                *(f"{each.name}: {said.why}" for each, said in found if said.difference is None),
            ],
            "comparisons": [
                {
                    "metric": each.name,
                    **difference_record(each.metric, said.difference, smallest).to_json(),
                    "missing": said.missing,
                    "regressions": list(said.regressions),
                }
                for each, said in found
                if said.difference is not None
            ],
        }

    def _match(self, reference: RunRows) -> Matched:
        there = reference.read_rows()
        pairs = [(row, there[key]) for key, row in self.rows.items() if key in there]
        more, absent = len(self.rows) - len(pairs), len(there) - len(pairs)
        unread = min(more, reference.rows - len(there))
        lost = min(self._count - len(self.rows), absent)
        return Matched(
            pairs=pairs,
            repeat=min(self.suite.repeat, reference.repeat),
            new=more - unread,
            gone=absent - lost,
            lost=lost + unread,
        )


def compare(measure: Measure, reference: RunRows, matched: Matched, *, allow_missing: bool) -> Compared:
    """Return what the rows that match say of a metric, here against there.

    A score that is missing on a side leaves nothing to be said, but with `allow_missing` as far as `may_miss` goes.
    """
    metric = measure.metric
    if (why := _incomparable(measure, reference)) or not matched.pairs:
        return Compared(difference=None, why=why or f"no row of {reference.name} is in the data any more")
    cells = matched.repeat * (len(matched.pairs) + matched.lost)
    here, there, rows = _scores(metric, matched)
    missing = cells - len(rows)
    clusters = _clusters(matched)
    try:
        other = _sample(metric, there, rows, clusters)
    except (KeyError, TypeError, ValueError):
        return Compared(difference=None, why=f"what {reference.name} keeps of `{measure.name}` cannot be read")
    if missing and not (allow_missing and may_miss(metric, missing, cells)):
        return Compared(difference=None, missing=missing, why=f"{missing} of {cells} cells have no score on a side")
    difference = metric.difference(_sample(metric, here, rows, clusters), other)
    if difference is None or difference.difference is None:
        return Compared(difference=None, why=f"`{measure.name}` has no difference to show")
    if missing:
        difference = counting_against(metric, difference, missing, cells)
    return Compared(difference=difference, regressions=_regressions(metric, matched), missing=missing)


def _incomparable(measure: Measure, reference: RunRows) -> str:
    """Return why a metric cannot be compared with a reference at all."""
    if measure.metric.pairs:
        return f"`{measure.name}` compares variants of one run"
    if measure.name not in reference.keys:
        return f"{reference.name} has no metric `{measure.name}`"
    if reference.keys[measure.name] != measure.key:
        return f"`{measure.name}` of {reference.name} was measured otherwise: its metric was another"
    return ""


def _scores(metric: Metric, matched: Matched) -> tuple[list[Score], list[Score], list[int]]:
    """Return the scores of the cells that have one on both sides, and the index of each one's row."""
    here, there, rows = [], [], []
    for index, (ours, theirs) in enumerate(matched.pairs):
        for at in range(matched.repeat):
            a, b = (side.repeats[at].get(metric.name) for side in (ours, theirs))
            if a is not None and b is not None and a.value is not None and b.value is not None:
                here.append(a)
                there.append(b)
                rows.append(index)
    return here, there, rows


def _clusters(matched: Matched) -> list[int]:
    """Return the cluster of each row; a row of no cluster is one."""
    codes: dict[str, int] = {}
    return [
        codes.setdefault(str(index) if here.cluster is None else f"cluster {here.cluster!r}", len(codes))
        for index, (here, _) in enumerate(matched.pairs)
    ]


def _sample(metric: Metric, scores: Sequence[Score], rows: Sequence[int], clusters: Sequence[int]) -> Sample:
    """Return scores as a sample. Raises KeyError, TypeError or ValueError for one that the metric did not give."""
    import numpy as np

    low, high = metric.bounds or (-np.inf, np.inf)
    if any(score.value is None or not low <= score.value <= high for score in scores):
        raise ValueError("a score is beyond its bounds")
    values = np.array([metric.numbers(score) for score in scores], dtype=np.float64).reshape(-1, len(metric.columns))
    places = np.array(rows, dtype=np.int64)
    return Sample(values, places, np.array(clusters, dtype=np.int64)[places])


def _regressions(metric: Metric, matched: Matched) -> tuple[int, ...]:
    """Return the rows of which most repeats were right there, and no longer are here, whatever missing ones were."""
    repeat = matched.repeat
    return tuple(
        here.number
        for here, there in matched.pairs
        if 2 * right_ones(metric, there, repeat)
        > repeat
        >= 2 * (right_ones(metric, here, repeat) + _missing_ones(metric, here, repeat))
    )


def _missing_ones(metric: Metric, row: RowScores, repeat: int) -> int:
    """Return how many of a row's first repeats have no score."""
    return sum(scores.get(metric.name, NO_SCORE).value is None for scores in row.repeats[:repeat])


def right_ones(metric: Metric, row: RowScores, repeat: int) -> int:
    """Return how many of a row's first repeats have the best score; 0 for a metric that has none."""
    if metric.bounds is None:
        return 0
    best = metric.bounds[1 if metric.higher_is_better else 0]
    values = (scores[metric.name].value for scores in row.repeats[:repeat] if metric.name in scores)
    return sum(value is not None and abs(value - best) < RIGHT for value in values)


def way_text(exact: bool, in_flight: int | None) -> str:
    """Return how a run was asked, as it stands after `asked`."""
    if exact:
        return "one at a time (--exact)"
    return "several at once" if in_flight is None else f"{in_flight} at once"
