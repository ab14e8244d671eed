"""The rows of a run with their scores, as comparisons read them: from the store or from a baseline file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from promptkit.errors import InputError, nearest
from promptkit.evaluation.cells.cell import Cell, RunView
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.data import row_key


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One row of a run. `key` is a hash of its content, `number` its number in the data (0: unknown).

    `case` is the hash of its inputs and expected answer, as hexadecimal digits (empty: not recorded). `scores` maps
    each repeat that has an answer to its scores by metric, `cells` maps it to its cell in the store.
    """

    key: bytes
    number: int
    scores: Mapping[int, Mapping[str, Score]]
    cells: Mapping[int, int]
    fields: Mapping[str, Any]
    case: str = ""

    def values(self, metric: str, repeat: int) -> list[float | None]:
        """Return the scores of the first `repeat` repeats to which a metric applies, None where one is missing."""
        found = (self.scores.get(at, {}).get(metric) for at in range(repeat))
        return [None if score is None else score.value for score in found if score is None or score.applies]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRows:
    """One variant of a run: its scores by row, and how it was made.

    `name` is what messages call it. `model` has the `reference` and `digest` of the default model (None: unknown), and
    the digests of `others` that answered, by reference. `in_flight` counts concurrent requests (None: unknown). The
    data had `rows` rows, not all of which the run may have reached. `keys` identify how each metric was measured
    (`Measure.key`). `run` is None for a baseline file. `timed`: all requests were sent in the run, so that their times
    compare with those of its other variants.
    """

    name: str
    suite: str
    variant: str
    model: Mapping[str, Any]
    exact: bool
    in_flight: int | None
    repeat: int
    rows: int
    made: str
    keys: Mapping[str, str]
    read: Callable[[], Iterable[ScoredRow]]
    run: StoredRun | None = None
    timed: bool = False

    @property
    def cluster(self) -> str | None:
        """The field of the data whose equal values mark dependent rows."""
        return None if self.run is None else self.run.how.get("cluster")

    @property
    def sets(self) -> Mapping[str, Any]:
        """The settings of the variant."""
        return {} if self.run is None else self.run.settings[self.variant]

    @property
    def requests(self) -> str:
        """The way in which requests were sent, as text after `sent requests`."""
        if self.exact:
            return "one at a time (--exact)"
        return "concurrently" if self.in_flight is None else f"{self.in_flight} at a time"


def run_rows(
    run: StoredRun,
    variant: str,
    name: str,
    *,
    model: Mapping[str, Any] | None = None,
    timed: bool | None = None,
) -> RunRows:
    """Return a variant of a stored run. `model` and `timed` are those of a run that has no record yet."""
    made = run.how if run.record is None else run.record.to_json()
    return RunRows(
        name=name,
        suite=run.suite,
        variant=variant,
        model=model or _model(run, variant),
        exact=made["exact"],
        in_flight=made["in_flight"],
        repeat=made["repeat"],
        rows=made["rows"],
        made=time.strftime("%Y-%m-%d", time.gmtime(run.started)),
        keys=run.how["keys"],
        read=lambda: _stored_rows(run, variant),
        run=run,
        timed=_is_timed(run, variant) if timed is None else timed,
    )


def _is_timed(run: StoredRun, variant: str) -> bool:
    """Tell whether no answer of a variant was known before, and no reply cached; False where it is not recorded."""
    variants = () if run.record is None else run.record.variants
    return any(found.name == variant and found.cached == 0 for found in variants)


def _model(run: StoredRun, variant: str) -> Mapping[str, Any]:
    """Return the model of a variant; the digest of one that a further variant sets is not in the record."""
    if variant != run.variants[0] and (reference := run.settings[variant].get("model")) is not None:
        return {"reference": reference, "digest": None}
    model = run.model if run.record is None else run.record.model.to_json()
    known = ("reference", "digest", "others") if variant == run.variants[0] else ("reference", "digest")
    return {key: model[key] for key in known if key in model}


def _stored_rows(run: StoredRun, variant: str) -> Iterator[ScoredRow]:
    for number, group in groupby(run.cells(variant), key=lambda cell: cell.row):
        cells = {cell.repeat: cell for cell in group}
        first = next(iter(cells.values()))
        fields = first.fields
        yield ScoredRow(
            key=row_key(fields),
            number=number,
            scores={repeat: cell.scores for repeat, cell in cells.items()},
            cells={repeat: cell.number for repeat, cell in cells.items()},
            fields=fields,
            case=first.case,
        )


def named_variant(run: RunView, variant: str | None) -> str:
    """Return a variant of a run, the first where none is named. Raises InputError with the nearest name."""
    if variant is None:
        return run.variants[0]
    if variant not in run.variants:
        raise InputError(f"run {run.number} has no variant `{variant}`", hint=nearest(variant, run.variants))
    return variant


def row_cells(run: StoredRun, row: int, variant: str | None = None) -> list[Cell]:
    """Return the cells of one row, by variant and repeat."""
    number, cells = next(groupby(run.cells(variant, first=row), key=lambda cell: cell.row), (0, iter(())))
    return list(cells) if number == row else []
