"""What a run is compared with beside its own variants: an earlier run of the suite, or a baseline's file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.errors import InputError
from promptkit.evaluation.data import row_key
from promptkit.evaluation.metrics import Difference, Metric, Sample, Score
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite import Measure
from promptkit.evaluation.summary import MOST_MISSING, counting_against

if TYPE_CHECKING:
    from promptkit.evaluation.view import RunView
    from promptkit.storage import Run, Store

KIND = "eval"
LATEST = 200
"""How many runs of a suite `last` is looked for among."""

RIGHT = 1e-9
"""How near the best score is the best score."""

RowKey = tuple[bytes, int]
"""A row by what it holds; of equal rows the second is 1."""

_RUN = re.compile(r"last(?:~([0-9]{1,9}))?|[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class RowScores:
    """A row's scores, by repeat; `number` is the row's in its data (0: not known), `cluster` what it belongs to."""

    number: int
    repeats: tuple[Mapping[str, Score], ...]
    cluster: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What is compared with. `name` is what messages call it, `keys` say how each metric measured (`Measure.key`).

    `in_flight` is how many requests were made at once (None: not known); `read_rows` gives the scores of its first
    variant.
    """

    name: str
    suite: str
    model: Mapping[str, str]
    exact: bool
    in_flight: int | None
    repeat: int
    made: str
    keys: Mapping[str, str]
    read_rows: Callable[[], Mapping[RowKey, RowScores]]

    def is_of(self, model: Mapping[str, str]) -> bool:
        """Tell whether it was made on this model, whatever that is called."""
        return self.model["digest"] == model["digest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The rows that are here and there, as pairs in the order of the data here, and how many are only on one side.

    `repeat` is how many repeats both sides have; `lost` rows have no answer at all here, and may be there.
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


def find_reference(text: str, suite: str, store: Store, *, folder: Path) -> Reference | None:
    """Return the run or baseline that `text` names: a number, `last`, `last~1`, or a file, relative to `folder`.

    `last` is the newest run of the suite that is done and had all rows; None where there is none. Raises InputError for
    a number that no run has, and for a file that is no baseline.
    """
    from promptkit.evaluation.baseline import read_baseline

    named = _RUN.fullmatch(text)
    if named is None:
        return read_baseline(folder / text)
    run = store.run(text, kind=KIND) if text.isdigit() else _last(store, suite, int(named[1] or 0))
    if run is not None:
        return stored_reference(store, run)
    if text.isdigit():
        raise InputError(f"there is no run {text} of a suite", hint=_known(store, suite))
    return None


def stored_reference(store: Store, run: Run) -> Reference:
    """Return a run of the store as a reference. Raises InputError for one that did not end."""
    if not run.record:
        raise InputError(f"run {run.number} is {run.status}: there is nothing yet to compare with")
    view = StoredRun(store, run)
    return reference_of(view, name=f"run {run.number}")


def reference_of(view: StoredRun, *, name: str) -> Reference:
    """Return a run that ended as a reference."""
    record = view.record
    return Reference(
        name=name,
        suite=view.suite,
        model={key: record["model"][key] for key in ("reference", "digest")},
        exact=record["exact"],
        in_flight=record["in_flight"],
        repeat=record["repeat"],
        made=time.strftime("%Y-%m-%d", time.gmtime(view.started)),
        keys=view.how["keys"],
        read_rows=lambda: scored_rows(view),
    )


def scored_rows(view: RunView, cluster: str | None = None) -> dict[RowKey, RowScores]:
    """Return the scores of a run's first variant, by row in the data's order; `cluster` is a field of the rows."""
    return numbered(_rows(view, cluster))


def numbered(rows: Iterable[tuple[bytes, RowScores]]) -> dict[RowKey, RowScores]:
    """Return rows by what they hold, equal ones apart."""
    seen: dict[bytes, int] = {}
    found = {}
    for key, row in rows:
        seen[key] = seen.get(key, -1) + 1
        found[key, seen[key]] = row
    return found


def _rows(view: RunView, cluster: str | None) -> Iterator[tuple[bytes, RowScores]]:
    repeat = view.record["repeat"]
    for number, cells in groupby(view.cells(view.variants[0]), key=lambda cell: cell.row):
        found = {cell.repeat: cell for cell in cells}
        fields = next(iter(found.values())).fields
        scores = tuple(found[at].scores if at in found else {} for at in range(repeat))
        yield row_key(fields), RowScores(number, scores, fields.get(cluster) if cluster else None)


def match(here: Mapping[RowKey, RowScores], reference: Reference, *, rows: int, repeat: int) -> Matched:
    """Return the rows of both sides that hold the same. `rows` are those of the data here, answered or not."""
    there = reference.read_rows()
    pairs = [(row, there[key]) for key, row in here.items() if key in there]
    absent = len(there) - len(pairs)
    lost = min(rows - len(here), absent)
    return Matched(
        pairs=pairs,
        repeat=min(repeat, reference.repeat),
        new=len(here) - len(pairs),
        gone=absent - lost,
        lost=lost,
    )


def compare(measure: Measure, reference: Reference, matched: Matched, *, allow_missing: bool) -> Compared:
    """Return what the rows that match say of a metric, here against there.

    A score that is missing on a side leaves nothing to be said, but with `allow_missing` up to a share of MOST_MISSING.
    """
    metric = measure.metric
    if (why := _incomparable(measure, reference)) or not matched.pairs:
        return Compared(difference=None, why=why or f"no row of {reference.name} is in the data any more")
    cells = matched.repeat * (len(matched.pairs) + matched.lost)
    here, there, rows = _scores(metric, matched)
    missing = cells - len(rows)
    if missing and not (allow_missing and missing <= MOST_MISSING * cells):
        return Compared(difference=None, missing=missing, why=f"{missing} of {cells} cells have no score on a side")
    clusters = _clusters(matched)
    difference = metric.difference(*(_sample(metric, scores, rows, clusters) for scores in (here, there)))
    if difference is None or difference.difference is None:
        return Compared(difference=None, why=f"`{measure.name}` has no difference to show")
    if missing and metric.bounds is not None:
        difference = counting_against(metric, difference, missing, cells)
    return Compared(difference=difference, regressions=_regressions(metric, matched), missing=missing)


def _incomparable(measure: Measure, reference: Reference) -> str:
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
    import numpy as np

    values = np.array([metric.numbers(score) for score in scores], dtype=np.float64).reshape(-1, len(metric.columns))
    places = np.array(rows, dtype=np.int64)
    return Sample(values, places, np.array(clusters, dtype=np.int64)[places])


def _regressions(metric: Metric, matched: Matched) -> tuple[int, ...]:
    """Return the rows of which most repeats were right there, and no longer are here."""
    repeat = matched.repeat
    return tuple(
        here.number
        for here, there in matched.pairs
        if 2 * right_ones(metric, there, repeat) > repeat >= 2 * right_ones(metric, here, repeat)
    )


def right_ones(metric: Metric, row: RowScores, repeat: int) -> int:
    """Return how many of a row's first repeats have the best score; 0 for a metric that has none."""
    if metric.bounds is None:
        return 0
    best = metric.bounds[1 if metric.higher_is_better else 0]
    values = (scores[metric.name].value for scores in row.repeats[:repeat] if metric.name in scores)
    return sum(value is not None and abs(value - best) < RIGHT for value in values)


def notes(
    reference: Reference, matched: Matched, *, model: Mapping[str, str], exact: bool, in_flight: int | None, repeat: int
) -> list[str]:
    """Return what is not the same here and there, so that no difference is taken for the prompt's alone."""
    said = []
    if not reference.is_of(model):
        told = f"{reference.name} was made on {reference.model['reference']}, this run on {model['reference']}"
        said.append(f"{told}: the difference is the models' too")
    if (exact, in_flight) != (reference.exact, reference.in_flight):
        there, here = _way(reference.exact, reference.in_flight), _way(exact, in_flight)
        said.append(f"{reference.name} was asked {there}, this run {here}: that alone changes some answers")
    if matched.new or matched.gone:
        told = f"{len(matched.pairs)} rows are in both; {matched.new} here are new, {matched.gone} there are gone"
        said.append(told)
    if matched.pairs and repeat != reference.repeat:
        said.append(f"{reference.repeat} repeats there, {repeat} here: the first {matched.repeat} are compared")
    return said


def _way(exact: bool, in_flight: int | None) -> str:
    if exact:
        return "one at a time (--exact)"
    return "several at once" if in_flight is None else f"{in_flight} at once"


def _last(store: Store, suite: str, back: int) -> Run | None:
    runs = store.runs(kind=KIND, target=suite, limit=LATEST)
    fitting = [run for run in runs if run.status == "done" and not run.record.get("limited")]
    return fitting[back] if back < len(fitting) else None


def _known(store: Store, suite: str) -> str:
    numbers = [str(run.number) for run in store.runs(kind=KIND, target=suite, limit=5)]
    return f"the latest of `{suite}` are {', '.join(numbers)}" if numbers else f"`{suite}` has no runs yet"
